import { type Random, randomIndex } from '../base/random.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { Tried } from '../endpoint/endpoint-set.ts';

/** Draws before a scan. With half of the members tried, four draws miss once in 16 picks. */
const DRAWS = 4;

/**
 * Draws members at random in proportion to their effective weight, in constant time (Vose's alias method). Schedulers that choose
 * between few candidates draw them here: were candidates drawn evenly, a weight above twice the mean could never have its share.
 * Weights are those of the last `update`. Members of weight 0 are never drawn.
 */
export class WeightedDraw {
  readonly #random: Random;
  /** Those that can be drawn, in the order they came. */
  members: readonly Endpoint[] = [];
  /** Mean effective weight of the members; 1 when there are none. */
  meanWeight = 1;
  /** Whether all members have the same effective weight. */
  even = true;
  /** Column i belongs to member i up to this height, above it to #alias[i]. */
  #height: Float64Array = new Float64Array(0);
  #alias: Int32Array = new Int32Array(0);

  constructor(random: Random) {
    this.#random = random;
  }

  /** Off the request path: O(n). */
  update(available: readonly Endpoint[]): void {
    const members = available.filter((endpoint) => endpoint.effectiveWeight > 0);
    const total = members.reduce((sum, endpoint) => sum + endpoint.effectiveWeight, 0);
    this.members = members;
    this.meanWeight = members.length === 0 ? 1 : total / members.length;
    this.even = members.every((endpoint) => endpoint.effectiveWeight === members[0].effectiveWeight);
    if (!this.even) this.#fillColumns(members);
  }

  #fillColumns(members: readonly Endpoint[]): void {
    this.#height = Float64Array.from(members, (endpoint) => endpoint.effectiveWeight / this.meanWeight);
    this.#alias = Int32Array.from(members.keys());
    const low: number[] = [];
    const high: number[] = [];
    for (let i = 0; i < members.length; i++) (this.#height[i] < 1 ? low : high).push(i);
    while (low.length > 0 && high.length > 0) {
      const poor = low.pop() as number;
      const rich = high[high.length - 1];
      this.#alias[poor] = rich;
      this.#height[rich] -= 1 - this.#height[poor];
      if (this.#height[rich] < 1) low.push(high.pop() as number);
    }
    // What is left over is 1 but for rounding.
    for (const i of low) this.#height[i] = 1;
  }

  /** Index of a member. There must be one. */
  draw(): number {
    const point = this.#random() * this.members.length;
    const column = Math.floor(point);
    if (this.even) return column;
    return point - column < this.#height[column] ? column : this.#alias[column];
  }

  /** Index of a member that was not tried; of any when all were. There must be one. */
  drawUntried(tried: Tried): number {
    const first = this.draw();
    if (tried.size === 0 || !tried.has(this.members[first])) return first;
    for (let i = 1; i < DRAWS; i++) {
      const again = this.draw();
      if (!tried.has(this.members[again])) return again;
    }
    const scanned = this.#scan(tried);
    return scanned < 0 ? first : scanned;
  }

  /** Index of an untried member other than `first`; -1 when there is none. */
  drawOther(first: number, tried: Tried): number {
    for (let i = 0; i < DRAWS; i++) {
      const other = this.draw();
      if (other !== first && (tried.size === 0 || !tried.has(this.members[other]))) return other;
    }
    const start = randomIndex(this.#random, this.members.length);
    for (let i = 0; i < this.members.length; i++) {
      const other = (start + i) % this.members.length;
      if (other !== first && !tried.has(this.members[other])) return other;
    }
    return -1;
  }

  /** Draws by weight among the untried in one pass: each replaces the one held so far with its share of the weight seen. */
  #scan(tried: Tried): number {
    let held = -1;
    let seen = 0;
    for (let i = 0; i < this.members.length; i++) {
      const endpoint = this.members[i];
      if (tried.has(endpoint)) continue;
      seen += endpoint.effectiveWeight;
      if (this.#random() * seen < endpoint.effectiveWeight) held = i;
    }
    return held;
  }
}
