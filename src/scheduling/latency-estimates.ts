import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet } from '../endpoint/endpoint-set.ts';
import { isFailure, Outcome } from '../endpoint/outcome.ts';

/** What an endpoint is taken for when none of the pool has answered yet. All are level then; the number only meets the ages of waiting requests. */
const FIRST_GUESS_MS = 30;
/** A failing endpoint is taken for at least this slow. Failing fast must never look good. */
const PENALTY_MS = 5000;
/** Estimates do not fall below what clocks tell apart. */
const FLOOR_MS = 0.05;
/** An estimate younger than this part of the decay is used as it is: its decay would be below 2 %. */
const FRESH_PART = 1 / 50;
/** Part of the decay in which the estimate of an endpoint that answers faster comes down half the way, on a logarithmic scale. */
const RELIEF_PART = 1 / 20;
/** How often an estimate comes down at most: two powers for every answer cost a hundredth of a request, and a step of the relief is 500 times as long. */
const RELIEF_STEP_MS = 1;
const MEDIAN_EVERY_MS = 1000;
/** Estimates that make a median: its rank is off by some 3 % then, and it takes about 20 µs. */
const MEDIAN_SAMPLE = 255;

/** Failure points that make a penalty: three failures in a row. */
const PENALTY_POINTS = 3;
/** What a success takes off, at least: an endpoint is penalised that fails more often than one time in five. */
const SUCCESS_RELIEF = 1 / 4;
/** Weight of one answer in the pool's rate of failure. */
const FAILURE_RATE_GAIN = 1 / 128;

/**
 * How long each endpoint takes to its response head: a decayed peak in the shared pair of the Endpoint, so that workers learn from
 * each other. It jumps up at once, comes down with time and answers, and drifts to the pool's median (never to 0) while no answers come: a
 * newcomer, too, is taken for the median. One object per scheduler, used on its worker only.
 *
 * A failure never lowers an estimate, and enough of them raise it to PENALTY_MS: each is a point; each success takes off a quarter, or
 * twice the pool's odds of failing when that is more; three points are a penalty. So an endpoint is punished for failing more than the others, not for
 * failures that all share (a bad request, a broken dependency): were each failure punished, those who were lucky so far would get all the traffic.
 */
export class LatencyEstimates {
  readonly #decayMs: number;
  #members: readonly Endpoint[] = [];
  #medianMs = FIRST_GUESS_MS;
  #medianDueMs = 0;
  #failureRate = 0;
  /** Endpoints with points above 0: none in good times. */
  readonly #points = new Map<Endpoint, number>();
  /** How long endpoints were waited for in vain, all in all, since they last answered. */
  readonly #inVain = new Map<Endpoint, number>();

  constructor(decayMs: number) {
    this.#decayMs = decayMs;
  }

  get medianMs(): number {
    return this.#medianMs;
  }

  update(set: EndpointSet, nowMs: number): void {
    this.#members = set.available;
    this.#medianDueMs = 0;
    this.refresh(nowMs);
    if (this.#points.size === 0 && this.#inVain.size === 0) return;
    const all = new Set(set.all);
    for (const known of [this.#points, this.#inVain])
      for (const endpoint of known.keys()) if (!all.has(endpoint)) known.delete(endpoint);
  }

  /** Takes the median anew, at most once a second. */
  refresh(nowMs: number): void {
    if (nowMs < this.#medianDueMs) return;
    this.#medianDueMs = nowMs + MEDIAN_EVERY_MS;
    const step = Math.max(1, Math.floor(this.#members.length / MEDIAN_SAMPLE));
    const known: number[] = [];
    for (let i = 0; i < this.#members.length; i += step) {
      const latencyMs = this.#members[i].latencyMs;
      if (!Number.isNaN(latencyMs)) known.push(latencyMs);
    }
    // Of an even number the lower middle: of two endpoints the slow one is the odd one out.
    this.#medianMs = known.length === 0 ? FIRST_GUESS_MS : known.sort((a, b) => a - b)[(known.length - 1) >> 1];
  }

  /** The estimate, or the mean age of the attempts that wait for an answer when that is more. Hot path. */
  latencyMs(endpoint: Endpoint, nowMs: number): number {
    const estimate = this.#decayed(endpoint, nowMs);
    const age = endpoint.waitingAgeMs(nowMs);
    return age > estimate ? age : estimate;
  }

  /** Learns from one answer. */
  observe(endpoint: Endpoint, outcome: Outcome, latencyMs: number, nowMs: number): void {
    const observed = latencyMs > FLOOR_MS ? latencyMs : FLOOR_MS;
    const estimate = this.#decayed(endpoint, nowMs);
    if (outcome === Outcome.CLIENT_GONE) {
      const inVain = this.#waitedInVain(endpoint, observed);
      if (inVain > estimate) endpoint.setLatency(inVain, nowMs);
      return;
    }
    if (this.#inVain.size > 0) this.#inVain.delete(endpoint);
    if (isFailure(outcome)) {
      const least = this.#failed(endpoint) ? PENALTY_MS : observed;
      endpoint.setLatency(estimate > least ? estimate : least, nowMs);
    } else {
      this.#succeeded(endpoint);
      if (observed >= estimate) endpoint.setLatency(observed, nowMs);
      else if (nowMs - endpoint.latencyStampMs >= RELIEF_STEP_MS)
        endpoint.setLatency(this.#relieved(endpoint, estimate, observed, nowMs), nowMs);
    }
  }

  /**
   * Nobody waited for the answer: it would have taken longer than that, which can only raise an estimate. What was waited since the last answer is added up, or an
   * endpoint that never answers would look no slower than the moment at which its requests are hedged.
   */
  #waitedInVain(endpoint: Endpoint, ms: number): number {
    const all = Math.min(PENALTY_MS, (this.#inVain.get(endpoint) ?? 0) + ms);
    this.#inVain.set(endpoint, all);
    return all;
  }

  /** Half the way down at most, however long ago the last answer was: one fast answer is no proof. */
  #relieved(endpoint: Endpoint, estimate: number, observed: number, nowMs: number): number {
    const kept = 2 ** ((endpoint.latencyStampMs - nowMs) / (this.#decayMs * RELIEF_PART));
    return observed * (estimate / observed) ** (kept > 0.5 ? kept : 0.5);
  }

  /** The estimate as of now: what lies between it and the median decays while no answers come. */
  #decayed(endpoint: Endpoint, nowMs: number): number {
    const known = endpoint.latencyMs;
    if (Number.isNaN(known)) return this.#medianMs;
    const idleMs = nowMs - endpoint.latencyStampMs;
    if (idleMs < this.#decayMs * FRESH_PART) return known;
    return this.#medianMs + (known - this.#medianMs) * Math.exp(-idleMs / this.#decayMs);
  }

  #failed(endpoint: Endpoint): boolean {
    this.#failureRate += (1 - this.#failureRate) * FAILURE_RATE_GAIN;
    const points = Math.min(PENALTY_POINTS, (this.#points.get(endpoint) ?? 0) + 1);
    this.#points.set(endpoint, points);
    return points === PENALTY_POINTS;
  }

  #succeeded(endpoint: Endpoint): void {
    this.#failureRate -= this.#failureRate * FAILURE_RATE_GAIN;
    if (this.#points.size === 0) return;
    const points = this.#points.get(endpoint);
    if (points === undefined) return;
    const odds = this.#failureRate / (1 - this.#failureRate);
    const left = points - Math.max(SUCCESS_RELIEF, 2 * odds);
    if (left > 0) this.#points.set(endpoint, left);
    else this.#points.delete(endpoint);
  }
}
