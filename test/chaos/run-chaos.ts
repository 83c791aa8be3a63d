import { readdirSync, readFileSync } from 'node:fs';
import { Authority, findOpenssl } from '../helpers/certificates.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
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
  stall,
  upgrades,
  type World,
} from './disturbances.ts';
import { ChaosOrigin } from './origin.ts';
import type { ChaosClient, Tally } from './tally.ts';

const MIB = 1024 * 1024;
const KILL_EVERY_MS = 5500;
/** Of every change in a minute. */
const WANTED = { reloads: 50, 'worker restarts': 30, 'endpoint drains': 20, 'endpoint restarts': 20 };

export interface ChaosOptions {
  /** Of changes without a fault. */
  readonly seconds: number;
  /** Then so many workers are killed. */
  readonly kills: number;
  /** Whether a worker is stalled until it is replaced: takes some 12 s. */
  readonly stalls: boolean;
  /** Upgrades in a minute; at least one. */
  readonly upgrades: number;
  readonly workers: number;
  /** Requests a second of each open loop. */
  readonly rate: number;
  /** Size of the downloads; each takes about a third of the time. */
  readonly downloadMiB: number;
  /** Called with each phase that is over. */
  readonly onPhase?: (phase: Phase) => void;
}

/** What happened in one part of the run, and what its clients saw. */
export interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly done: Done;
  /** How often each was to be done at least. */
  readonly wanted: Readonly<Record<string, number>>;
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

const SAMPLE_EVERY_MS = 5000;
/** What the mean may gain from the first third of the changes to the last: noise, and what is warmed up. */
const MEMORY_GROWTH_MIB = 64;
const DESCRIPTOR_GROWTH = 64;
/** Samples that are told. */
const TOLD = 24;

/** Runs a proxy with clients that count everything while everything around them changes. Bounded in time; leaves nothing running. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  await using directory = await temporaryDirectory('chaos');
  const web = [new ChaosOrigin(), new ChaosOrigin(), new ChaosOrigin()];
  const long = [new ChaosOrigin(), new ChaosOrigin()];
  const pair = findOpenssl() === null ? null : new Authority(directory.path, 'ca').issue('server', ['localhost']);
  const authority = pair === null ? undefined : readFileSync(`${directory.path}/ca.pem`, 'utf8');
  for (const origin of [...web, ...long]) await origin.start();
  const start = () => startProxy(documentOf({ web, long, pair }, 0, options.workers), { faults: true });
  const samples = new Samples();
  const phases: Phase[] = [];
  const over = (one: Phase) => {
    phases.push(one);
    options.onPhase?.(one);
  };
  try {
    let deaths = 0;
    {
      await using proxy = await start();
      const world: World = { proxy, web, long, pair };
      const clientsOf = (seconds: number) => everyClient(proxy, options, seconds, authority);
      over(await phase(world, 'no change', 1, clientsOf(1), []));
      const sampling = samples.every(SAMPLE_EVERY_MS, proxy);
      const wanted = wantedOf(options);
      over(await phase(world, 'changes', options.seconds, clientsOf(options.seconds), changes(options), wanted));
      sampling();
      deaths += proxy.events('worker-died').length;
      over(await ending(world));
    }
    await using proxy = await start();
    const world: World = { proxy, web, long, pair };
    // Each lives long enough not to be taken for one that dies at every start.
    const everyMs = KILL_EVERY_MS / options.workers;
    const seconds = Math.ceil((options.kills * everyMs) / 1000);
    const clients = everyClient(proxy, options, seconds, authority);
    const killing = [kills(everyMs, options.workers)];
    over(await phase(world, 'workers killed', seconds, clients, killing, { 'worker kills': options.kills }));
    if (options.stalls)
      over(await phase(world, 'a worker stalled', 1, everyClient(proxy, options, 15, authority), [stall]));
    return { phases, memory: samples.memory, descriptors: samples.descriptors, deaths };
  } finally {
    await Promise.all([...web, ...long].map((origin) => origin.stop()));
  }
}

function wantedOf({ seconds, upgrades: perMinute }: ChaosOptions): Record<string, number> {
  const all = Object.entries({ ...WANTED, upgrades: perMinute });
  return Object.fromEntries(all.map(([what, count]) => [what, Math.floor((count * seconds) / 60)]));
}

function changes(options: ChaosOptions): Disturbance[] {
  const perMinute = (count: number) => Math.max(150, 60_000 / count);
  return [
    reloads(perMinute(70), options.workers),
    restarts(perMinute(24)),
    drains(perMinute(32)),
    rollingRestart(perMinute(40)),
    upgrades(Math.min(perMinute(options.upgrades), (options.seconds * 1000) / 3)),
  ];
}

/** What a signal to end costs those who are connected: nothing that was sent. */
async function ending(world: World): Promise<Phase> {
  const { proxy } = world;
  const clients = [closedLoop(proxy.port('web'), 16, { reconnects: false })];
  const term: Disturbance = async (_, done) => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    await proxy.stop();
    done.set('SIGTERM', 1);
  };
  return phase(world, 'the end', 0.5, clients, [term]);
}

/** Memory and descriptors of the process that serves, and is not just taking over. */
class Samples {
  readonly memory: number[] = [];
  readonly descriptors: number[] = [];

  every(ms: number, proxy: RunningProxy): () => void {
    this.#take(proxy.pid);
    const timer = setInterval(() => this.#take(proxy.pid), ms);
    return () => {
      clearInterval(timer);
      this.#take(proxy.pid);
    };
  }

  #take(pid: number): void {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    this.memory.push(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
    this.descriptors.push(readdirSync(`/proc/${pid}/fd`).length);
  }
}

function everyClient(
  proxy: RunningProxy,
  { rate, downloadMiB }: ChaosOptions,
  seconds: number,
  ca: string | undefined,
): ChaosClient[] {
  const [web, long] = [proxy.port('web'), proxy.port('long')];
  return [
    closedLoop(web, 8),
    ...(ca === undefined ? [] : [closedLoop(proxy.port('secure'), 4, { ca })]),
    openLoop(web, rate, seconds, false),
    openLoop(web, rate, seconds, true),
    webSockets(long, 6),
    downloads(long, 2, downloadMiB * MIB, Math.max(1, Math.min(30, seconds / 3))),
  ];
}

async function phase(
  world: World,
  name: string,
  seconds: number,
  clients: readonly ChaosClient[],
  disturbances: readonly Disturbance[],
  wanted: Readonly<Record<string, number>> = {},
): Promise<Phase> {
  const done: Done = new Map();
  const startMs = performance.now();
  const lasts = () => performance.now() - startMs;
  // On a busy machine everything takes longer: twice the time, and no more, for what was to be done.
  const isOver = (what: string, count: number) =>
    lasts() >= seconds * 2000 || (lasts() >= seconds * 1000 && count >= (wanted[what] ?? 0));
  await Promise.all(disturbances.map((one) => one(world, done, isOver)));
  while (lasts() < seconds * 1000) await new Promise((resolve) => setTimeout(resolve, 20));
  await Promise.all(clients.map((client) => client.stop()));
  return { name, seconds: Math.round(lasts() / 1000), done, wanted, tallies: clients.map(({ tally }) => tally) };
}

/** What was lost where nothing may be. */
export function lossesOf({ phases }: ChaosReport): string[] {
  return phases
    .filter(({ name }) => name !== 'workers killed' && name !== 'a worker stalled')
    .flatMap(({ name, tallies }) =>
      tallies.flatMap((tally) => {
        const lines = [...tally.lost].map(([what, count]) => `${name}: ${tally.name}: ${count} × ${what}`);
        const open = tally.begun - tally.answered - tally.losses;
        return open === 0 ? lines : [...lines, `${name}: ${tally.name}: ${open} neither answered nor lost`];
      }),
    );
}

/** What was done less often than it was to be. */
export function shortfallsOf({ phases }: ChaosReport): string[] {
  return phases.flatMap(({ name, done, wanted }) =>
    Object.entries(wanted)
      .filter(([what, count]) => (done.get(what) ?? 0) < count)
      .map(([what, count]) => `${name}: ${done.get(what) ?? 0} of ${count} ${what}`),
  );
}

/** What memory and descriptors, which go up and down with every generation of processes, have gained from the first third of the changes to the last. */
export function growthOf({ memory, descriptors }: ChaosReport): string[] {
  return [...gained('MiB', memory, MEMORY_GROWTH_MIB), ...gained('descriptors', descriptors, DESCRIPTOR_GROWTH)];
}

function gained(what: string, samples: readonly number[], most: number): string[] {
  const third = Math.floor(samples.length / 3);
  if (third < 4) return [];
  const mean = (part: readonly number[]) => part.reduce((sum, one) => sum + one, 0) / part.length;
  const [first, last] = [mean(samples.slice(0, third)), mean(samples.slice(-third))];
  return last - first > most ? [`${what} grew from ${first.toFixed(0)} to ${last.toFixed(0)}`] : [];
}

/** The table for people. */
export function tableOf({ phases, memory, descriptors, deaths }: ChaosReport): string {
  const lines = phases.flatMap(linesOf);
  lines.push(`memory ${course(memory)} MiB; descriptors ${course(descriptors)}`);
  lines.push(`workers that died of themselves: ${deaths}`);
  return lines.join('\n');
}

function course(samples: readonly number[]): string {
  const step = Math.ceil(samples.length / TOLD);
  const told = samples.filter((_, i) => i % step === 0 || i === samples.length - 1);
  return told.map((one) => one.toFixed(0)).join(' → ');
}

/** One phase of the table. */
export function linesOf({ name, seconds, done, wanted, tallies }: Phase): string[] {
  const lines: string[] = [];
  const acts = [...done]
    .map(([what, count]) => (wanted[what] === undefined ? `${count} ${what}` : `${count} of ${wanted[what]} ${what}`))
    .join(', ');
  lines.push(`${name}, ${seconds} s${acts === '' ? '' : `: ${acts}`}`);
  for (const tally of tallies) {
    const lost = [...tally.lost].map(([what, count]) => `${count} × ${what}`).join('; ');
    const counts = `${String(tally.begun).padStart(8)} begun ${String(tally.answered).padStart(8)} answered ${String(tally.losses).padStart(5)} lost`;
    lines.push(`  ${tally.name.padEnd(30)}${counts}  ${lost}`.trimEnd());
  }
  return lines;
}
