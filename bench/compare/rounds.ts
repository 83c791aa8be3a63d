import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { idleMemory } from '../rig/idle-memory.ts';
import { runPinned } from '../rig/load/run-pinned.ts';
import type { LoadGenerator, LoadResult } from '../rig/load/shape.ts';
import { FORWARDED_PATH } from '../rig/origin.ts';
import type { Peer, RunningPeer, Setting } from '../rig/peer.ts';
import { cpuSeconds, processTree, residentKib } from '../rig/process-tree.ts';
import { quantile } from '../rig/statistics.ts';
import { takeTurns } from '../rig/turns.ts';
import { warmUp } from '../rig/warm-up.ts';
import type { Case } from './cases.ts';

/** What one peer did in one round. Where a figure does not apply it is NaN. */
export interface Sample {
  readonly cpuMicros: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  /** Resident memory of all its processes, MiB. */
  readonly rssMib: number;
  /** Memory per idle connection, KiB. */
  readonly idleKib: number;
}

export interface RoundOptions {
  readonly peers: readonly Peer[];
  readonly rounds: number;
  /** Of one round of one peer. */
  readonly seconds: number;
  /** The longest warm-up of a peer. */
  readonly warmUpSeconds: number;
  readonly load: LoadGenerator;
  readonly origins: readonly number[];
  readonly tls: Setting['tls'];
  /** A folder for temporary files. */
  readonly directory: string;
  readonly progress: (text: string) => void;
  /** A peer could not be started, or does not do the same work: it is left out. */
  readonly leaveOut: (peer: string, reason: string) => void;
}

/** Samples by peer, in the order of the rounds: the same index in two lists is the same round. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

const NOTHING: Sample = {
  cpuMicros: Number.NaN,
  requestsPerSecond: Number.NaN,
  p50Ms: Number.NaN,
  p99Ms: Number.NaN,
  errors: 0,
  rssMib: Number.NaN,
  idleKib: Number.NaN,
};
/** Of a warm-up at most. */
const WARM_UP_CONNECTIONS = 64;
const SATURATION_ROUNDS = 3;
const SATURATION_SHARE = 0.7;
const OPEN_SECONDS = 3;

/** The folder and ports that one peer is started with. */
export function settingFor(
  one: Case,
  { origins, tls, directory }: Pick<RoundOptions, 'origins' | 'tls' | 'directory'>,
): Setting {
  const own = join(directory, randomUUID());
  mkdirSync(own);
  return { directory: own, origins, accessLog: one.accessLog, tls: one.tls ? tls : null, workers: one.workers };
}

/** Lets peers take turns, round by round, each starting another round first. */
export async function alternate(one: Case, options: RoundOptions): Promise<Samples> {
  if (one.kind === 'idle') return idleRounds(one, options);
  await using stack = new AsyncDisposableStack();
  const entrants: Entrant[] = [];
  for (const peer of options.peers) {
    try {
      entrants.push(await enter(peer, one, options, stack));
    } catch (error) {
      options.leaveOut(peer.name, String((error as Error).message));
    }
  }
  const rate = one.kind === 'open' ? await openRate(one, entrants, options) : 0;
  return await takeTurns(entrants, options.rounds, (entrant, round) => {
    options.progress(`${one.name}: round ${round + 1} of ${options.rounds}, ${entrant.name}`);
    const turn = { ...options, seconds: Math.max(options.seconds, one.leastSeconds) };
    return sampled(entrant, () => (rate > 0 ? openLoop(one, entrant, rate) : closedLoop(one, entrant, turn)));
  });
}

interface Entrant {
  readonly name: string;
  readonly running: RunningPeer;
  readonly pids: readonly number[];
}

/** Starts a peer, sees that it does the same work as the others, warms it up. */
async function enter(peer: Peer, one: Case, options: RoundOptions, stack: AsyncDisposableStack): Promise<Entrant> {
  const running = await peer.start(settingFor(one, options));
  stack.use(running.process);
  if (!one.tls) await seeForwarded(peer.name, running.port);
  const entrant = { name: peer.name, running, pids: processTree(running.process.pid) };
  const gentle = { ...one, connections: Math.min(one.connections, WARM_UP_CONNECTIONS) };
  // A second will do for what is compiled already.
  await warmUp(peer.warmsUp ? options.warmUpSeconds : 1, async () => {
    const { requests } = await closedLoop(gentle, entrant, { ...options, seconds: 1 });
    return requests;
  });
  return entrant;
}

async function seeForwarded(name: string, port: number): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}${FORWARDED_PATH}`);
  const seen = await response.text();
  if (!/^127\.0\.0\.1 http 127\.0\.0\.1(:\d+)?$/.test(seen))
    throw new Error(`${name} does not do the same work: the origin saw "${seen}"`);
}

function closedLoop(one: Case, { running }: Entrant, { load, seconds, directory }: RoundOptions): Promise<LoadResult> {
  return load.run({
    port: running.port,
    secure: one.tls,
    connections: one.connections,
    seconds,
    shape: one.shape,
    directory,
  });
}

async function sampled({ pids }: Entrant, run: () => Promise<LoadResult>): Promise<Sample> {
  const before = cpuSeconds(pids);
  const { requests, errors, seconds, p50Ms, p99Ms } = await run();
  const cpu = cpuSeconds(pids) - before;
  // A round without a single answer, as on a machine that had no time for it, has no figure.
  const cpuMicros = requests > 0 ? (cpu * 1e6) / requests : Number.NaN;
  const rssMib = residentKib(pids) / 1024;
  return { ...NOTHING, cpuMicros, requestsPerSecond: requests / seconds, p50Ms, p99Ms, errors, rssMib };
}

/** One rate for all: a share of what evenkeel, or else the first peer, reaches in a middling round; at the rate of its best one a noisy core has no rest. */
async function openRate(one: Case, entrants: readonly Entrant[], options: RoundOptions): Promise<number> {
  const measured = entrants.find(({ name }) => name === 'evenkeel') ?? entrants[0];
  const rates: number[] = [];
  for (let i = 0; i < SATURATION_ROUNDS; i++) {
    const { requests, seconds } = await closedLoop({ ...one, connections: 32 }, measured, options);
    rates.push(requests / seconds);
  }
  const rate = Math.round(quantile(rates, 0.5) * SATURATION_SHARE);
  options.progress(`${one.name}: ${rate} requests/s`);
  return rate;
}

async function openLoop(one: Case, { running }: Entrant, rate: number): Promise<LoadResult> {
  const client = new URL('./load/open-loop-client.ts', import.meta.url).pathname;
  const words = [running.port, rate, OPEN_SECONDS, one.connections, one.shape.path].map(String);
  return JSON.parse(await runPinned([process.execPath, client, ...words], OPEN_SECONDS));
}

/** Every round with a new process: memory that was once used does not come back. */
async function idleRounds(one: Case, options: RoundOptions): Promise<Samples> {
  const samples = new Map<string, Sample[]>(options.peers.map(({ name }) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const peer of options.peers.filter(({ name }) => samples.has(name))) {
      options.progress(`${one.name}: round ${round + 1} of ${options.rounds}, ${peer.name}`);
      try {
        samples.get(peer.name)?.push(await idleRound(peer, one, options));
      } catch (error) {
        samples.delete(peer.name);
        options.leaveOut(peer.name, String((error as Error).message));
      }
    }
  }
  return samples;
}

async function idleRound(peer: Peer, one: Case, options: RoundOptions): Promise<Sample> {
  await using stack = new AsyncDisposableStack();
  const { running, pids } = await enter(peer, { ...one, connections: 64 }, options, stack);
  const memory = await idleMemory({ port: running.port, pids }, one.connections, one.shape.path);
  return { ...NOTHING, ...memory };
}
