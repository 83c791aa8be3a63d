import { seededRandom } from '../base/random.ts';
import { DOWN_BY_CHOICE, downWords } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { type EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import { PoolCounter, type PoolWords } from '../endpoint/pool-words.ts';
import { selectAvailable } from '../health/availability.ts';
import { applySlowStart } from '../health/slow-start.ts';
import { schedulers } from '../scheduling/catalog.ts';
import type { HashKey } from '../scheduling/hash-key.ts';
import type { Scheduler } from '../scheduling/scheduler.ts';
import type { EjectionState } from './ejection-state.ts';
import type { PoolOptions } from './options.ts';

/** An endpoint that could be picked now. */
export interface Candidate {
  readonly endpoint: string;
  /** What the scheduler compares; lower is better; null where it compares nothing. */
  readonly score: number | null;
  /** 0…1: of many requests like this one, as things are now; null in a logged decision. */
  readonly share: number | null;
  readonly weight: number;
  /** Lower during slow start. */
  readonly effectiveWeight: number;
  readonly active: number;
  readonly latencyMs: number | null;
}

/** An endpoint that could not, and why, in the words of `down` and a few of a person's. */
export interface LeftOut {
  readonly endpoint: string;
  readonly down: readonly string[];
  readonly because: string;
}

/** How a pool decides at this moment. Numbers of a large pool are cut to the first FIFTY; the counts are whole. */
export interface PoolExplanation {
  readonly pool: string;
  readonly scheduler: string;
  /** Null when nobody could be. */
  readonly picked: string | null;
  /** Whether it would be that one for sure; otherwise it is the likeliest. */
  readonly isCertain: boolean;
  readonly panic: boolean;
  readonly candidates: readonly Candidate[];
  readonly candidateCount: number;
  readonly out: readonly LeftOut[];
  readonly outCount: number;
  readonly ejection: EjectionState | null;
  readonly limits: { readonly active: number | null; readonly pending: number; readonly pendingLimit: number | null };
  readonly retry: { readonly attempts: number; readonly on: readonly string[]; readonly left: number } | null;
}

/** What is explained: a pool as main knows it. */
export interface ExplainedPool {
  readonly name: string;
  readonly options: PoolOptions;
  readonly words: PoolWords;
  readonly endpoints: readonly Endpoint[];
  readonly ejection: EjectionState | null;
  /** Why an endpoint is down, in words of whoever took it out; '' when nobody said. */
  readonly reasonOf: (endpoint: Endpoint) => string;
}

const FIFTY = 50;
/** Picks of the dry run; fewer where one takes long. */
const DRAWS = 2000;
const LOOKS = 2_000_000;

/**
 * Says how a pool would choose for a request; `hashOf` gives its hash where the scheduler hashes (0: it has nothing of the kind). On main, for the API, off every request path: another
 * scheduler of the same options, over the same shared memory, makes a dry run, and nobody's state is changed. Turns (weighted-round-robin) are
 * each worker's own, so what is said of them is the share.
 */
export function explainPool(pool: ExplainedPool, hashOf: (on: HashKey) => number, nowMs: number): PoolExplanation {
  const { options, words, endpoints } = pool;
  const { available, panic } = selectAvailable(endpoints, { panicThreshold: options.panic ?? 0 });
  if (options.slowStart !== null) applySlowStart(available, nowMs, options.slowStart);
  const limit = options.limits.active;
  const open = available.filter((endpoint) => limit === null || endpoint.active < limit);
  const scheduler = dryScheduler(options, nowMs);
  // Full ones stay in the set, as in a worker: a scheduler's shares are over all, and the full are passed over.
  scheduler.update({ version: 1, all: endpoints, available });
  const hash = scheduler.hashOn === undefined ? 0 : hashOf(scheduler.hashOn);
  const shares = sharesOf(scheduler, available, new Set(open), hash, nowMs);
  const candidates = open
    .map((endpoint) => candidateOf(endpoint, scheduler, shares.get(endpoint) ?? 0))
    .sort((a, b) => (b.share ?? 0) - (a.share ?? 0));
  const best = candidates[0];
  const taken = new Set(open);
  const out = endpoints.filter((endpoint) => !taken.has(endpoint));
  const { retry, limits } = options;
  return {
    pool: pool.name,
    scheduler: options.scheduler.kind,
    picked: best === undefined ? null : best.endpoint,
    isCertain: best?.share === 1,
    panic,
    candidates: candidates.slice(0, FIFTY),
    candidateCount: candidates.length,
    out: out.slice(0, FIFTY).map((endpoint) => leftOut(endpoint, pool, available)),
    outCount: out.length,
    ejection: pool.ejection,
    limits: { active: limit, pending: words.counter(PoolCounter.PENDING), pendingLimit: limits.pending },
    retry: retry === null ? null : { attempts: retry.attempts, on: retry.on, left: words.retriesLeft },
  };
}

/** One decision of a worker, in the form of an explanation; the first TWENTY of each list. */
export interface Decision {
  readonly pool: string;
  readonly scheduler: string;
  readonly picked: string;
  readonly hash: number;
  readonly candidates: readonly Candidate[];
  readonly candidateCount: number;
  readonly out: readonly { readonly endpoint: string; readonly down: readonly string[] }[];
}

const TWENTY = 20;

/** What a worker logs of the decision it just made, once in many. */
export function decisionOf(
  pool: string,
  options: PoolOptions,
  { all, available }: EndpointSet,
  scheduler: Scheduler,
  picked: Endpoint,
  hash: number,
): Decision {
  const out = all.filter(({ down }) => down !== 0).slice(0, TWENTY);
  return {
    pool,
    scheduler: options.scheduler.kind,
    picked: picked.id,
    hash,
    candidates: available.slice(0, TWENTY).map((endpoint) => candidateOf(endpoint, scheduler, null)),
    candidateCount: available.length,
    out: out.map(({ id, down }) => ({ endpoint: id, down: downWords(down) })),
  };
}

function dryScheduler(options: PoolOptions, nowMs: number): Scheduler {
  const clock = { now: () => nowMs };
  return schedulers.create(options.scheduler, { clock, random: seededRandom(1), worker: 0, workers: 1 });
}

function sharesOf(
  scheduler: Scheduler,
  available: readonly Endpoint[],
  open: ReadonlySet<Endpoint>,
  hash: number,
  nowMs: number,
): Map<Endpoint, number> {
  const draws = hash !== 0 ? 1 : Math.max(50, Math.min(DRAWS, Math.floor(LOOKS / (available.length + 1))));
  const counts = new Map<Endpoint, number>();
  const full = new Tried();
  for (const endpoint of available) if (!open.has(endpoint) && full.size < FIFTY) full.add(endpoint);
  for (let i = 0; i < draws; i++) {
    const endpoint = scheduler.pick(hash, full, nowMs);
    if (endpoint !== null) counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1 / draws);
  }
  return new Map([...counts].map(([endpoint, share]) => [endpoint, rounded(share)]));
}

function candidateOf(endpoint: Endpoint, scheduler: Scheduler, share: number | null): Candidate {
  const score = scheduler.score?.(endpoint) ?? Number.NaN;
  return {
    endpoint: endpoint.id,
    score: Number.isFinite(score) ? rounded(score) : null,
    share,
    weight: endpoint.weight,
    effectiveWeight: rounded(endpoint.effectiveWeight),
    active: endpoint.active,
    latencyMs: Number.isNaN(endpoint.latencyMs) ? null : rounded(endpoint.latencyMs),
  };
}

function leftOut(endpoint: Endpoint, pool: ExplainedPool, available: readonly Endpoint[]): LeftOut {
  return {
    endpoint: endpoint.id,
    down: downWords(endpoint.down),
    because: whyOut(endpoint, pool, available),
  };
}

function whyOut(endpoint: Endpoint, { options, reasonOf }: ExplainedPool, available: readonly Endpoint[]): string {
  const { down } = endpoint;
  if (available.includes(endpoint)) return `at its limit of ${options.limits.active} requests`;
  if (down !== 0) return reasonOf(endpoint) || ((down & DOWN_BY_CHOICE) !== 0 ? 'taken out' : 'unfit');
  if (endpoint.weight <= 0) return 'weight 0';
  return endpoint.isBackup ? 'backup: others are fit' : 'not in use';
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
