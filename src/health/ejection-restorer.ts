import type { Clock } from '../base/clock.ts';
import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import type { EjectionOptions } from './ejection.ts';

export interface EjectionRestorerContext {
  readonly clock: Clock;
  readonly words: PoolWords;
  /** Called when an ejection ended because its time was over. */
  readonly onRestored: (endpoint: Endpoint) => void;
}

/**
 * Ends ejections. One per pool, on main, the only thread that does (so that it happens although a worker stalls or dies). Main calls `sweep` about
 * every 100 ms, `remove` for every endpoint that leaves, and `release` when ejection is switched off or an operator asks.
 */
export class EjectionRestorer {
  #options: EjectionOptions;
  readonly #context: EjectionRestorerContext;
  /** Endpoints that were ejected lately: since when they are clean, or until when the present ejection lasts. */
  readonly #cleanSinceMs = new Map<Endpoint, number>();

  constructor(options: EjectionOptions, context: EjectionRestorerContext) {
    this.#options = options;
    this.#context = context;
  }

  /** Takes new options; running ejections keep their length. */
  configure(options: EjectionOptions): void {
    this.#options = options;
  }

  /** Ends what is over. For every `base` without a further ejection the next one is shorter by one `base`. Plain reads unless something is due. */
  sweep(members: Iterable<Endpoint>): void {
    const now = this.#context.clock.now();
    if (this.#context.words.ejected > 0)
      for (const endpoint of members) if ((endpoint.down & Down.EJECTED) !== 0) this.#sweepEjected(endpoint, now);
    for (const [endpoint, sinceMs] of this.#cleanSinceMs) {
      if (now - sinceMs < this.#options.base) continue;
      if (endpoint.ejections > 0) endpoint.ejections--;
      if (endpoint.ejections > 0) this.#cleanSinceMs.set(endpoint, sinceMs + this.#options.base);
      else this.#cleanSinceMs.delete(endpoint);
    }
  }

  /** Ends an ejection at once; false when there was none. */
  release(endpoint: Endpoint): boolean {
    if ((endpoint.down & Down.EJECTED) === 0) return false;
    // One failure more ejects again; set first, for workers use the endpoint as soon as the bit is gone.
    endpoint.failuresInRow = this.#options.consecutiveFailures === null ? 0 : this.#options.consecutiveFailures - 1;
    if (!this.#clear(endpoint)) return false;
    this.#cleanSinceMs.set(endpoint, this.#context.clock.now());
    // What it did before it was ejected is no longer true of it: it is taken for the pool's median, like a newcomer.
    endpoint.setLatency(Number.NaN, 0);
    endpoint.readySinceMs = this.#context.clock.now();
    this.#context.words.bumpGeneration();
    return true;
  }

  /**
   * The endpoint leaves the pool: its place is given back. It is marked as draining before, so that a worker that does not know yet and
   * ejects it at this moment sees that in the bits before its own and takes its place back itself.
   */
  remove(endpoint: Endpoint): void {
    endpoint.setDown(Down.DRAINING);
    this.#clear(endpoint);
    this.#cleanSinceMs.delete(endpoint);
  }

  #sweepEjected(endpoint: Endpoint, now: number): void {
    this.#cleanSinceMs.delete(endpoint);
    if (endpoint.ejectedUntilMs <= now && this.release(endpoint)) this.#context.onRestored(endpoint);
  }

  #clear(endpoint: Endpoint): boolean {
    const cleared = (endpoint.setDown(0, Down.EJECTED) & Down.EJECTED) !== 0;
    if (cleared) this.#context.words.returnEjection();
    return cleared;
  }
}
