import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import { Rotation } from './rotation.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';
import { SlotIndex } from './slot-index.ts';

/** Weights have two decimals: counted in hundredths the rotation is exact. */
const HUNDREDTHS = 100;
/** A worker starts at most so many picks in (about 1 ms): the period of odd weights can be hundreds of millions of picks long. */
const MAX_HEAD_START = 8192;

/**
 * Takes turns in proportion to the weights, each endpoint's turns spread as evenly as possible: nginx's smooth weighted round robin, pick for
 * pick (weights 5, 1, 1 give a a b a c a a). Each worker starts elsewhere in the rotation. Everybody keeps their place when others
 * join, leave or change weight; who was down comes back to the place it had.
 */
class WeightedRoundRobin implements Scheduler {
  readonly #worker: number;
  readonly #workers: number;
  #members: readonly Endpoint[] = [];
  #index = new SlotIndex([]);
  #rotation = new Rotation(new Float64Array(0), new Float64Array(0));
  /** Where members of the pool that are not in the rotation now stood when they left it. */
  #places = new Map<Endpoint, number>();
  readonly #skipped: number[] = [];
  #started = false;

  constructor(context: SchedulerContext) {
    this.#worker = context.worker;
    this.#workers = context.workers;
  }

  update(set: EndpointSet): void {
    const members = set.available.filter((endpoint) => endpoint.effectiveWeight > 0);
    const weights = new Float64Array(members.length);
    const places = new Float64Array(members.length);
    for (let i = 0; i < members.length; i++) {
      weights[i] = Math.max(1, Math.round(members[i].effectiveWeight * HUNDREDTHS));
      places[i] = this.#placeOf(members[i]) ?? 0;
    }
    const index = new SlotIndex(members);
    this.#places = this.#placesOutside(set, index);
    settle(places, weights, this.#rotation.total);
    this.#members = members;
    this.#index = index;
    this.#rotation = new Rotation(weights, places);
    if (!this.#started && members.length > 0) this.#headStart(weights);
  }

  pick(_hash: number, tried: Tried): Endpoint | null {
    if (this.#members.length === 0) return null;
    if (tried.size === 0) return this.#members[this.#rotation.next()];
    this.#skipped.length = 0;
    for (let i = 0; i < tried.size; i++) {
      const index = this.#index.of(tried.at(i));
      if (index >= 0 && !this.#skipped.includes(index)) this.#skipped.push(index);
    }
    const index = this.#rotation.nextWithout(this.#skipped);
    return this.#members[index < 0 ? this.#rotation.next() : index];
  }

  /** The current weight, negated: the lowest is next. The sum over the rotation is 0. */
  score(endpoint: Endpoint): number {
    const index = this.#index.of(endpoint);
    return index < 0 ? Number.POSITIVE_INFINITY : -this.#rotation.current(index) / HUNDREDTHS;
  }

  /** Where it stands or stood; undefined for a newcomer. */
  #placeOf(endpoint: Endpoint): number | undefined {
    const index = this.#index.of(endpoint);
    return index < 0 ? this.#places.get(endpoint) : this.#rotation.current(index);
  }

  /** Of the pool's members that are not in the rotation that begins. */
  #placesOutside({ all }: EndpointSet, next: SlotIndex): Map<Endpoint, number> {
    const outside = new Map<Endpoint, number>();
    for (const endpoint of all) {
      const place = next.of(endpoint) < 0 ? this.#placeOf(endpoint) : undefined;
      if (place !== undefined) outside.set(endpoint, place);
    }
    return outside;
  }

  #headStart(weights: Float64Array): void {
    this.#started = true;
    const period = Math.min(MAX_HEAD_START, this.#rotation.total / weights.reduce(greatestCommonDivisor));
    const picks = Math.floor((this.#worker * period) / this.#workers);
    for (let i = 0; i < picks; i++) this.#rotation.next();
  }
}

/**
 * Brings places to where they may be in a rotation of these weights. They are within ± the total; where the total shrinks they shrink with it, or who just had its
 * turn would wait for several rounds. All are shifted alike until their sum is 0: that keeps the order, and a newcomer at 0 is average.
 */
function settle(places: Float64Array, weights: Float64Array, totalBefore: number): void {
  let total = 0;
  for (const weight of weights) total += weight;
  const scale = totalBefore > total ? total / totalBefore : 1;
  let sum = 0;
  for (let i = 0; i < places.length; i++) {
    places[i] = Math.max(-total, Math.min(total, Math.round(places[i] * scale)));
    sum += places[i];
  }
  const shift = Math.floor(sum / places.length);
  const rest = sum - shift * places.length;
  for (let i = 0; i < places.length; i++) places[i] -= i < rest ? shift + 1 : shift;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

export const weightedRoundRobin: Kind<Scheduler, SchedulerContext> = {
  kind: 'weighted-round-robin',
  summary: 'takes turns by weight, evenly spread; exactly the sequence of nginx',
  options: z.object({}),
  create: (_options, context) => new WeightedRoundRobin(context),
};
