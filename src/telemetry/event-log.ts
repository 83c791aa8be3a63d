import { channel } from 'node:diagnostics_channel';
import type { AdminState } from './live-state.ts';
import type { Logger } from './log.ts';

/** The diagnostics channel every event is published on, as a `PublishedEvent`. */
export const EVENT_CHANNEL = 'evenkeel:event';

/** Events kept for those who connect later. */
const KEPT = 1000;
/** Changes of one delta told one by one; a larger delta is told as counts, or it would push everything else out. */
const TOLD_ONE_BY_ONE = 20;

/** Something rare that an operator may want to know. Never published per request. */
export type EvenkeelEvent =
  | {
      readonly type: 'ejected';
      readonly pool: string;
      readonly endpoint: string;
      readonly cause: string;
      readonly forMs: number;
    }
  /** A cause that is only reported would have ejected it. */
  | { readonly type: 'would-eject'; readonly pool: string; readonly endpoint: string; readonly cause: string }
  /** It went down too often: it stays down for so long. */
  | { readonly type: 'flapping'; readonly pool: string; readonly endpoint: string; readonly forMs: number }
  | { readonly type: 'restored'; readonly pool: string; readonly endpoint: string }
  | { readonly type: 'unfit'; readonly pool: string; readonly endpoint: string; readonly reason: string }
  | { readonly type: 'fit'; readonly pool: string; readonly endpoint: string }
  | { readonly type: 'endpoint-added'; readonly pool: string; readonly endpoint: string }
  | { readonly type: 'endpoint-removed'; readonly pool: string; readonly endpoint: string }
  | { readonly type: 'endpoint-changed'; readonly pool: string; readonly endpoint: string }
  | {
      readonly type: 'endpoints-changed';
      readonly pool: string;
      readonly added: number;
      readonly removed: number;
      readonly changed: number;
    }
  | {
      readonly type: 'endpoint-set';
      readonly pool: string;
      readonly endpoint: string;
      readonly state: AdminState;
      readonly weight: number;
    }
  | { readonly type: 'panic-began'; readonly pool: string; readonly available: number; readonly endpoints: number }
  | { readonly type: 'panic-ended'; readonly pool: string }
  | { readonly type: 'registry-lost'; readonly registry: string; readonly error: string }
  | { readonly type: 'registry-regained'; readonly registry: string }
  | { readonly type: 'registry-held'; readonly registry: string; readonly pool: string; readonly reason: string }
  | { readonly type: 'worker-started'; readonly worker: number }
  | { readonly type: 'worker-stalled'; readonly worker: number; readonly forMs: number }
  | { readonly type: 'worker-restarted'; readonly worker: number; readonly reason: string }
  | { readonly type: 'worker-retired'; readonly worker: number }
  | { readonly type: 'worker-died'; readonly worker: number; readonly reason: string }
  | { readonly type: 'ready' }
  | { readonly type: 'draining'; readonly reason: string }
  | { readonly type: 'upgrading'; readonly pid: number }
  | { readonly type: 'upgraded'; readonly pid: number }
  | { readonly type: 'upgrade-failed'; readonly reason: string }
  | { readonly type: 'reloading' }
  | { readonly type: 'reloaded'; readonly version: string; readonly versionNumber: number }
  | { readonly type: 'reload-refused'; readonly problems: readonly string[] }
  | { readonly type: 'version-applied'; readonly number: number; readonly version: string; readonly author: string }
  | {
      readonly type: 'version-refused';
      readonly number: number;
      readonly version: string;
      readonly problems: readonly string[];
    }
  | { readonly type: 'trial-began'; readonly number: number; readonly version: string; readonly forMs: number }
  | { readonly type: 'trial-passed'; readonly number: number; readonly version: string }
  | {
      readonly type: 'version-withdrawn';
      readonly number: number;
      readonly version: string;
      readonly reason: string;
    };

/** An event with its number, counted from 1 without gaps, and its wall-clock time. */
export type PublishedEvent = EvenkeelEvent & { readonly id: number; readonly time: string };

const LEVELS: Readonly<Partial<Record<EvenkeelEvent['type'], 'debug' | 'warn' | 'error'>>> = {
  ejected: 'warn',
  'would-eject': 'warn',
  flapping: 'warn',
  unfit: 'warn',
  'endpoint-changed': 'debug',
  reloading: 'debug',
  'panic-began': 'error',
  'registry-lost': 'warn',
  'registry-held': 'warn',
  'worker-stalled': 'warn',
  'worker-died': 'error',
  'reload-refused': 'error',
  'version-refused': 'error',
  'version-withdrawn': 'error',
  'upgrade-failed': 'error',
};

export interface EventLogOptions {
  readonly log: Logger;
  /** Wall clock, ms since 1970. */
  readonly wallClock?: () => number;
}

/**
 * Where main tells what rarely happens: to the log, to listeners (counts, the API's stream), to the diagnostics channel, and to a ring of
 * the last 1 000 for those who connect later. A listener that throws breaks nobody else.
 */
export class EventLog {
  readonly #log: Logger;
  readonly #wallClock: () => number;
  readonly #channel = channel(EVENT_CHANNEL);
  readonly #listeners = new Set<(event: PublishedEvent) => void>();
  /** [id % KEPT] */
  readonly #kept: PublishedEvent[] = [];
  #lastId = 0;

  constructor(options: EventLogOptions) {
    this.#log = options.log;
    this.#wallClock = options.wallClock ?? Date.now;
  }

  /** Number of the latest event, 0 when there was none. */
  get lastId(): number {
    return this.#lastId;
  }

  publish(event: EvenkeelEvent): void {
    const published: PublishedEvent = {
      id: ++this.#lastId,
      time: new Date(this.#wallClock()).toISOString(),
      ...event,
    };
    this.#kept[published.id % KEPT] = published;
    const { type, ...fields } = event;
    this.#log[LEVELS[type] ?? 'info'](fields, type);
    for (const listener of this.#listeners) this.#tell(listener, published);
    this.#channel.publish(published);
  }

  /** What a new set of endpoints changed, as one event each or, when there are many, as one with the counts. Ids are `address:port`. */
  publishChanges(pool: string, added: readonly string[], removed: readonly string[], changed: readonly string[]): void {
    const count = added.length + removed.length + changed.length;
    if (count === 0) return;
    if (count > TOLD_ONE_BY_ONE) {
      const counts = { added: added.length, removed: removed.length, changed: changed.length };
      this.publish({ type: 'endpoints-changed', pool, ...counts });
      return;
    }
    for (const endpoint of added) this.publish({ type: 'endpoint-added', pool, endpoint });
    for (const endpoint of removed) this.publish({ type: 'endpoint-removed', pool, endpoint });
    for (const endpoint of changed) this.publish({ type: 'endpoint-changed', pool, endpoint });
  }

  /** Calls `listener` at every event from now on, until the returned function is called. */
  listen(listener: (event: PublishedEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The kept events after number `id`, oldest first. */
  since(id: number): PublishedEvent[] {
    const events: PublishedEvent[] = [];
    for (let next = Math.max(id, this.#lastId - KEPT, 0) + 1; next <= this.#lastId; next++) {
      events.push(this.#kept[next % KEPT]);
    }
    return events;
  }

  #tell(listener: (event: PublishedEvent) => void, event: PublishedEvent): void {
    try {
      listener(event);
    } catch (error) {
      this.#log.error({ err: error }, 'a listener to events failed');
    }
  }
}
