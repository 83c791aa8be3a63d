import type { Clock } from '../base/clock.ts';
import type { OperationError } from '../base/errors.ts';
import { fingerprint } from './clean-set.ts';
import { GUARD_DEFAULTS, type GuardOptions, type GuardVerdict, SetGuard } from './guard.ts';
import type { LastGoodStore } from './last-good.ts';
import type { Registry, RegistryContext, RegistryEndpoint, RegistrySet, ServiceRef, Subscription } from './registry.ts';

/** While a doubtful answer is to be confirmed, the registry is asked this often. */
const ASK_AGAIN_MS = 5000;

/** How far a pool's endpoints can be trusted. */
export interface FeedState {
  /**
   * `initial`: nothing is known yet. `live`: this is what the registry says. `held`: the registry answers, and some of its answer is not
   * believed yet. `stale`: the registry cannot be asked; this is what was known last.
   */
  readonly state: 'initial' | 'live' | 'held' | 'stale';
  /** Clock ms of the last good answer; null when there was none. */
  readonly lastGoodAtMs: number | null;
  /** The endpoints come from an earlier process. */
  readonly fromDisk: boolean;
  /** Why the registry cannot be asked; null when it can. */
  readonly error: string | null;
  readonly heldReason: string | null;
}

export interface FeedOptions {
  readonly registry: Registry;
  /** The registry's name in the document. */
  readonly registryName: string;
  readonly service: ServiceRef;
  /** Null for none. */
  readonly lastGood: LastGoodStore | null;
  readonly clock: Clock;
  readonly log: RegistryContext['log'];
  /** The endpoints changed. Called with the first set even when it is empty, then only with sets that differ. */
  readonly onSet: (set: readonly RegistryEndpoint[], state: FeedState) => void;
  /** Anything of the state but `lastGoodAtMs` changed; before `onSet` when both did. */
  readonly onState?: (state: FeedState) => void;
  readonly guard?: GuardOptions;
}

/**
 * One pool's endpoints from a registry, fit to be used as they come: guarded against the lies of registries, kept through outages, started from disk.
 * Made by app, one per pool that discovers. Nothing is read and nothing is subscribed before `start`; after `close` nothing is called.
 */
export class ServiceFeed {
  /** Resolves with the registry's first answer (disk does not count), or when the feed is closed. */
  readonly synced: Promise<void>;
  readonly #options: FeedOptions;
  readonly #guard: SetGuard;
  readonly #markSynced: () => void;
  #subscription: Subscription | null = null;
  #state: FeedState = { state: 'initial', lastGoodAtMs: null, fromDisk: false, error: null, heldReason: null };
  #delivered: readonly RegistryEndpoint[] | null = null;
  #fingerprint = '';
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#guard = new SetGuard(options.guard ?? GUARD_DEFAULTS);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.synced = promise;
    this.#markSynced = resolve;
  }

  get state(): FeedState {
    return this.#state;
  }

  /** What was told last; null before the first set. */
  get current(): readonly RegistryEndpoint[] | null {
    return this.#delivered;
  }

  /**
   * How long ago the registry last confirmed what it told, in ms; null before the first set. 0 while it can be asked: a query that waits
   * for a change is a confirmation that lasts, and an unreachable registry is found within seconds.
   */
  get ageMs(): number | null {
    const { lastGoodAtMs, state } = this.#state;
    if (lastGoodAtMs === null) return null;
    return state === 'stale' ? Math.max(0, this.#options.clock.now() - lastGoodAtMs) : 0;
  }

  start(): void {
    const { lastGood, registryName, service, clock, registry } = this.#options;
    const saved = lastGood?.load(registryName, service) ?? null;
    if (saved !== null) {
      this.#guard.seed(saved.endpoints);
      const lastGoodAtMs = clock.now() - saved.ageMs;
      this.#change({ state: 'stale', lastGoodAtMs, fromDisk: true, error: null, heldReason: null });
      this.#deliver(saved.endpoints);
    }
    this.#subscription = registry.subscribe(service, {
      replace: (set) => this.#replace(set),
      unavailable: (error) => this.#unavailable(error),
    });
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#subscription?.close();
    this.#markSynced();
  }

  #replace(set: RegistrySet): void {
    if (this.#closed) return;
    const now = this.#options.clock.now();
    const verdict = this.#guard.offer(set, now);
    this.#apply(verdict, now);
    this.#markSynced();
  }

  #unavailable(error: OperationError): void {
    if (this.#closed) return;
    this.#guard.lost();
    this.#schedule();
    const { registryName, service, log } = this.#options;
    // An unreachable registry is reported once by the registry itself, not once for each of its services.
    const level = error.code === 'registry-unreachable' || error.code === 'registry-timeout' ? 'debug' : 'warn';
    log(level, 'registry cannot be asked', { registry: registryName, service: service.name, error: error.message });
    const state = this.#delivered === null ? 'initial' : 'stale';
    this.#change({ ...this.#state, state, error: error.message });
  }

  #apply({ endpoints, heldReason }: GuardVerdict, lastGoodAtMs: number): void {
    const { lastGood, registryName, service } = this.#options;
    const state = heldReason === null ? 'live' : 'held';
    this.#reportHold(heldReason);
    this.#change({ state, lastGoodAtMs, fromDisk: false, error: null, heldReason });
    if (heldReason === null) lastGood?.save(registryName, service, endpoints);
    this.#deliver(endpoints);
    this.#schedule();
  }

  #reportHold(heldReason: string | null): void {
    const before = this.#state.heldReason;
    if ((before === null) === (heldReason === null)) return;
    const { registryName, service, log } = this.#options;
    const fields = { registry: registryName, service: service.name };
    if (heldReason !== null) log('warn', `endpoints are kept: ${heldReason}`, fields);
    else log('info', 'no endpoints are kept any more against what the registry says', fields);
  }

  #change(state: FeedState): void {
    const before = this.#state;
    this.#state = state;
    const isSame =
      before.state === state.state &&
      before.fromDisk === state.fromDisk &&
      before.error === state.error &&
      before.heldReason === state.heldReason;
    if (!isSame) this.#options.onState?.(state);
  }

  #deliver(endpoints: readonly RegistryEndpoint[]): void {
    if (this.#delivered === endpoints || this.#closed) return;
    const print = fingerprint(endpoints);
    const isSame = this.#delivered !== null && print === this.#fingerprint;
    this.#delivered = endpoints;
    this.#fingerprint = print;
    if (!isSame) this.#options.onSet(endpoints, this.#state);
  }

  #schedule(delayMs: number | null = null): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#closed) return;
    const now = this.#options.clock.now();
    const due = this.#guard.due(now);
    if (due === null) return;
    this.#timer = setTimeout(() => this.#settle(due.ask), delayMs ?? due.atMs - now);
  }

  #settle(ask: boolean): void {
    this.#timer = null;
    if (ask) {
      this.#subscription?.refresh?.();
      this.#schedule(ASK_AGAIN_MS);
      return;
    }
    this.#apply(this.#guard.verdict(this.#options.clock.now()), this.#state.lastGoodAtMs!);
  }
}
