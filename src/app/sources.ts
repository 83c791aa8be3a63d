import type { Server, Socket } from 'node:net';
import type { KindSettings } from '../base/catalog.ts';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { registries as registryCatalog } from '../discovery/catalog.ts';
import { type FeedState, ServiceFeed } from '../discovery/feed.ts';
import { LastGoodStore } from '../discovery/last-good.ts';
import { MergedFeed } from '../discovery/merged-feed.ts';
import { NameResolver } from '../discovery/name-resolver.ts';
import type {
  Registry,
  RegistryContext,
  RegistryDoor,
  RegistryEndpoint,
  RegistrySuccession,
} from '../discovery/registry.ts';
import { EndpointResolver } from '../discovery/resolver.ts';
import type { Discovery, PoolOptions } from '../pool/options.ts';
import type { EvenkeelEvent } from '../telemetry/event-log.ts';
import type { LiveRegistry } from '../telemetry/live-state.ts';
import type { DocumentOptions } from './document.ts';

export interface SourcesContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: RegistryContext['log'];
  /** Directory of the last good sets; null when none are kept. */
  readonly stateDirectory: string | null;
  /** A pool's endpoints, numeric addresses only. */
  readonly onSet: (pool: string, set: readonly RegistryEndpoint[]) => void;
  readonly publish: (event: EvenkeelEvent) => void;
  /** Has what the process before this one served; null when there was none. */
  readonly succession: RegistrySuccession | null;
  /** These registries end as soon as it resolves: whoever registered with them leaves now. It never rejects. */
  readonly onEnding?: (registries: readonly string[]) => Promise<void>;
}

interface Running {
  readonly print: string;
  readonly settings: KindSettings;
  readonly registry: Registry;
}

interface Source {
  /** What it was made from; another text means another source. */
  readonly print: string;
  readonly options: PoolOptions;
  /** One for each feed, in the same order; none for a pool of endpoints written down. */
  readonly from: readonly Discovery[];
  readonly feed: MergedFeed | null;
  readonly resolver: EndpointResolver;
}

/** Where every pool's endpoints come from, on main: the registries of the document, one feed per pool that discovers, names resolved. */
export class Sources {
  readonly #context: SourcesContext;
  readonly #registries = new Map<string, Running>();
  readonly #sources = new Map<string, Source>();
  readonly #lost = new Set<string>();
  /** Registries of ours that have stopped answering, for a successor. */
  #retired: RegistryDoor[] = [];
  #succession: RegistrySuccession | null;
  readonly #names: NameResolver;
  readonly #lastGood: LastGoodStore;
  /** The last change; never rejects. */
  #change: Promise<void> = Promise.resolve();
  #isClosed = false;
  #isSucceeded = false;

  constructor(context: SourcesContext) {
    this.#context = context;
    this.#succession = context.succession;
    this.#names = new NameResolver({ random: context.random, log: context.log });
    this.#lastGood = new LastGoodStore({ directory: context.stateDirectory, clock: context.clock, log: context.log });
  }

  /**
   * Starts what the document names, ends what it names no more. Rejects when a registry cannot start (a busy port), everything is as it was then; or
   * when these sources are closed meanwhile, nothing runs then. One at a time.
   */
  async configure(document: Pick<DocumentOptions, 'registries' | 'pools'>): Promise<void> {
    const change = this.#configure(document);
    this.#change = change.catch(() => {});
    await change;
  }

  async #configure({ registries, pools }: Pick<DocumentOptions, 'registries' | 'pools'>): Promise<void> {
    const leaving = [...this.#registries].filter(([name, { print }]) => JSON.stringify(registries[name]) !== print);
    const wanted = Object.entries(registries).filter(
      ([name, settings]) => this.#registries.get(name)?.print !== JSON.stringify(settings),
    );
    // A successor may want the address or the data of one that leaves: there is a moment without either, and clients ask again.
    const madeWay = wanted.length === 0 ? [] : leaving.filter(([, { settings }]) => settings.kind === 'embedded');
    await this.#context.onEnding?.(madeWay.map(([name]) => name));
    await Promise.all(madeWay.map(([, { registry }]) => registry.close()));
    const fresh = await this.#startAll(wanted).catch(async (error) => {
      if (!this.#isClosed) for (const [name, { settings }] of madeWay) await this.#revive(name, settings);
      throw error;
    });
    const rest = leaving.filter((one) => !madeWay.includes(one));
    await this.#context.onEnding?.(rest.map(([name]) => name));
    if (this.#isClosed) {
      await Promise.allSettled([...fresh.values()].map(({ registry }) => registry.close()));
      throw new OperationError('draining', 'these sources are closed');
    }
    for (const [name] of leaving) {
      this.#registries.delete(name);
      this.#lost.delete(name);
    }
    for (const [name, one] of fresh) this.#registries.set(name, one);
    // Only what the first document names can come from there.
    this.#succession = null;
    for (const name of [...this.#sources.keys()]) if (pools[name] === undefined) this.#drop(name);
    for (const [name, options] of Object.entries(pools)) this.#configurePool(name, options);
    this.#forgetLost();
    await Promise.allSettled(rest.map(([, { registry }]) => registry.close()));
  }

  async #startAll(wanted: readonly (readonly [string, KindSettings])[]): Promise<Map<string, Running>> {
    const started = new Map<string, Running>();
    try {
      for (const [name, settings] of wanted) {
        const registry = this.#make(name, settings);
        started.set(name, { print: JSON.stringify(settings), settings, registry });
        await registry.start();
      }
    } catch (error) {
      await Promise.allSettled([...started.values()].map(({ registry }) => registry.close()));
      throw error;
    }
    return started;
  }

  /** One that made way for a successor that could not start. Its pools keep their endpoints meanwhile. */
  async #revive(name: string, settings: KindSettings): Promise<void> {
    try {
      const [[, one]] = await this.#startAll([[name, settings]]);
      this.#registries.set(name, one);
    } catch (error) {
      this.#context.log('error', 'a registry that made way for its successor cannot be started again', {
        registry: name,
        error: error instanceof Error ? error.message : String(error),
      });
      return;
    }
    const fed = [...this.#sources].filter(([, { from }]) => from.some(({ registry }) => registry === name));
    for (const [pool, { options, print }] of fed) this.#feedAnew(pool, options, print);
  }

  readonly #say: RegistryContext['log'] = (...line) => {
    if (!this.#isSucceeded) this.#context.log(...line);
  };

  #make(name: string, settings: KindSettings): Registry {
    const { clock, random } = this.#context;
    const log = this.#say;
    return registryCatalog.create(settings, { name, clock, random, log, succession: this.#succession ?? undefined });
  }

  /** For a successor: what we serve at `bind` or keep in `data` stops. Resolves with whether there is a server at `bind`. */
  async retire(bind: string, data: string): Promise<boolean> {
    const doors = [...this.#registries.values()].flatMap(({ registry }) => registry.door ?? []);
    for (const door of doors) {
      if ((door.bind !== bind && door.data !== data) || this.#retired.includes(door)) continue;
      this.#retired.push(door);
      await door.retire();
    }
    return doors.some((door) => door.bind === bind);
  }

  /** The server of a registry that was retired; null when there is none. */
  give(bind: string, onClient: (socket: Socket) => void): Server | null {
    return this.#retired.find((door) => door.bind === bind)?.give(onClient) ?? null;
  }

  /** There is no successor after all. */
  async takeBack(): Promise<void> {
    for (const door of this.#retired.splice(0)) {
      try {
        await door.takeBack();
      } catch (error) {
        this.#context.log('error', 'a registry cannot be started again', { bind: door.bind, error: String(error) });
      }
    }
  }

  /** The successor serves: what becomes of registries is for it to tell, as one of them may have been ours. */
  letGo(): void {
    this.#isSucceeded = true;
    for (const door of this.#retired.splice(0)) door.letGo();
  }

  #configurePool(pool: string, options: PoolOptions): void {
    const { discover, endpoints } = options;
    const prints = discover?.from.map(({ registry }) => this.#registries.get(registry)?.print);
    const print = JSON.stringify([discover, endpoints, prints]);
    if (this.#sources.get(pool)?.print !== print) this.#feedAnew(pool, options, print);
  }

  /** Its endpoints stay until there are others. */
  #feedAnew(pool: string, options: PoolOptions, print: string): void {
    const { discover, endpoints } = options;
    const before = this.#sources.get(pool) ?? null;
    before?.feed?.close();
    const onSet = (set: readonly RegistryEndpoint[]) => this.#context.onSet(pool, set);
    const resolver = new EndpointResolver(this.#names, onSet, before?.resolver);
    // A registry that could not be revived is none.
    const from = discover?.from.filter(({ registry }) => this.#registries.has(registry)) ?? [];
    if (discover === null || from.length === 0) {
      this.#sources.set(pool, { print, options, from: [], feed: null, resolver });
      resolver.update((endpoints ?? []).map((one) => ({ ...one, status: 'up', generation: '' })));
      return;
    }
    const feed = new MergedFeed({
      policy: discover.policy,
      feeds: from.map((one) => (onSet, onState) => this.#feed(pool, one, onSet, onState)),
      onSet: (set) => resolver.update(set),
    });
    this.#sources.set(pool, { print, options, from, feed, resolver });
    feed.start();
  }

  #feed(pool: string, { registry, service, tags, datacenter }: Discovery, onSet: () => void, onState: () => void) {
    return new ServiceFeed({
      registry: this.#registries.get(registry)!.registry,
      registryName: registry,
      service: { name: service, tags, datacenter },
      lastGood: this.#lastGood,
      clock: this.#context.clock,
      log: this.#say,
      onSet,
      onState: (state) => {
        this.#onState(pool, registry, state);
        onState();
      },
    });
  }

  #onState(pool: string, registry: string, state: FeedState): void {
    const { publish } = this.#context;
    if (this.#isSucceeded) return;
    if (state.heldReason !== null) publish({ type: 'registry-held', registry, pool, reason: state.heldReason });
    if (state.error !== null && !this.#lost.has(registry)) {
      this.#lost.add(registry);
      publish({ type: 'registry-lost', registry, error: state.error });
    } else if (state.error === null && this.#lost.has(registry) && this.#allWell(registry)) {
      this.#lost.delete(registry);
      publish({ type: 'registry-regained', registry });
    }
  }

  /** The pool may have left, or its source be another one, for which a registry could not be asked: of the others none will tell that it is well. */
  #forgetLost(): void {
    for (const registry of [...this.#lost]) {
      const states = this.#feedsOf(registry).map(({ feed }) => feed.state);
      if (states.some(({ error, state, fromDisk }) => error !== null || state === 'initial' || fromDisk)) continue;
      this.#lost.delete(registry);
      if (states.length > 0) this.#context.publish({ type: 'registry-regained', registry });
    }
  }

  #allWell(registry: string): boolean {
    return this.#feedsOf(registry).every(({ feed }) => feed.state.error === null);
  }

  #feedsOf(registry: string): { readonly pool: string; readonly service: string; readonly feed: ServiceFeed }[] {
    return [...this.#sources].flatMap(([pool, { from, feed }]) =>
      from.flatMap((one, i) =>
        one.registry === registry ? [{ pool, service: one.service, feed: feed!.feeds[i] }] : [],
      ),
    );
  }

  /** A running registry by its name in the document. */
  registry(name: string): Registry | null {
    return this.#registries.get(name)?.registry ?? null;
  }

  /** Resolves when the feeds of these pools (of all, when none are named) have had their registry's first answer. */
  async synced(pools: Iterable<string> = this.#sources.keys()): Promise<void> {
    await Promise.all(Array.from(pools, (pool) => this.#sources.get(pool)?.feed?.synced));
  }

  /** Pools none of whose registries has answered yet. */
  get waiting(): string[] {
    return [...this.#sources].flatMap(([pool, { feed }]) =>
      feed?.feeds.every(({ state }) => state.state === 'initial') ? [pool] : [],
    );
  }

  /** Where a pool's endpoints come from: names of registries, or `document`. */
  sourceOf(pool: string): string {
    const from = this.#sources.get(pool)?.from ?? [];
    return from.length === 0 ? 'document' : [...new Set(from.map(({ registry }) => registry))].join(', ');
  }

  live(endpointsOf: (pool: string) => number): LiveRegistry[] {
    return [...this.#registries].map(([name, { settings }]) => {
      const feeds = this.#feedsOf(name);
      const errors = feeds.flatMap(({ feed }) => feed.state.error ?? []);
      const services = feeds.map(({ pool, feed, service }) => ({
        pool,
        service,
        state: feed.state.state,
        ageMs: feed.ageMs ?? Number.NaN,
        endpoints: this.#sources.get(pool)!.from.length === 1 ? endpointsOf(pool) : (feed.current?.length ?? 0),
        fromDisk: feed.state.fromDisk,
        heldReason: feed.state.heldReason,
      }));
      return { name, kind: settings.kind, up: errors.length === 0, lastError: errors[0] ?? null, services };
    });
  }

  /** What is being changed goes no further, and is waited for. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const pool of [...this.#sources.keys()]) this.#drop(pool);
    await Promise.allSettled([...this.#registries.values()].map(({ registry }) => registry.close()));
    this.#registries.clear();
    await this.#change;
    await this.#lastGood.close();
    this.#names.close();
  }

  #drop(pool: string): void {
    const source = this.#sources.get(pool);
    if (source === undefined) return;
    this.#sources.delete(pool);
    source.feed?.close();
    source.resolver.close();
  }
}
