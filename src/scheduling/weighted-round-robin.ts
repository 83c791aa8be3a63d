import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import { Rotation } from './rotation.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';

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
  #rotation = new Rotation(new Float64Array(0), new Float64Array(0));
  readonly #indices = new Map<Endpoint, number>();
  /** Where members of the pool that are not in the rotation now stood when they left it. */
  readonly #places = new Map<Endpoint, number>();
  readonly #skipped: number[] = [];
  #started = false;

  constructor(context: SchedulerContext) {
    this.#worker = context.worker;
    this.#workers = context.workers;
  }

  update(set: EndpointSet): void {
    this.#rememberPlaces(set);
    const total = this.#rotation.total;
    const members = set.available.filter((endpoint) => endpoint.effectiveWeight > 0);
    const weights = Float64Array.from(members, (endpoint) =>
      Math.max(1, Math.round(endpoint.effectiveWeight * HUNDREDTHS)),
    );
    this.#members = members;
    this.#rotation = new Rotation(weights, this.#placesOf(members, weights, total));
    this.#indices.clear();
    for (let i = 0; i < members.length; i++) this.#indices.set(members[i], i);
    if (!this.#started && members.length > 0) this.#headStart(weights);
  }

  pick(_hash: number, tried: Tried): Endpoint | null {
    if (this.#members.length === 0) return null;
    if (tried.size === 0) return this.#members[this.#rotation.next()];
    this.#skipped.length = 0;
    for (let i = 0; i < tried.size; i++) {
      const index = this.#indices.get(tried.at(i));
      if (index !== undefined && !this.#skipped.includes(index)) this.#skipped.push(index);
    }
    const index = this.#rotation.nextWithout(this.#skipped);
    return this.#members[index < 0 ? this.#rotation.next() : index];
  }

  /** The current weight, negated: the lowest is next. The sum over the rotation is 0. */
  score(endpoint: Endpoint): number {
    const index = this.#indices.get(endpoint);
    return index === undefined ? Number.POSITIVE_INFINITY : -this.#rotation.current(index) / HUNDREDTHS;
  }

  #rememberPlaces(set: EndpointSet): void {
    for (let i = 0; i < this.#members.length; i++) this.#places.set(this.#members[i], this.#rotation.current(i));
    const all = new Set(set.all);
    for (const endpoint of this.#places.keys()) if (!all.has(endpoint)) this.#places.delete(endpoint);
  }

  /**
   * Where the members of a new rotation stand. Places are within ± the total; where the total shrinks they shrink with it, or who just had its turn
   * would wait for several rounds. All are shifted alike until their sum is 0: that keeps the order, and a newcomer at 0 is average.
   */
  #placesOf(members: readonly Endpoint[], weights: Float64Array, totalBefore: number): Float64Array {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const scale = totalBefore > total ? total / totalBefore : 1;
    const places = Float64Array.from(members, (endpoint) => {
      const place = Math.round((this.#places.get(endpoint) ?? 0) * scale);
      return Math.max(-total, Math.min(total, place));
    });
    const sum = places.reduce((so, place) => so + place, 0);
    const shift = Math.floor(sum / members.length);
    const rest = sum - shift * members.length;
    for (let i = 0; i < members.length; i++) places[i] -= i < rest ? shift + 1 : shift;
    return places;
  }

  #headStart(weights: Float64Array): void {
    this.#started = true;
    const period = Math.min(MAX_HEAD_START, this.#rotation.total / weights.reduce(greatestCommonDivisor));
    const picks = Math.floor((this.#worker * period) / this.#workers);
    for (let i = 0; i < picks; i++) this.#rotation.next();
  }
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
