import { Ring } from '../base/ring.ts';

/**
 * Bounds how many checks run at once, over all pools of the process: ten thousand endpoints must not open ten thousand sockets. The pools that wait take turns,
 * and in each it is first come, first served: one whose endpoints do not answer holds up nobody else's.
 */
export class ProbeGate {
  readonly #limit: number;
  /** By pool, in the order of their turns; only those where somebody waits. */
  readonly #waiting = new Map<object, Ring<() => boolean>>();
  #running = 0;

  constructor(limit = 64) {
    this.#limit = limit;
  }

  get running(): number {
    return this.#running;
  }

  /** Calls `start` now or when there is room. It returns whether it took the room: it may have become pointless meanwhile. `pool` is anything of the pool's own. */
  enter(pool: object, start: () => boolean): void {
    const waiting = this.#waiting.get(pool) ?? new Ring<() => boolean>();
    this.#waiting.set(pool, waiting);
    waiting.push(start);
    this.#admit();
  }

  /** Once for every `start` that took room. */
  leave(): void {
    this.#running--;
    this.#admit();
  }

  #admit(): void {
    while (this.#running < this.#limit) {
      const start = this.#next();
      if (start === undefined) return;
      this.#running++;
      if (!start()) this.#running--;
    }
  }

  #next(): (() => boolean) | undefined {
    for (const [pool, waiting] of this.#waiting) {
      this.#waiting.delete(pool);
      const start = waiting.shift();
      if (waiting.length > 0) this.#waiting.set(pool, waiting);
      return start;
    }
    return undefined;
  }
}
