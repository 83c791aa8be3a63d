import type { RegistrySink, ServiceRef, Subscription } from './registry.ts';

/** What a registry keeps for one service, shared by all its sinks. */
export interface ServiceWatch {
  /** Begins, `delayMs` from now. Called once, before the first `add`. */
  start(delayMs: number): void;
  add(sink: RegistrySink): void;
  /** Whether nobody is left; then `close` follows. */
  remove(sink: RegistrySink): boolean;
  /** Asks anew now. */
  refresh(): void;
  close(): void;
}

/** First requests are spread over this time at most. */
const MAX_SPREAD_MS = 2000;

/**
 * The subscriptions of one registry: one watch for each service, made when the first sink comes and closed when the last one leaves. Subscriptions from before
 * `open` wait for it.
 */
export class ServiceWatches<Watch extends ServiceWatch> {
  readonly #make: (service: ServiceRef) => Watch;
  readonly #random: () => number;
  readonly #byKey = new Map<string, Watch>();
  readonly #bySink = new Map<RegistrySink, { readonly key: string; readonly watch: Watch }>();
  readonly #waiting = new Map<RegistrySink, ServiceRef>();
  #state: 'new' | 'open' | 'closed' = 'new';

  constructor(make: (service: ServiceRef) => Watch, random: () => number) {
    this.#make = make;
    this.#random = random;
  }

  [Symbol.iterator](): Iterator<Watch> {
    return this.#byKey.values();
  }

  /** Called by the registry's `start`. */
  open(): void {
    if (this.#state === 'closed') return;
    this.#state = 'open';
    const crowd = this.#waiting.size;
    for (const [sink, service] of this.#waiting) this.#attach(service, sink, crowd);
    this.#waiting.clear();
  }

  /** `sink` is one subscription's own: the same object cannot be subscribed twice. */
  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    if (this.#state === 'new') this.#waiting.set(sink, service);
    else this.#attach(service, sink, this.#byKey.size);
    return {
      close: () => this.#detach(sink),
      refresh: () => this.#bySink.get(sink)?.watch.refresh(),
    };
  }

  close(): void {
    this.#state = 'closed';
    for (const watch of this.#byKey.values()) watch.close();
    this.#byKey.clear();
    this.#bySink.clear();
    this.#waiting.clear();
  }

  /** A share of the time over which as many requests as there are services are spread: what all ask together is not asked at once. */
  spread(crowd: number = this.#byKey.size): number {
    return this.#random() * Math.min(MAX_SPREAD_MS, crowd * 4);
  }

  #attach(service: ServiceRef, sink: RegistrySink, crowd: number): void {
    if (this.#state !== 'open') return;
    const key = JSON.stringify([service.name, service.tags, service.datacenter ?? '']);
    let watch = this.#byKey.get(key);
    if (watch === undefined) {
      watch = this.#make(service);
      this.#byKey.set(key, watch);
      watch.start(this.spread(crowd));
    }
    this.#bySink.set(sink, { key, watch });
    watch.add(sink);
  }

  #detach(sink: RegistrySink): void {
    this.#waiting.delete(sink);
    const entry = this.#bySink.get(sink);
    if (entry === undefined) return;
    this.#bySink.delete(sink);
    if (!entry.watch.remove(sink)) return;
    entry.watch.close();
    this.#byKey.delete(entry.key);
  }
}
