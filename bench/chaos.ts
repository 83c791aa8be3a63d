import { parseArgs } from 'node:util';
import { lossesOf, runChaos, tableOf } from '../test/chaos/run-chaos.ts';

// Nothing is lost when anything changes: `--seconds N` of reloads, worker restarts, endpoint drains and rolling restarts under every kind of client,
// then a third of it with workers killed. Prints a table; exits 1 when a request or a connection was lost without a kill.
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    workers: { type: 'string', default: '2' },
    rate: { type: 'string', default: '100' },
    download: { type: 'string', default: '100' },
  },
});

const report = await runChaos({
  seconds: Number(values.seconds),
  workers: Number(values.workers),
  rate: Number(values.rate),
  downloadMiB: Number(values.download),
});
console.log(tableOf(report));
const losses = lossesOf(report);
process.exitCode = losses.length === 0 && report.deaths === 0 ? 0 : 1;
