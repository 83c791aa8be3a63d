import type { Clock } from '../base/clock.ts';
import { bucketQuantile } from '../base/histogram.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import type { EjectionOptions } from './ejection-options.ts';
import { type EjectionContext, Ejector } from './ejector.ts';
import { OutcomeRing, RING_BUCKETS } from './outcome-ring.ts';

/** How often it is judged, at most; and per endpoint, so that ten thousand take no more than some percent of main. */
const JUDGE_MS = 1000;
const JUDGE_MS_PER_ENDPOINT = 0.3;
/** Of fewer endpoints with enough requests no median says who is the odd one. */
const LEAST_COMPARED = 3;
/** Closer than this to the median nobody is slow, whatever the factor says. */
const LEAST_EXCESS_MS = 5;

type JudgedCause = 'success-rate' | 'latency';

/**
 * Finds endpoints that fail or are slow by numbers over a window: too small a share of successes, or a median latency far above the pool's. One per
 * pool, on main, over the counts of all workers. Main calls `sweep` about every 100 ms. What comes while the pool's words are frozen does not count.
 */
export class OutlierDetector {
  readonly #options: EjectionOptions;
  readonly #clock: Clock;
  readonly #words: PoolWords;
  readonly #ejector: Ejector;
  readonly #rings = new Map<Endpoint, OutcomeRing>();
  #wanted: ReadonlyMap<Endpoint, JudgedCause> = new Map();
  #judgeDueMs = 0;
  #turnDueMs = 0;

  constructor(options: EjectionOptions, context: EjectionContext) {
    this.#options = options;
    this.#clock = context.clock;
    this.#words = context.words;
    this.#ejector = new Ejector(options, context);
  }

  /** Who should be out and is not, because of the cap or because it is the last, as of the last look. */
  get wanted(): ReadonlyMap<Endpoint, JudgedCause> {
    return this.#wanted;
  }

  /** `isLate`: a loop of ours came late, so that what came lately does not count. */
  sweep(members: readonly Endpoint[], isLate = false): void {
    const { successRate, latency, window } = this.#options;
    const nowMs = this.#clock.now();
    if ((successRate === null && latency === null) || nowMs < this.#judgeDueMs) return;
    const bucketMs = window / RING_BUCKETS;
    this.#judgeDueMs = nowMs + Math.max(Math.min(JUDGE_MS, bucketMs), members.length * JUDGE_MS_PER_ENDPOINT);
    const isOver = nowMs >= this.#turnDueMs;
    if (isOver) this.#turnDueMs = nowMs + bucketMs;
    this.#retain(members);
    const isHeld = isLate || this.#words.frozen;
    for (const endpoint of members) this.#look(endpoint, isHeld);
    if (!isHeld) this.#judge(members);
    if (isOver) for (const ring of this.#rings.values()) ring.turn();
  }

  #retain(members: readonly Endpoint[]): void {
    const all = new Set(members);
    for (const endpoint of this.#rings.keys()) if (!all.has(endpoint)) this.#rings.delete(endpoint);
    this.#ejector.retain(members);
  }

  #look(endpoint: Endpoint, isHeld: boolean): void {
    const ring = this.#rings.get(endpoint);
    if (ring === undefined) {
      const fresh = new OutcomeRing(endpoint);
      fresh.look(endpoint);
      this.#rings.set(endpoint, fresh);
      return;
    }
    if (isHeld) return ring.ignore(endpoint);
    ring.look(endpoint);
    if (ring.epochMs === endpoint.ejectedUntilMs && endpoint.down === 0) return;
    // What came before an ejection was paid for, and what comes to one that is down says nothing.
    ring.epochMs = endpoint.ejectedUntilMs;
    ring.clear();
  }

  #judge(members: readonly Endpoint[]): void {
    const wanted = new Map<Endpoint, JudgedCause>();
    for (const [endpoint, cause] of this.#outliers(members))
      if (!this.#ejector.eject(endpoint, cause, members) && !this.#options.report.includes(cause))
        wanted.set(endpoint, cause);
    this.#wanted = wanted;
  }

  #outliers(members: readonly Endpoint[]): [Endpoint, JudgedCause][] {
    const { successRate, latency, volume } = this.#options;
    const judged = members.filter((endpoint) => endpoint.down === 0 && this.#rings.get(endpoint)!.volume >= volume);
    const failing = successRate === null ? [] : judged.filter((one) => this.#rings.get(one)!.successRate < successRate);
    const slow = latency === null ? [] : this.#slow(judged, latency).filter((one) => !failing.includes(one));
    return [
      ...failing.map((one): [Endpoint, JudgedCause] => [one, 'success-rate']),
      ...slow.map((one): [Endpoint, JudgedCause] => [one, 'latency']),
    ];
  }

  #slow(judged: readonly Endpoint[], factor: number): Endpoint[] {
    if (judged.length < LEAST_COMPARED) return [];
    const medians = judged.map((endpoint) => bucketQuantile(this.#rings.get(endpoint)!.latencies(), 0.5));
    // Of an even number the lower middle: half of a pool being slow must not become the measure.
    const ofPool = medians.toSorted((a, b) => a - b)[(medians.length - 1) >> 1];
    return judged.filter((_, i) => medians[i] > ofPool * factor && medians[i] - ofPool > LEAST_EXCESS_MS);
  }
}
