import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { busyShare, coreTicks } from '../rig/core-ticks.ts';
import { idleMemory } from '../rig/idle-memory.ts';
import { Core } from '../rig/machine.ts';
import { BODY_BYTES } from '../rig/origin.ts';
import type { Peer, RunningPeer } from '../rig/peer.ts';
import { cpuSeconds, processTree, residentKib } from '../rig/process-tree.ts';
import { takeTurns } from '../rig/turns.ts';
import { warmUp } from '../rig/warm-up.ts';
import type { L4Case } from './cases.ts';
import { load } from './load.ts';

/** What one peer did in one round. Where a figure does not apply it is NaN. */
export interface L4Sample {
  /** Of the whole process, per unit of the case. */
  readonly cpuMicros: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  /** How busy the core of load and origins was, 0…1. */
  readonly loadBusy: number;
  readonly rssMib: number;
  /** Memory per idle relay, KiB. */
  readonly idleKib: number;
}

export interface L4RoundOptions {
  readonly peers: readonly Peer[];
  readonly rounds: number;
  readonly seconds: number;
  /** The longest warm-up of a peer. */
  readonly warmUpSeconds: number;
  readonly origins: readonly number[];
  /** A folder for temporary files. */
  readonly directory: string;
  readonly progress: (text: string) => void;
  /** A peer could not be started, or does not do the same work: it is left out. */
  readonly leaveOut: (peer: string, reason: string) => void;
}

/** By peer; the same index in two lists is the same round. */
export type L4Samples = ReadonlyMap<string, readonly L4Sample[]>;

interface Entrant {
  readonly name: string;
  readonly running: RunningPeer;
  readonly pids: readonly number[];
}

const NOTHING: L4Sample = {
  cpuMicros: Number.NaN,
  perSecond: Number.NaN,
  p50Ms: Number.NaN,
  p99Ms: Number.NaN,
  errors: 0,
  loadBusy: Number.NaN,
  rssMib: Number.NaN,
  idleKib: Number.NaN,
};
const WARM_UP_CONNECTIONS = 64;

/** Lets peers take turns at a case, round by round. */
export async function l4Rounds(one: L4Case, options: L4RoundOptions): Promise<L4Samples> {
  if (one.kind === 'idle') return idleRounds(one, options);
  await using stack = new AsyncDisposableStack();
  const entrants: Entrant[] = [];
  for (const peer of options.peers) {
    const entrant = await orLeaveOut(peer, options, () => enter(peer, one, options, stack));
    if (entrant !== null) entrants.push(entrant);
  }
  return await takeTurns(entrants, options.rounds, (entrant, round) => {
    options.progress(`${one.name}: round ${round + 1} of ${options.rounds}, ${entrant.name}`);
    return busyRound(one, entrant, options);
  });
}

async function orLeaveOut<T>(peer: Peer, { leaveOut }: L4RoundOptions, act: () => Promise<T>): Promise<T | null> {
  try {
    return await act();
  } catch (error) {
    leaveOut(peer.name, String((error as Error).message));
    return null;
  }
}

/** Starts a peer, sees that it carries what the others carry, warms it up. */
async function enter(
  peer: Peer,
  one: L4Case,
  { directory, origins, warmUpSeconds }: L4RoundOptions,
  stack: AsyncDisposableStack,
): Promise<Entrant> {
  const own = join(directory, randomUUID());
  mkdirSync(own);
  const running = await peer.start({ directory: own, origins, accessLog: false, tls: null, workers: 1 });
  stack.use(running.process);
  if (one.protocol === 'tcp') await seeCarried(peer.name, running.port, one.shape.path);
  const gentle = { ...one, connections: Math.min(one.connections, WARM_UP_CONNECTIONS) };
  // A second will do for what is compiled already.
  await warmUp(peer.warmsUp ? warmUpSeconds : 1, async () => (await load(gentle, running.port, 1, own)).requests);
  return { name: peer.name, running, pids: processTree(running.process.pid) };
}

async function seeCarried(name: string, port: number, path: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } });
  const { byteLength } = await response.arrayBuffer();
  if (byteLength !== BODY_BYTES[path]) throw new Error(`${name} does not do the same work: ${byteLength} bytes came`);
}

async function busyRound(
  one: L4Case,
  { running, pids }: Entrant,
  { seconds, directory }: L4RoundOptions,
): Promise<L4Sample> {
  const before = cpuSeconds(pids);
  const loadBefore = coreTicks(Core.LOAD);
  const result = await load(one, running.port, seconds, directory);
  const loadBusy = busyShare(loadBefore, coreTicks(Core.LOAD));
  const cpu = cpuSeconds(pids) - before;
  const { requests, errors, p50Ms, p99Ms } = result;
  // A round without a single answer, as on a machine that had no time for it, has no figure.
  const cpuMicros = requests > 0 ? (cpu * 1e6) / requests : Number.NaN;
  const rssMib = residentKib(pids) / 1024;
  return { ...NOTHING, cpuMicros, perSecond: requests / result.seconds, p50Ms, p99Ms, errors, loadBusy, rssMib };
}

/** Every round with a new process: memory that was once used does not come back. */
async function idleRounds(one: L4Case, options: L4RoundOptions): Promise<L4Samples> {
  const samples = new Map<string, L4Sample[]>();
  for (const peer of options.peers) {
    for (let round = 0; round < options.rounds; round++) {
      options.progress(`${one.name}: round ${round + 1} of ${options.rounds}, ${peer.name}`);
      const sample = await orLeaveOut(peer, options, () => idleRound(peer, one, options));
      if (sample !== null) samples.set(peer.name, [...(samples.get(peer.name) ?? []), sample]);
    }
  }
  return samples;
}

async function idleRound(peer: Peer, one: L4Case, options: L4RoundOptions): Promise<L4Sample> {
  await using stack = new AsyncDisposableStack();
  const { running, pids } = await enter(peer, one, options, stack);
  return { ...NOTHING, ...(await idleMemory({ port: running.port, pids }, one.connections, one.shape.path)) };
}
