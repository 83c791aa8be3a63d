import type { EvenkeelEvent } from './event-log.ts';

/** Label of everything that has no series of its own. */
export const OTHER = 'other';

/** One sample of `evenkeel_ejections_total`. */
export interface EjectionCount {
  readonly pool: string;
  readonly endpoint: string;
  readonly cause: string;
  count: number;
}

/**
 * Counts that main takes from events, because no worker owns them. `app` feeds it with the event log: `events.listen(counts.take)`.
 * Series never go back; at most `endpointSeries` endpoints have their own, first come first served, and share `other` beyond.
 */
export class EventCounts {
  readonly #limit: number;
  readonly #endpoints = new Set<string>();
  readonly #ejections = new Map<string, EjectionCount>();

  constructor(endpointSeries: number) {
    this.#limit = endpointSeries;
  }

  /** Counts an event, if it is one that is counted. Bound: may be handed on as it is. */
  readonly take = (event: EvenkeelEvent): void => {
    if (event.type !== 'ejected') return;
    const endpoint = this.#isOwn(event.pool, event.endpoint) ? event.endpoint : OTHER;
    const key = `${event.pool}\0${endpoint}\0${event.cause}`;
    const found = this.#ejections.get(key);
    if (found !== undefined) found.count++;
    else this.#ejections.set(key, { pool: event.pool, endpoint, cause: event.cause, count: 1 });
  };

  get ejections(): Iterable<Readonly<EjectionCount>> {
    return this.#ejections.values();
  }

  /** Whether no further endpoint would get a series of its own. */
  get isFull(): boolean {
    return this.#endpoints.size >= this.#limit;
  }

  /** Gives back the series of endpoints that have left. Called when full: a series that is gone costs a graph its past. */
  forgetGone(isThere: (pool: string, endpoint: string) => boolean): void {
    for (const [key, { pool, endpoint }] of this.#ejections) {
      if (endpoint === OTHER || isThere(pool, endpoint)) continue;
      this.#ejections.delete(key);
      this.#endpoints.delete(`${pool}\0${endpoint}`);
    }
  }

  #isOwn(pool: string, endpoint: string): boolean {
    const key = `${pool}\0${endpoint}`;
    if (this.#endpoints.has(key)) return true;
    if (this.isFull) return false;
    this.#endpoints.add(key);
    return true;
  }
}
