import type { EvenkeelEvent } from './event-log.ts';

/** Label of everything that has no series of its own. */
export const OTHER = 'other';

/** What is counted, each a family: ejections, ejections only reported, holds for flapping. */
export type CountedEvent = 'ejected' | 'would-eject' | 'flapping';

/** One sample of such a family. `cause` is '' for flapping. */
export interface EjectionCount {
  readonly type: CountedEvent;
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
  /** Documents that could not be put in force. */
  refusedDocuments = 0;
  readonly #limit: number;
  readonly #endpoints = new Set<string>();
  readonly #ejections = new Map<string, EjectionCount>();

  constructor(endpointSeries: number) {
    this.#limit = endpointSeries;
  }

  /** Counts an event, if it is one that is counted. Bound: may be handed on as it is. */
  readonly take = (event: EvenkeelEvent): void => {
    if (event.type === 'reload-refused') this.refusedDocuments++;
    if (event.type !== 'ejected' && event.type !== 'would-eject' && event.type !== 'flapping') return;
    const { type, pool } = event;
    const endpoint = this.#isOwn(pool, event.endpoint) ? event.endpoint : OTHER;
    const cause = type === 'flapping' ? '' : event.cause;
    const key = `${type}\0${pool}\0${endpoint}\0${cause}`;
    const found = this.#ejections.get(key);
    if (found !== undefined) found.count++;
    else this.#ejections.set(key, { type, pool, endpoint, cause, count: 1 });
  };

  /** The samples of one family. */
  *of(type: CountedEvent): Generator<Readonly<EjectionCount>> {
    for (const one of this.#ejections.values()) if (one.type === type) yield one;
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
