import { Ring } from '../base/ring.ts';

/** Bounds how many checks run at once, over all pools of the process: ten thousand endpoints must not open ten thousand sockets. First come, first served. */
export class ProbeGate {
  readonly #limit: number;
  readonly #waiting = new Ring<() => boolean>();
  #running = 0;

  constructor(limit = 64) {
    this.#limit = limit;
  }

  get running(): number {
    return this.#running;
  }

  /** Calls `start` now or when there is room. It returns whether it took the room: it may have become pointless meanwhile. */
  enter(start: () => boolean): void {
    this.#waiting.push(start);
    this.#admit();
  }

  /** Once for every `start` that took room. */
  leave(): void {
    this.#running--;
    this.#admit();
  }

  #admit(): void {
    while (this.#running < this.#limit) {
      const start = this.#waiting.shift();
      if (start === undefined) return;
      this.#running++;
      if (!start()) this.#running--;
    }
  }
}
