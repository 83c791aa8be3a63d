import type { Random } from './random.ts';

/**
 * Waiting times between attempts: exponential with full jitter (each is drawn from 0 to the ceiling), so that many clients that lost the same
 * server at the same moment do not come back at the same moment.
 */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #random: Random;
  #ceilingMs: number;

  constructor(firstMs: number, maxMs: number, random: Random) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#random = random;
    this.#ceilingMs = firstMs;
  }

  /** How long to wait before the next attempt, in ms. */
  next(): number {
    const ms = this.#random() * this.#ceilingMs;
    this.#ceilingMs = Math.min(this.#maxMs, this.#ceilingMs * 2);
    return ms;
  }

  /** An attempt succeeded. */
  reset(): void {
    this.#ceilingMs = this.#firstMs;
  }
}
