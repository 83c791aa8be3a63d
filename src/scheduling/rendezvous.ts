import { hashText, mixBits } from '../base/hash.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import type { KeyOrder } from './key-order.ts';
import type { LoadBound } from './load-bound.ts';

const TWO_TO_32 = 4294967296;

/**
 * Weighted rendezvous hashing: of u, uniform in (0, 1] and drawn from key and endpoint, the lowest −ln(u) / weight wins. The
 * share of an endpoint is exactly its weight's, and when one joins, leaves or changes weight no key moves that does not move to or from it.
 * Looks at every endpoint: some 4 ns each.
 */
export class Rendezvous implements KeyOrder {
  #members: readonly Endpoint[] = [];
  /** [member] hash of its ID, and its effective weight. */
  #seeds: Int32Array = new Int32Array(0);
  #weights: Float64Array = new Float64Array(0);
  #even = true;

  update(set: EndpointSet): void {
    const members = set.available.filter((endpoint) => endpoint.effectiveWeight > 0);
    this.#members = members;
    this.#seeds = new Int32Array(members.length);
    this.#weights = new Float64Array(members.length);
    for (let i = 0; i < members.length; i++) {
      this.#seeds[i] = hashText(members[i].id);
      this.#weights[i] = members[i].effectiveWeight;
    }
    this.#even = this.#weights.every((weight) => weight === this.#weights[0]);
  }

  first(hash: number, tried: Tried, bound: LoadBound | null): Endpoint | null {
    const index = this.#even ? this.#lowestHash(hash, tried, bound) : this.#leastDistance(hash, tried, bound);
    return index < 0 ? null : this.#members[index];
  }

  /** Among equals the lowest hash wins: whole numbers, no logarithm. */
  #lowestHash(hash: number, tried: Tried, bound: LoadBound | null): number {
    const seeds = this.#seeds;
    let best = -1;
    let least = TWO_TO_32;
    for (let i = 0; i < seeds.length; i++) {
      const own = mixBits(hash ^ seeds[i]);
      if (own >= least || !this.#isFit(i, tried, bound)) continue;
      best = i;
      least = own;
    }
    return best;
  }

  #leastDistance(hash: number, tried: Tried, bound: LoadBound | null): number {
    const seeds = this.#seeds;
    const weights = this.#weights;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < seeds.length; i++) {
      // x = 1 − u. As −ln(1 − x) ≥ x, who loses by x alone loses: of 20 endpoints the logarithm is taken for four.
      const x = mixBits(hash ^ seeds[i]) / TWO_TO_32;
      if (x >= least * weights[i]) continue;
      const distance = -Math.log(1 - x) / weights[i];
      if (distance >= least || !this.#isFit(i, tried, bound)) continue;
      best = i;
      least = distance;
    }
    return best;
  }

  #isFit(index: number, tried: Tried, bound: LoadBound | null): boolean {
    if (tried.size > 0 && tried.has(this.#members[index])) return false;
    return bound === null || bound.hasRoom(this.#members[index]);
  }
}
