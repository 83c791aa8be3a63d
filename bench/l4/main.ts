import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { evenkeel } from '../rig/evenkeel-peer.ts';
import { describeMachine, goFirst } from '../rig/machine.ts';
import { type Origins, startOrigins } from '../rig/origin.ts';
import type { Peer } from '../rig/peer.ts';
import { storeResults } from '../rig/results.ts';
import { progress } from '../rig/words.ts';
import { cases, type L4Case } from './cases.ts';
import { loadOf } from './load.ts';
import { haproxyTcp } from './peers/haproxy.ts';
import { nginxStream } from './peers/nginx.ts';
import { chartL4, formatL4, type L4Report, reportL4 } from './report.ts';
import { l4Rounds } from './rounds.ts';
import { startUdpOrigins } from './udp-origins.ts';

const USAGE = `npm run bench:l4 -- [options]

Compares evenkeel's TCP and UDP listeners with HAProxy in TCP mode and nginx's stream module: CPU time of the whole process for the same work, and
memory of idle relays. Some five minutes. Installs nothing.

  --quick          few rounds: about a minute
  --only NAME      only this case (again for more): ${cases.map(({ name }) => name).join(', ')}
  --peer NAME      only these besides evenkeel and the baseline (again for more): documented, nginx
  --rounds N       rounds of each case (default 9; 1 of idle)
  --seconds N      length of one peer's turn in a round (default 1)
  --profile DIR    CPU profiles of evenkeel, one a thread, into DIR
`;

const DEFAULT_ROUNDS = 9;
/** Besides evenkeel and the baseline. `documented` is evenkeel by the documented API of Node alone. */
const OTHERS = ['documented', 'nginx'];

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    peer: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    seconds: { type: 'string', default: '1' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const nodeOptions = values.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.profile}`];

if (values.help) console.log(USAGE);
else await main();

async function main(): Promise<void> {
  const chosen = chooseCases();
  const directory = await mkdtemp(join(tmpdir(), 'evenkeel-l4-'));
  goFirst();
  const before = describeMachine();
  const reports: L4Report[] = [];
  const versions: Record<string, string> = {};
  console.log(
    `${before.cpu}, ${before.cores} cores, Linux ${before.kernel}, Node ${before.node}; load ${before.loadAverage[0]}${before.pinned ? '' : '; nothing is pinned'}`,
  );
  try {
    await using origins = await startAll(directory);
    for (const one of chosen) {
      const report = await runCase(one, origins[one.protocol], directory, versions);
      if (report === null) continue;
      reports.push(report);
      console.log(formatL4(report));
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  if (reports.length === 0) return;
  const isWhole = values.only === undefined && values.peer === undefined;
  const name = `l4${values.quick ? '-quick' : ''}${isWhole ? '' : '-part'}`;
  const results = { script: 'bench:l4', before, versions, cases: reports };
  await storeResults(name, results, (notes) => chartL4(reports, notes));
}

function chooseCases(): readonly L4Case[] {
  const { only } = values;
  const unknown = only?.find((name) => !cases.some((one) => one.name === name));
  if (unknown !== undefined) {
    console.error(`there is no case ${unknown}\n\n${USAGE}`);
    process.exit(2);
  }
  return only === undefined ? cases : cases.filter(({ name }) => only.includes(name));
}

interface AllOrigins extends AsyncDisposable {
  readonly tcp: Origins;
  readonly udp: Origins;
}

async function startAll(directory: string): Promise<AllOrigins> {
  await using stack = new AsyncDisposableStack();
  const start = async (name: string, begin: (own: string) => Promise<Origins>) => {
    const own = join(directory, name);
    await mkdir(own);
    const origins = await begin(own);
    stack.use(origins.process);
    return origins;
  };
  const tcp = await start('tcp-origin', startOrigins);
  const udp = await start('udp-origin', startUdpOrigins);
  const started = stack.move();
  return { tcp, udp, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

async function runCase(
  one: L4Case,
  origins: Origins,
  directory: string,
  versions: Record<string, string>,
): Promise<L4Report | null> {
  const setting = { directory, origins: origins.ports, accessLog: false, tls: null, workers: 1 };
  const asked = ['evenkeel', one.baseline, ...(values.peer ?? (values.quick ? [] : OTHERS))];
  const skipped: string[] = [];
  const peers = peersOf(one).filter(({ name, missing }) => {
    if (!asked.includes(name)) return false;
    const reason = missing(setting);
    if (reason !== null) skipped.push(reason);
    return reason === null;
  });
  const leaveOut = (peer: string, reason: string): void => {
    skipped.push(`${peer}: ${reason}`);
    if (peer === 'evenkeel') process.exitCode = 1;
  };
  const samples = await l4Rounds(one, {
    ...{ peers, rounds: roundsOf(one), seconds: Number(values.seconds), warmUpSeconds: values.quick ? 3 : 10 },
    ...{ origins: origins.ports, directory, progress, leaveOut },
  });
  for (const peer of peers) if (samples.has(peer.name)) versions[peer.name] = peer.version();
  return samples.size === 0 ? null : reportL4(one, samples, `load ${loadOf(one)}, origins ${origins.kind}`, skipped);
}

function peersOf({ protocol, kind }: L4Case): readonly Peer[] {
  // The others have no limit of connections to an endpoint either.
  const variant = { nodeOptions, listener: { protocol }, pool: { limits: { active: 'off' } } };
  const own = evenkeel('evenkeel', variant);
  if (protocol === 'udp') return [own, nginxStream('udp')];
  const documented = evenkeel('documented', { ...variant, fastPath: 'off' });
  return kind === 'idle' ? [own, haproxyTcp, nginxStream('tcp')] : [own, documented, haproxyTcp, nginxStream('tcp')];
}

function roundsOf({ kind, quickRounds }: L4Case): number {
  const usual = values.quick ? quickRounds : kind === 'idle' ? 1 : DEFAULT_ROUNDS;
  return Number(values.rounds ?? usual);
}
