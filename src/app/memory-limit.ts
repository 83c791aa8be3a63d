import type { Clock } from '../base/clock.ts';

/** A worker is not restarted more often than this: a limit that is too low must not keep the process busy with restarts. */
const BETWEEN_MS = 60_000;

export interface MemoryLimitContext {
  readonly clock: Clock;
  /** Bytes of each worker, by its number; null while it cannot be restarted. */
  readonly memory: () => readonly (number | null)[];
  /** Called for one worker at a time; no other is asked for until it resolves. */
  readonly restart: (worker: number, bytes: number) => Promise<unknown>;
}

/** Has workers restarted that have grown past `runtime.memory`. On main; `look` is called about every 100 ms. */
export class MemoryLimit {
  /** Bytes; null for none. */
  limit: number | null;
  readonly #context: MemoryLimitContext;
  readonly #lastMs = new Map<number, number>();
  #isBusy = false;

  constructor(limit: number | null, context: MemoryLimitContext) {
    this.limit = limit;
    this.#context = context;
  }

  look(): void {
    const { limit } = this;
    if (limit === null || this.#isBusy) return;
    const nowMs = this.#context.clock.now();
    for (const [worker, bytes] of this.#context.memory().entries()) {
      const lastMs = this.#lastMs.get(worker) ?? Number.NEGATIVE_INFINITY;
      if (bytes === null || bytes <= limit || nowMs - lastMs < BETWEEN_MS) continue;
      this.#lastMs.set(worker, nowMs);
      this.#isBusy = true;
      void this.#context.restart(worker, bytes).finally(() => {
        this.#isBusy = false;
      });
      return;
    }
  }
}
