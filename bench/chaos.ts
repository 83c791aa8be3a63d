import { parseArgs } from 'node:util';
import { growthOf, linesOf, lossesOf, runChaos, shortfallsOf, tableOf } from '../test/chaos/run-chaos.ts';

// Nothing is lost when anything changes: `--seconds N` of reloads, worker restarts, upgrades, endpoint drains and rolling restarts under every kind of client,
// then SIGTERM, `--kills N` workers killed and one stalled. Prints a table; exits 1 when a request or a connection was lost without a kill, less was done
// than was to be in twice the time, or memory or descriptors grew.
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    minutes: { type: 'string' },
    workers: { type: 'string', default: '2' },
    rate: { type: 'string', default: '100' },
    download: { type: 'string', default: '100' },
    kills: { type: 'string', default: '20' },
  },
});

const report = await runChaos({
  seconds: values.minutes === undefined ? Number(values.seconds) : Number(values.minutes) * 60,
  workers: Number(values.workers),
  rate: Number(values.rate),
  downloadMiB: Number(values.download),
  kills: Number(values.kills),
  stalls: true,
  upgrades: 6,
  onPhase: (phase) => console.log(linesOf(phase).join('\n')),
});
console.log(tableOf(report).split('\n').slice(-2).join('\n'));
const wrong = [...lossesOf(report), ...shortfallsOf(report), ...growthOf(report)];
console.log(wrong.length === 0 ? 'nothing was lost' : wrong.join('\n'));
process.exitCode = wrong.length === 0 && report.deaths === 0 ? 0 : 1;
