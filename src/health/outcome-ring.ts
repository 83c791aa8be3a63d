import { BUCKETS } from '../base/histogram.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { isFailure, OUTCOMES, type Outcome } from '../endpoint/outcome.ts';

/** Buckets of a window. Fixed ones and not a moving average: an average of few requests jumps from one extreme to the other. */
export const RING_BUCKETS = 10;
const SUCCESSES = 0;
const FAILURES = 1;
const LATENCIES = 2;
const WIDTH = LATENCIES + BUCKETS;

/**
 * What came of one endpoint's requests over a sliding window, over all workers: their counters are summed when they are looked at, so that nothing is
 * counted twice and the request path pays nothing. Each of the ten places holds the sums at its time; the window is the present minus the oldest.
 * Main's, one per endpoint.
 */
export class OutcomeRing {
  readonly #places = new Float64Array((RING_BUCKETS + 1) * WIDTH);
  /** What came while nothing was to be believed. */
  readonly #ignored = new Float64Array(WIDTH);
  readonly #now = new Float64Array(WIDTH);
  #filled = 1;
  #newest = 0;
  /** End of the ejection after which this window began. */
  epochMs: number;

  constructor(endpoint: Endpoint) {
    this.epochMs = endpoint.ejectedUntilMs;
    this.#read(endpoint, this.#places.subarray(0, WIDTH));
  }

  /** Brings the sums up to date; everything else here speaks of what was read last. */
  look(endpoint: Endpoint): void {
    this.#read(endpoint, this.#now);
    for (let i = 0; i < WIDTH; i++) this.#now[i] -= this.#ignored[i];
  }

  /** A bucket is over: the window moves on. */
  turn(): void {
    this.#newest = (this.#newest + 1) % (RING_BUCKETS + 1);
    if (this.#filled < RING_BUCKETS) this.#filled++;
    this.#places.set(this.#now, this.#newest * WIDTH);
  }

  /** Begins anew. */
  clear(): void {
    this.#filled = 1;
    this.#newest = 0;
    this.#places.set(this.#now, 0);
  }

  /** Leaves out what came since the last `look`. */
  ignore(endpoint: Endpoint): void {
    const before = this.#now.slice();
    this.look(endpoint);
    for (let i = 0; i < WIDTH; i++) this.#ignored[i] += this.#now[i] - before[i];
    this.#now.set(before);
  }

  /** Requests that ended, those of clients that left aside. */
  get volume(): number {
    return this.#count(SUCCESSES) + this.#count(FAILURES);
  }

  /** NaN without any request. */
  get successRate(): number {
    return this.#count(SUCCESSES) / this.volume;
  }

  /** Counts by latency bucket of base/histogram. */
  latencies(): Float64Array {
    return Float64Array.from({ length: BUCKETS }, (_, bucket) => this.#count(LATENCIES + bucket));
  }

  #count(cell: number): number {
    const oldest = (this.#newest + RING_BUCKETS + 2 - this.#filled) % (RING_BUCKETS + 1);
    return this.#now[cell] - this.#places[oldest * WIDTH + cell];
  }

  #read(endpoint: Endpoint, into: Float64Array): void {
    into.fill(0, 0, LATENCIES);
    for (let outcome = 0; outcome < OUTCOMES; outcome++) {
      const cell = outcome === 0 ? SUCCESSES : isFailure(outcome as Outcome) ? FAILURES : -1;
      if (cell >= 0) into[cell] += endpoint.outcomes(outcome as Outcome);
    }
    for (let bucket = 0; bucket < BUCKETS; bucket++) into[LATENCIES + bucket] = endpoint.latencyBucket(bucket);
  }
}
