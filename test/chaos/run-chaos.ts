import { readdirSync, readFileSync } from 'node:fs';
import { startProxy } from '../helpers/proxy.ts';
import { closedLoop, downloads, openLoop, webSockets } from './clients.ts';
import {
  type Disturbance,
  type Done,
  documentOf,
  drains,
  kills,
  reloads,
  restarts,
  rollingRestart,
  type World,
} from './disturbances.ts';
import { ChaosOrigin } from './origin.ts';
import type { Tally } from './tally.ts';

const MIB = 1024 * 1024;
const KILL_EVERY_MS = 5500;

export interface ChaosOptions {
  /** Of changes without a fault; then a third of it with workers that are killed. */
  readonly seconds: number;
  readonly workers: number;
  /** Requests a second of each open loop. */
  readonly rate: number;
  /** Size of the downloads; each takes about a third of the time. */
  readonly downloadMiB: number;
}

/** What happened in one part of the run, and what its clients saw. */
export interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly done: Done;
  readonly tallies: readonly Tally[];
}

export interface ChaosReport {
  readonly phases: readonly Phase[];
  /** MiB and descriptors of the proxy, when it had served a second, after the changes, and at the end. */
  readonly memory: readonly number[];
  readonly descriptors: readonly number[];
  /** Workers that died without being killed. */
  readonly deaths: number;
}

/** Runs a proxy with clients that count everything while everything around them changes. Bounded in time; leaves nothing running. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const web = [new ChaosOrigin(), new ChaosOrigin(), new ChaosOrigin()];
  const long = [new ChaosOrigin(), new ChaosOrigin()];
  for (const origin of [...web, ...long]) await origin.start();
  const proxy = await startProxy(documentOf({ web, long }, 0, options.workers), { faults: true });
  const world: World = { proxy, web, long };
  const memory: number[] = [];
  const descriptors: number[] = [];
  const sample = () => {
    memory.push(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${proxy.child.pid}/status`, 'utf8'))?.[1]) / 1024);
    descriptors.push(readdirSync(`/proc/${proxy.child.pid}/fd`).length);
  };
  try {
    const calm = await phase(world, options, 'no change', 1, []);
    sample();
    const perMinute = (count: number) => Math.max(150, 60_000 / count);
    const changes = await phase(world, options, 'changes', options.seconds, [
      reloads(perMinute(60), options.workers),
      restarts(perMinute(20)),
      drains(perMinute(24)),
      rollingRestart(perMinute(40)),
    ]);
    const deaths = proxy.events('worker-died').length;
    sample();
    // A reload may have left one worker: killing the only one refuses connections until its successor listens.
    await proxy.write(documentOf({ web, long }, 0, options.workers));
    await proxy.api('/api/v1/reload', { method: 'POST' });
    const faults = await phase(world, options, 'workers killed', Math.ceil(options.seconds / 3), [
      // Each lives long enough not to be taken for one that dies at every start.
      kills(KILL_EVERY_MS / options.workers, options.workers),
    ]);
    sample();
    return { phases: [calm, changes, faults], memory, descriptors, deaths };
  } finally {
    await proxy.stop();
    await Promise.all([...web, ...long].map((origin) => origin.stop()));
  }
}

async function phase(
  world: World,
  { rate, downloadMiB }: ChaosOptions,
  name: string,
  seconds: number,
  disturbances: readonly Disturbance[],
): Promise<Phase> {
  const done: Done = new Map();
  const [web, long] = [world.proxy.port('web'), world.proxy.port('long')];
  const clients = [
    closedLoop(web, 8),
    openLoop(web, rate, seconds, false),
    openLoop(web, rate, seconds, true),
    webSockets(long, 6),
    downloads(long, 2, downloadMiB * MIB, Math.max(1, seconds / 3)),
  ];
  const endMs = performance.now() + seconds * 1000;
  const isOver = () => performance.now() >= endMs;
  await Promise.all(disturbances.map((one) => one(world, done, isOver)));
  while (!isOver()) await new Promise((resolve) => setTimeout(resolve, 20));
  await Promise.all(clients.map((client) => client.stop()));
  return { name, seconds, done, tallies: clients.map(({ tally }) => tally) };
}

/** What was lost where nothing may be. */
export function lossesOf({ phases }: ChaosReport): string[] {
  return phases
    .filter(({ name }) => name !== 'workers killed')
    .flatMap(({ name, tallies }) =>
      tallies.flatMap((tally) => {
        const lines = [...tally.lost].map(([what, count]) => `${name}: ${tally.name}: ${count} × ${what}`);
        const open = tally.begun - tally.answered - tally.losses;
        return open === 0 ? lines : [...lines, `${name}: ${tally.name}: ${open} neither answered nor lost`];
      }),
    );
}

/** The table for people. */
export function tableOf({ phases, memory, descriptors, deaths }: ChaosReport): string {
  const lines: string[] = [];
  for (const { name, seconds, done, tallies } of phases) {
    const acts = [...done].map(([what, count]) => `${count} ${what}`).join(', ');
    lines.push(`${name}, ${seconds} s${acts === '' ? '' : `: ${acts}`}`);
    for (const tally of tallies) {
      const lost = [...tally.lost].map(([what, count]) => `${count} × ${what}`).join('; ');
      const counts = `${String(tally.begun).padStart(8)} begun ${String(tally.answered).padStart(8)} answered ${String(tally.losses).padStart(5)} lost`;
      lines.push(`  ${tally.name.padEnd(30)}${counts}  ${lost}`.trimEnd());
    }
  }
  lines.push(`memory ${memory.map((one) => one.toFixed(0)).join(' → ')} MiB; descriptors ${descriptors.join(' → ')}`);
  lines.push(`workers that died of themselves: ${deaths}`);
  return lines.join('\n');
}
