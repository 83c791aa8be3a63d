import type { Clock } from '../base/clock.ts';
import { BUCKETS, bucketQuantile, FINE_BUCKETS, fineQuantile } from '../base/histogram.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { isFailure, OUTCOMES, type Outcome } from '../endpoint/outcome.ts';
import { METHOD_LABELS, type RouteCells, STATUS_LABELS } from '../routing/route-cells.ts';
import type { LivePool, LiveState } from './live-state.ts';
import { SampleRing } from './sample-ring.ts';
import { runInSlices } from './slices.ts';
import { WindowedCounters } from './windowed-counters.ts';

/** Seconds that "recent" means. */
export const WINDOW_SECONDS = 10;
/** Seconds of history kept for charts. */
export const HISTORY_SECONDS = 120;
const SAMPLE_MS = 1000;
/** Endpoints sampled before main may turn to something else. */
const PER_STEP = 256;

/** Counters of an endpoint's window: latency buckets first. */
const REQUESTS = BUCKETS;
const FAILURES = BUCKETS + 1;
const ENDPOINT_WIDTH = BUCKETS + 2;
/** Counters of a pool's window: fine duration buckets first. */
const POOL_REQUESTS = FINE_BUCKETS;
const POOL_ERRORS = FINE_BUCKETS + 1;
const POOL_WIDTH = FINE_BUCKETS + 2;
const SERVER_ERRORS = STATUS_LABELS.flatMap((label, index) => (label.startsWith('5') ? [index] : []));

/** What happened within the last WINDOW_SECONDS. Quantiles are ms, null when nothing was observed. */
export interface Recent {
  readonly requestsPerSecond: number;
  /** Requests per second in the latest sample alone. */
  readonly lastSecond: number;
  /** Endpoint: attempts that failed. Pool: requests answered with 5xx, ours included. */
  readonly failuresPerSecond: number;
  /** Endpoint: part of the pool's attempts, 0…1. Pool: 1, or 0 without traffic. */
  readonly share: number;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
}

/** One value per sample, oldest first; the last is the latest sample's. Endpoints' arrays may be shorter: they joined later. */
export interface PoolHistory {
  readonly requestsPerSecond: readonly number[];
  readonly errorsPerSecond: readonly number[];
  /** Quantiles over the window before each sample, ms. */
  readonly p50: readonly (number | null)[];
  readonly p99: readonly (number | null)[];
  /** Attempts per second, by endpoint ID. */
  readonly endpoints: Readonly<Record<string, readonly number[]>>;
}

interface EndpointTrack {
  readonly id: string;
  readonly pool: string;
  readonly window: WindowedCounters;
  readonly rates: SampleRing;
  seenAt: number;
}

interface PoolTrack {
  /** What its routes have gained since it was first sampled, whichever came, went or came back meanwhile. */
  readonly gained: Float64Array;
  readonly window: WindowedCounters;
  readonly rates: SampleRing;
  readonly errors: SampleRing;
  readonly p50: SampleRing;
  readonly p99: SampleRing;
  /** Attempts on its endpoints within the window. */
  attempts: number;
  seenAt: number;
}

const NOTHING: Recent = {
  requestsPerSecond: 0,
  lastSecond: 0,
  failuresPerSecond: 0,
  share: 0,
  p50: null,
  p90: null,
  p99: null,
};

/**
 * Samples the counters once a second and tells rates, shares and quantiles of the last ten seconds, and two minutes of history. On main,
 * for the admin API and the dashboard; 10 000 endpoints cost 25 ms of its time a second, in slices of 5, and 3 KB each.
 */
export class RecentTraffic {
  readonly #state: () => LiveState;
  readonly #clock: Clock;
  /** By slot, which a rebuilt Endpoint object keeps. */
  readonly #endpoints = new Map<number, EndpointTrack>();
  readonly #pools = new Map<string, PoolTrack>();
  /** Times of the samples in the window, and of the one before it. */
  readonly #times = new SampleRing(WINDOW_SECONDS + 1);
  readonly #endpointValues = new Float64Array(ENDPOINT_WIDTH);
  /** What the cells of a route held when they were sampled last; one that left may come back with them. */
  readonly #routes = new WeakMap<RouteCells, Float64Array>();
  #sample = 0;
  #timer: NodeJS.Timeout | null = null;
  #isSampling = false;

  constructor(state: () => LiveState, clock: Clock) {
    this.#state = state;
    this.#clock = clock;
  }

  start(): void {
    this.sample();
    this.#timer = setInterval(() => this.#sampleInSlices(), SAMPLE_MS);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Takes one sample at once. */
  sample(): void {
    for (const _ of this.#steps());
  }

  /** A sample that is still being taken when the next is due takes its place. */
  async #sampleInSlices(): Promise<void> {
    if (this.#isSampling) return;
    this.#isSampling = true;
    await runInSlices(this.#steps());
    this.#isSampling = false;
  }

  *#steps(): Generator<void> {
    const state = this.#state();
    const now = this.#clock.now();
    const seconds = Math.max(now - (this.#times.latest ?? now - SAMPLE_MS), 1) / 1000;
    this.#times.push(now);
    this.#sample++;
    const cells = cellsByPool(state);
    for (const pool of state.pools) yield* this.#samplePool(pool, cells.get(pool.name) ?? [], seconds);
    for (const [slot, track] of this.#endpoints) if (track.seenAt !== this.#sample) this.#endpoints.delete(slot);
    for (const [name, track] of this.#pools) if (track.seenAt !== this.#sample) this.#pools.delete(name);
  }

  /** Attempts on an endpoint within the window. */
  attempts(endpoint: Endpoint): number {
    const track = this.#endpoints.get(endpoint.slot);
    return track === undefined || track.id !== endpoint.id ? 0 : track.window.sums[REQUESTS];
  }

  endpoint(endpoint: Endpoint): Recent {
    const track = this.#endpoints.get(endpoint.slot);
    if (track === undefined || track.id !== endpoint.id) return NOTHING;
    const { sums } = track.window;
    const attempts = this.#pools.get(track.pool)?.attempts ?? 0;
    return {
      requestsPerSecond: this.#perSecond(sums[REQUESTS]),
      lastSecond: track.rates.latest ?? 0,
      failuresPerSecond: this.#perSecond(sums[FAILURES]),
      share: attempts === 0 ? 0 : sums[REQUESTS] / attempts,
      p50: orNull(bucketQuantile(sums, 0.5)),
      p90: orNull(bucketQuantile(sums, 0.9)),
      p99: orNull(bucketQuantile(sums, 0.99)),
    };
  }

  pool(name: string): Recent {
    const track = this.#pools.get(name);
    if (track === undefined) return NOTHING;
    const { sums } = track.window;
    return {
      requestsPerSecond: this.#perSecond(sums[POOL_REQUESTS]),
      lastSecond: track.rates.latest ?? 0,
      failuresPerSecond: this.#perSecond(sums[POOL_ERRORS]),
      share: sums[POOL_REQUESTS] === 0 ? 0 : 1,
      p50: orNull(fineQuantile(sums, 0.5)),
      p90: orNull(fineQuantile(sums, 0.9)),
      p99: orNull(fineQuantile(sums, 0.99)),
    };
  }

  history(pool: string, endpoints: readonly Endpoint[]): PoolHistory {
    const track = this.#pools.get(pool);
    const rates: Record<string, readonly number[]> = {};
    for (const { slot, id } of endpoints) {
      const found = this.#endpoints.get(slot);
      if (found?.id === id) rates[id] = found.rates.values();
    }
    return {
      requestsPerSecond: track?.rates.values() ?? [],
      errorsPerSecond: track?.errors.values() ?? [],
      p50: track?.p50.values().map(orNull) ?? [],
      p99: track?.p99.values().map(orNull) ?? [],
      endpoints: rates,
    };
  }

  *#samplePool(pool: LivePool, routes: readonly RouteCells[], seconds: number): Generator<void> {
    const track = this.#pools.get(pool.name) ?? newPoolTrack();
    this.#pools.set(pool.name, track);
    track.seenAt = this.#sample;
    for (const cells of routes) this.#sampleRoute(cells, track.gained);
    track.window.advance(track.gained);
    track.rates.push(track.window.latest(POOL_REQUESTS) / seconds);
    track.errors.push(track.window.latest(POOL_ERRORS) / seconds);
    track.p50.push(fineQuantile(track.window.sums, 0.5));
    track.p99.push(fineQuantile(track.window.sums, 0.99));
    let attempts = 0;
    for (let i = 0; i < pool.endpoints.length; i++) {
      attempts += this.#sampleEndpoint(pool.name, pool.endpoints[i].endpoint, seconds);
      if (i % PER_STEP === PER_STEP - 1) yield;
    }
    track.attempts = attempts;
    yield;
  }

  #sampleRoute(cells: RouteCells, gained: Float64Array): void {
    const values = readRoute(cells);
    const last = this.#routes.get(cells);
    for (let i = 0; i < POOL_WIDTH; i++) gained[i] += values[i] - (last?.[i] ?? 0);
    this.#routes.set(cells, values);
  }

  /** Returns the endpoint's attempts within the window. */
  #sampleEndpoint(pool: string, endpoint: Endpoint, seconds: number): number {
    let track = this.#endpoints.get(endpoint.slot);
    if (track === undefined || track.id !== endpoint.id || track.pool !== pool) {
      track = newEndpointTrack(endpoint.id, pool);
      this.#endpoints.set(endpoint.slot, track);
    }
    track.seenAt = this.#sample;
    readEndpoint(endpoint, this.#endpointValues);
    track.window.advance(this.#endpointValues);
    track.rates.push(track.window.latest(REQUESTS) / seconds);
    return track.window.sums[REQUESTS];
  }

  #perSecond(count: number): number {
    const spanMs = (this.#times.latest ?? 0) - (this.#times.oldest ?? 0);
    return spanMs <= 0 ? 0 : (count * 1000) / spanMs;
  }
}

function newEndpointTrack(id: string, pool: string): EndpointTrack {
  const window = new WindowedCounters(ENDPOINT_WIDTH, WINDOW_SECONDS);
  return { id, pool, window, rates: new SampleRing(HISTORY_SECONDS), seenAt: 0 };
}

function newPoolTrack(): PoolTrack {
  return {
    gained: new Float64Array(POOL_WIDTH),
    window: new WindowedCounters(POOL_WIDTH, WINDOW_SECONDS),
    rates: new SampleRing(HISTORY_SECONDS),
    errors: new SampleRing(HISTORY_SECONDS),
    p50: new SampleRing(HISTORY_SECONDS),
    p99: new SampleRing(HISTORY_SECONDS),
    attempts: 0,
    seenAt: 0,
  };
}

function cellsByPool(state: LiveState): Map<string, RouteCells[]> {
  const cells = new Map<string, RouteCells[]>();
  for (const route of state.routes) {
    const found = cells.get(route.pool);
    if (found === undefined) cells.set(route.pool, [route.cells]);
    else found.push(route.cells);
  }
  return cells;
}

function readRoute(cells: RouteCells): Float64Array {
  const values = new Float64Array(POOL_WIDTH);
  for (let i = 0; i < FINE_BUCKETS; i++) {
    values[i] = cells.fineBucket(i);
    values[POOL_REQUESTS] += values[i];
  }
  for (const status of SERVER_ERRORS)
    for (let method = 0; method < METHOD_LABELS.length; method++) values[POOL_ERRORS] += cells.requests(method, status);
  return values;
}

function readEndpoint(endpoint: Endpoint, values: Float64Array): void {
  for (let i = 0; i < BUCKETS; i++) values[i] = endpoint.latencyBucket(i);
  values[REQUESTS] = 0;
  values[FAILURES] = 0;
  for (let outcome = 0; outcome < OUTCOMES; outcome++) {
    const count = endpoint.outcomes(outcome as Outcome);
    values[REQUESTS] += count;
    if (isFailure(outcome as Outcome)) values[FAILURES] += count;
  }
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}
