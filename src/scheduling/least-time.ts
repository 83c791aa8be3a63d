import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Clock } from '../base/clock.ts';
import { duration } from '../base/literals.ts';
import { type Random, randomIndex } from '../base/random.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import { Outcome } from '../endpoint/outcome.ts';
import { Rotation } from './rotation.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';
import { SlotIndex } from './slot-index.ts';

/** Up to this many endpoints all are looked at, as nginx does; above, some neighbours: nginx's scan of 5 000 takes longer than the request. */
const LOOK_AT_ALL = 32;
const LOOKS = 4;
/** What one sample counts in an average; per sample, not per time. */
const GAIN = 0.05;
/** Times within one step are the same: noise of a millisecond must not decide. */
const STEP_MS = 20;
/** Longer is all equally bad. */
const WORST_MS = 5000;
/** Times are looked at anew once a millisecond, which is the resolution of nginx's clock. */
const REFRESH_MS = 1;
const HUNDREDTHS = 100;

/**
 * nginx's `least_time header` (1.31): the lowest product of average time to the response head, in steps of 20 ms, and requests in flight plus
 * one. An attempt that waits for its head counts with its age once that is more; the time of an endpoint without answers is halved every `halve`. Failures
 * are not averaged: taking out who fails is ejection's work. The turn is the smooth rotation's: whose turn it is keeps the request unless another is better.
 *
 * Other than nginx, a newcomer begins at the mean of the others, not at its first answer; and weights divide an idle pool: among endpoints in the same step another takes over only where it would be no worse off even after
 * taking it. nginx compares time × (active + 1) / weight, which gives an idle pool wholly to the heaviest endpoint.
 */
class LeastTime implements Scheduler {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #halveMs: number;
  #members: readonly Endpoint[] = [];
  #index = new SlotIndex([]);
  #rotation = new Rotation(new Float64Array(0), new Float64Array(0));
  readonly #skipped: number[] = [];
  #meanWeight = 1;
  /** [member] time in steps, as of the last refresh. */
  #stepMs: Float64Array = new Float64Array(0);
  /** [member] average age of what waited when it was looked at. */
  #waitedMs: Float64Array = new Float64Array(0);
  #refreshedMs = Number.NEGATIVE_INFINITY;

  constructor(options: { readonly halve: number }, { clock, random }: SchedulerContext) {
    this.#clock = clock;
    this.#random = random;
    this.#halveMs = options.halve;
  }

  update(set: EndpointSet): void {
    const members = set.available.filter((endpoint) => endpoint.effectiveWeight > 0);
    const { length } = members;
    const weights = new Float64Array(length);
    const places = new Float64Array(length);
    const waited = new Float64Array(length);
    let sum = 0;
    for (let i = 0; i < length; i++) {
      const { effectiveWeight } = members[i];
      const before = this.#index.of(members[i]);
      sum += effectiveWeight;
      weights[i] = Math.max(1, Math.round(effectiveWeight * HUNDREDTHS));
      if (before < 0) continue;
      places[i] = Math.max(-weights[i], Math.min(weights[i], this.#rotation.current(before)));
      waited[i] = this.#waitedMs[before];
    }
    this.#meanWeight = sum / (length || 1);
    this.#members = members;
    this.#index = new SlotIndex(members);
    // Where they stood, within the rotation's bounds: who was there keeps the turn through joins and leaves.
    this.#rotation = new Rotation(weights, places);
    this.#waitedMs = waited;
    this.#stepMs = new Float64Array(length);
    this.#refreshedMs = Number.NEGATIVE_INFINITY;
  }

  pick(_hash: number, tried: Tried, nowMs?: number): Endpoint | null {
    const members = this.#members;
    if (members.length < 2) return members.length === 0 ? null : members[0];
    const now = nowMs ?? this.#clock.now();
    const first = this.#turn(tried);
    return members.length <= LOOK_AT_ALL ? this.#bestOfAll(first, tried, now) : this.#bestOfSome(first, tried, now);
  }

  onAnswer(endpoint: Endpoint, outcome: Outcome, latencyMs: number, nowMs?: number): void {
    if (outcome !== Outcome.OK) return;
    const known = Number.isNaN(endpoint.latencyMs) ? this.#meanMs(latencyMs) : endpoint.latencyMs;
    endpoint.setLatency(known + GAIN * (latencyMs - known), nowMs ?? this.#clock.now());
  }

  /** Mean of those that are known; `without` when none is. Once per newcomer: were its first answer taken for its average, a slow one would keep it out for long. */
  #meanMs(without: number): number {
    const known = this.#members.map(({ latencyMs }) => latencyMs).filter((ms) => !Number.isNaN(ms));
    return known.length === 0 ? without : known.reduce((sum, ms) => sum + ms, 0) / known.length;
  }

  /** Milliseconds in steps, times the requests in flight and one more by weight. */
  score(endpoint: Endpoint): number {
    const index = this.#index.of(endpoint);
    if (index < 0) return Number.POSITIVE_INFINITY;
    const waited = Math.max(this.#waitedMs[index], endpoint.waitingAgeMs(this.#clock.now()));
    return this.#stepOf(endpoint, waited, this.#clock.now()) * this.#load(endpoint);
  }

  /** Index of the member whose turn it is; of an untried one while there is one. */
  #turn(tried: Tried): number {
    if (tried.size === 0) return this.#rotation.next();
    this.#skipped.length = 0;
    for (let i = 0; i < tried.size; i++) {
      const index = this.#index.of(tried.at(i));
      if (index >= 0 && !this.#skipped.includes(index)) this.#skipped.push(index);
    }
    const index = this.#rotation.nextWithout(this.#skipped);
    return index < 0 ? this.#rotation.next() : index;
  }

  #bestOfAll(first: number, tried: Tried, now: number): Endpoint {
    if (now - this.#refreshedMs >= REFRESH_MS) {
      this.#refreshedMs = now;
      for (let i = 0; i < this.#members.length; i++) this.#refresh(i, now);
    }
    const { length } = this.#members;
    let best = first;
    // From anywhere: of equals that are better than the holder none may be favoured.
    let index = randomIndex(this.#random, length);
    for (let looked = 0; looked < length; looked++, index++) {
      if (index === length) index = 0;
      if (index === first || (tried.size > 0 && tried.has(this.#members[index]))) continue;
      if (this.#isBetter(index, best)) best = index;
    }
    return this.#members[best];
  }

  #bestOfSome(first: number, tried: Tried, now: number): Endpoint {
    const { length } = this.#members;
    this.#refresh(first, now);
    let best = first;
    let index = randomIndex(this.#random, length);
    for (let looked = 0; looked < LOOKS; looked++, index++) {
      if (index === length) index = 0;
      if (index === first || (tried.size > 0 && tried.has(this.#members[index]))) continue;
      this.#refresh(index, now);
      if (this.#isBetter(index, best)) best = index;
    }
    return this.#members[best];
  }

  #isBetter(index: number, than: number): boolean {
    const endpoint = this.#members[index];
    const other = this.#members[than];
    if (this.#stepMs[index] === this.#stepMs[than])
      return (endpoint.active + 1) / endpoint.effectiveWeight <= other.active / other.effectiveWeight;
    return this.#stepMs[index] * this.#load(endpoint) < this.#stepMs[than] * this.#load(other);
  }

  /** nginx's 1 + active for endpoints of equal weight. */
  #load(endpoint: Endpoint): number {
    return 1 + (endpoint.active * this.#meanWeight) / endpoint.effectiveWeight;
  }

  #refresh(index: number, now: number): void {
    const endpoint = this.#members[index];
    const age = endpoint.waitingAgeMs(now);
    const waited = this.#waitedMs[index];
    if (age > 0) this.#waitedMs[index] = waited === 0 ? age : waited + GAIN * (age - waited);
    this.#stepMs[index] = this.#stepOf(endpoint, age > 0 ? this.#waitedMs[index] : 0, now);
  }

  #stepOf(endpoint: Endpoint, waitedMs: number, now: number): number {
    let ms = Number.isNaN(endpoint.latencyMs) ? 0 : endpoint.latencyMs;
    const idleMs = now - endpoint.latencyStampMs;
    if (idleMs > this.#halveMs) ms /= 2 ** Math.floor(idleMs / this.#halveMs);
    if (waitedMs > ms) ms = waitedMs;
    return ms > WORST_MS ? WORST_MS : ms + STEP_MS - (ms % STEP_MS);
  }
}

const options = z.object({
  halve: duration()
    .refine((ms) => ms > 0, { error: 'must be longer than 0' })
    .prefault('10s')
    .describe('the time of an endpoint that gave no answer is halved every so long, so that a slow one is tried again'),
});

export const leastTime: Kind<Scheduler, SchedulerContext> = {
  kind: 'least-time',
  summary: "the lowest average time to the response head × requests in flight, as nginx's least_time",
  options,
  create: (settings: z.output<typeof options>, context) => new LeastTime(settings, context),
};
