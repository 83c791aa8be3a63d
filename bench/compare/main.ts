import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { evenkeel } from '../rig/evenkeel-peer.ts';
import { autocannon } from '../rig/load/autocannon.ts';
import { findWrk } from '../rig/load/wrk.ts';
import { describeMachine, goFirst } from '../rig/machine.ts';
import { startOrigins } from '../rig/origin.ts';
import type { Peer } from '../rig/peer.ts';
import { storeResults } from '../rig/results.ts';
import { progress } from '../rig/words.ts';
import { type Case, cases } from './cases.ts';
import { makeCertificate } from './certificate.ts';
import { chart } from './chart.ts';
import { caddy } from './peers/caddy.ts';
import { haproxy } from './peers/haproxy.ts';
import { nginx } from './peers/nginx.ts';
import { nodePeers } from './peers/node-peers.ts';
import { type CaseReport, formatCase, reportCase } from './report.ts';
import { alternate, type RoundOptions, settingFor } from './rounds.ts';

const USAGE = `npm run bench:compare -- [options]

Compares evenkeel with the proxies found on this machine: CPU time per request, requests/s, latency, memory. Installs nothing.

  --quick          some cases, few rounds: about a minute
  --cost           every case, evenkeel by the fast path and by the documented API beside nginx and HAProxy: some twelve minutes
  --only NAME      only this case (again for more): ${cases.map(({ name }) => name).join(', ')}
  --peer NAME      only these besides evenkeel and nginx (again for more)
  --rounds N       rounds of each case (default 9)
  --seconds N      length of one peer's turn in a round (default 1; 3 where many connections or handshakes open it)
  --profile DIR    CPU profiles of evenkeel, one a thread, into DIR
`;

/** Who takes part in the first case of `--quick`, besides evenkeel and nginx, which take part in all. */
const QUICK_PEERS = ['documented', 'haproxy', 'caddy', 'undici'];
/** Who takes part in `--cost`. `documented` is evenkeel by the documented API of Node alone. */
const COST_PEERS = ['documented', 'haproxy'];
const COST_ROUNDS = 5;
const DEFAULT_ROUNDS = 9;
/** Rounds of the case that starts every peer anew. */
const IDLE_ROUNDS = 1;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    cost: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    case: { type: 'string', multiple: true },
    peer: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    seconds: { type: 'string', default: '1' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const nodeOptions = values.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.profile}`];
const everyPeer: readonly Peer[] = [
  evenkeel('evenkeel', { nodeOptions }),
  evenkeel('documented', { nodeOptions, fastPath: 'off' }),
  nginx,
  haproxy,
  caddy,
  ...nodePeers,
];

if (values.help) console.log(USAGE);
else await main();

async function main(): Promise<void> {
  const chosen = chooseCases();
  const directory = await mkdtemp(join(tmpdir(), 'evenkeel-compare-'));
  goFirst();
  const before = describeMachine();
  const reports: CaseReport[] = [];
  try {
    await using origins = await startOriginsIn(directory);
    const load = findWrk() ?? autocannon;
    console.log(
      `${before.cpu}, ${before.cores} cores, Linux ${before.kernel}, Node ${before.node}; load ${before.loadAverage[0]}`,
    );
    console.log(
      `load by ${load.name}, origins: ${origins.kind}, three ports${before.pinned ? '' : '; nothing is pinned'}`,
    );
    const tls = makeCertificate(directory);
    for (const one of chosen) {
      const options = { ...origins, origins: origins.ports, load, tls, directory, progress, ...lengthOf(one) };
      const report = await runCase(one, options);
      if (report === null) continue;
      reports.push(report);
      console.log(formatCase(report));
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  await store(reports, before);
}

async function startOriginsIn(directory: string) {
  const own = join(directory, 'origin');
  await mkdir(own);
  const origins = await startOrigins(own);
  return { ...origins, [Symbol.asyncDispose]: () => origins.process[Symbol.asyncDispose]() };
}

function chooseCases(): readonly Case[] {
  const names = [...(values.case ?? []), ...(values.only ?? [])];
  const unknown = names.find((name) => !cases.some((one) => one.name === name));
  if (unknown !== undefined) {
    console.error(`there is no case ${unknown}\n\n${USAGE}`);
    process.exit(2);
  }
  if (names.length > 0) return cases.filter(({ name }) => names.includes(name));
  return values.quick ? cases.filter(({ quickRounds }) => quickRounds > 0) : cases;
}

function lengthOf(one: Case): Pick<RoundOptions, 'rounds' | 'seconds' | 'warmUpSeconds'> {
  const usual =
    one.kind === 'idle'
      ? IDLE_ROUNDS
      : values.quick && one.quickRounds > 0
        ? one.quickRounds
        : values.cost
          ? COST_ROUNDS
          : DEFAULT_ROUNDS;
  return {
    rounds: Number(values.rounds ?? usual),
    seconds: Number(values.seconds),
    warmUpSeconds: values.quick ? 3 : values.cost ? 5 : 10,
  };
}

type CaseOptions = Omit<RoundOptions, 'peers' | 'leaveOut'>;

async function runCase(one: Case, options: CaseOptions): Promise<CaseReport | null> {
  const cannot = one.tls && options.tls === null ? 'openssl is not installed' : options.load.cannot(one.shape);
  const { peers, skipped } = choosePeers(one, options);
  const reason =
    cannot ?? (peers.some(({ name }) => name === 'evenkeel') ? null : (skipped[0] ?? 'evenkeel is left out'));
  if (reason !== null) {
    console.log(`\n${one.title} (${one.name}) is left out: ${reason}`);
    return null;
  }
  const leaveOut = (peer: string, failure: string): void => {
    skipped.push(`${peer}: ${failure}`);
    if (peer === 'evenkeel') process.exitCode = 1;
  };
  const samples = await alternate(one, { ...options, peers, leaveOut });
  return samples.size === 0 ? null : reportCase(one, samples, skipped);
}

function choosePeers(one: Case, options: CaseOptions): { peers: Peer[]; skipped: string[] } {
  if (values.cost) return chosen(one, options, values.peer ?? COST_PEERS);
  const usual = values.quick ? (one === cases[0] ? QUICK_PEERS : []) : everyPeer.map(({ name }) => name);
  return chosen(one, options, values.peer ?? usual);
}

function chosen(one: Case, options: CaseOptions, asked: readonly string[]): { peers: Peer[]; skipped: string[] } {
  const peers: Peer[] = [];
  const skipped: string[] = [];
  for (const peer of everyPeer) {
    if (!['evenkeel', 'nginx', ...asked].includes(peer.name)) continue;
    const reason = peer.missing(settingFor(one, options));
    if (reason === null) peers.push(peer);
    else skipped.push(reason);
  }
  return { peers, skipped };
}

/** What ran goes into results/, under a name of its own where it was not everything. */
async function store(reports: readonly CaseReport[], before: ReturnType<typeof describeMachine>): Promise<void> {
  if (reports.length === 0) return;
  const isWhole = values.case === undefined && values.only === undefined && values.peer === undefined;
  const name = `compare${values.quick ? '-quick' : values.cost ? '-cost' : ''}${isWhole ? '' : '-part'}`;
  const taking = new Set(reports.flatMap(({ rows }) => rows.map(({ peer }) => peer)));
  const versions = Object.fromEntries(
    everyPeer.filter((peer) => taking.has(peer.name)).map((peer) => [peer.name, peer.version()]),
  );
  const results = { script: 'bench:compare', before, versions, cases: reports };
  await storeResults(name, results, (notes) => chart(reports, notes));
}
