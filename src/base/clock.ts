/**
 * Monotonic milliseconds, with fractions. The origin is the machine's, so values of different threads of one process compare:
 * a worker may write a deadline into shared memory that main reads. Never the wall clock.
 */
export interface Clock {
  now(): number;
}

// performance.now() counts from the start of its own thread; hrtime counts from boot in every thread.
const threadStart = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** The process's monotonic clock. Called on the hot path: about 30 ns. */
export const systemClock: Clock = {
  now: () => performance.now() + threadStart,
};

/** A clock for tests and simulations that moves only when told. */
export class ManualClock implements Clock {
  #now: number;

  constructor(startMs = 1_000_000) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}
