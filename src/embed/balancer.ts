import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import { pino } from 'pino';
import { changeFault, endpointChange } from '../admin/endpoint-change.ts';
import { catalogs } from '../app/catalogs.ts';
import { type LoadedDocument, loadDocument, loadEmbedded } from '../app/document.ts';
import { PoolSet } from '../app/pool-set.ts';
import { within } from '../app/reload.ts';
import { Sources } from '../app/sources.ts';
import { tryBuild } from '../app/try-build.ts';
import { Turns } from '../app/turns.ts';
import { adoptKind } from '../app/user-parts.ts';
import { systemClock } from '../base/clock.ts';
import { ConfigError, OperationError } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import { EventCounts } from '../telemetry/event-counts.ts';
import { type EvenkeelEvent, EventLog, type PublishedEvent } from '../telemetry/event-log.ts';
import type { LiveState } from '../telemetry/live-state.ts';
import { Metrics } from '../telemetry/prometheus.ts';
import type { BalancerContext, BalancerOptions } from './balancer-options.ts';
import { LocalPlane, ROWS } from './local-plane.ts';
import { PoolDispatcher } from './pool-dispatcher.ts';
import { type PoolSnapshot, poolSnapshot } from './pool-snapshot.ts';
import { type Middleware, ProxyFaces, type ProxyOptions, type UpgradeHandler } from './proxy-faces.ts';

/** What only listeners do: refused by name, never ignored. */
const UNSERVED = {
  affinity: 'cookies are set by listeners only; inside a program use scheduler: hash on a cookie or header',
  proxyProtocol: 'is spoken by listeners only; inside a program endpoints see X-Forwarded-For',
} as const;

/** How often ejections end and budgets are refilled. */
const SWEEP_MS = 100;

/** What a balancer tells: every event by its type, and each also as `event`. */
export type BalancerEvents = {
  [Type in EvenkeelEvent['type']]: [Extract<PublishedEvent, { readonly type: Type }>];
} & { event: [PublishedEvent] };

/** One pool of a balancer, as it is now. */
export interface BalancerPool {
  readonly name: string;
  snapshot(): PoolSnapshot;
  /**
   * As the admin API does: survives what registries say, and reloads. Returns whether there is such an endpoint (`address:port`). Throws an
   * OperationError for what the admin API refuses: a weight is 0…65535 with at most two decimals.
   */
  setEndpoint(
    id: string,
    change: { readonly state?: 'ready' | 'drain' | 'maintenance'; readonly weight?: number },
  ): boolean;
}

/**
 * Makes a balancer and starts it: resolves after the first answer of the registries, or `runtime.startTimeout`. `options` may also be the path of a document,
 * whose listeners are left out. Rejects with a ConfigError when they are wrong; nothing runs then.
 */
export async function createBalancer(
  options: BalancerOptions | string,
  context: BalancerContext = {},
): Promise<Balancer> {
  const document = await load(options, context);
  tryBuild(document);
  const balancer = new Balancer(document, context);
  try {
    await balancer.start();
  } catch (error) {
    await balancer.close();
    throw error;
  }
  return balancer;
}

async function load(
  options: BalancerOptions | string,
  { directory = process.cwd() }: BalancerContext,
): Promise<LoadedDocument> {
  const loaded =
    typeof options === 'string'
      ? await loadDocument(options, process.env, catalogs, 0)
      : await loadEmbedded(withKinds(options), directory, catalogs);
  const { document, problemAt } = loaded;
  const problems = Object.entries(document.pools).flatMap(([name, pool]) =>
    Object.entries(UNSERVED)
      .filter(([key]) => pool[key as keyof typeof UNSERVED] !== null)
      .map(([key, instead]) => problemAt(['pools', name, key], instead)),
  );
  if (problems.length > 0) throw new ConfigError(problems);
  return loaded;
}

/** Puts the names of the parts that were given as objects in their places. */
function withKinds({ registries = {}, pools, ...rest }: BalancerOptions): object {
  return {
    ...rest,
    registries: mapValues(registries, (settings) => named('registries', settings)),
    pools: mapValues(pools, ({ scheduler, probe, ...pool }) => ({
      ...pool,
      ...(scheduler === undefined ? {} : { scheduler: named('schedulers', scheduler) }),
      ...(probe === undefined ? {} : { probe: named('probes', probe) }),
    })),
  };
}

function named(sort: 'registries' | 'schedulers' | 'probes', settings: unknown): unknown {
  if (typeof settings !== 'object' || settings === null) return settings;
  if ('create' in settings) return { kind: adoptKind(sort, settings) };
  const { kind, ...options } = settings as { kind: unknown };
  return { ...options, kind: typeof kind === 'object' ? adoptKind(sort, kind) : kind };
}

function mapValues<In, Out>(record: Readonly<Record<string, In>>, map: (value: In) => Out): Record<string, Out> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

/**
 * The balancer as a part of a host program: the pools of a document, with discovery, probes, ejection, retries and metrics, in the host's own thread.
 * Made by `createBalancer`, ended by `close` or `await using`. Its timers keep no process alive; connections of registries do.
 */
export class Balancer extends EventEmitter<BalancerEvents> implements AsyncDisposable {
  readonly #context: BalancerContext;
  readonly #plane: LocalPlane;
  readonly #pools: PoolSet;
  readonly #sources: Sources;
  readonly #events: EventLog;
  readonly #metrics: Metrics;
  readonly #turns = new Turns();
  readonly #faces = new Map<string, PoolDispatcher>();
  /** By whether they believe what is forwarded. */
  readonly #proxies = new Map<boolean, ProxyFaces>();
  readonly #startedAtMs = systemClock.now();
  #document: LoadedDocument;
  #versionNumber = 1;
  #sweep: NodeJS.Timeout | null = null;
  #closing: Promise<void> | null = null;

  /** `createBalancer` makes one and starts it. */
  constructor(document: LoadedDocument, context: BalancerContext) {
    super();
    this.#document = document;
    this.#context = context;
    const log = context.log ?? pino({ level: 'silent' });
    this.#events = new EventLog({ log });
    const counts = new EventCounts(document.document.admin.endpointSeries);
    this.#events.listen(counts.take);
    this.#events.listen((event) => this.#tell(event));
    this.#plane = new LocalPlane({
      clock: systemClock,
      random: systemRandom,
      table: () => this.#pools.slots.table,
      onEjected: (ejected) => this.#pools.ejected(ejected),
      onTlsRefused: (pool, endpoint, reason) =>
        log.warn({ pool, endpoint, reason }, 'an endpoint came to no TLS handshake'),
      onGone: (pool, { slot }) => this.#pools.acknowledge(pool, slot, this.#plane.row),
    });
    this.#pools = new PoolSet(ROWS, this.#plane, this.#events, () => null);
    this.#sources = new Sources({
      clock: systemClock,
      random: systemRandom,
      log: (level, message, fields) => log[level](fields ?? {}, message),
      stateDirectory: join(document.document.runtime.state, 'last-good'),
      onSet: (pool, set) => this.#pools.replace(pool, set),
      publish: (event) => this.#events.publish(event),
      succession: null,
    });
    const state = () => this.#state();
    const { endpointSeries } = document.document.admin;
    this.#metrics = new Metrics({ state, counts, endpointSeries, clock: systemClock });
  }

  /** Called once, by `createBalancer`. */
  async start(): Promise<void> {
    const { document } = this.#document;
    this.#pools.configure(document.pools);
    this.#plane.configure(this.#pools.forWorkers());
    this.#sweep = setInterval(() => this.#pools.sweep(this.#plane.isLate), SWEEP_MS);
    this.#sweep.unref();
    await this.#sources.configure(document);
    await within(this.#sources.synced(), document.runtime.startTimeout);
    this.#events.publish({ type: 'ready' });
  }

  /**
   * An undici Dispatcher that balances over a pool: `fetch(url, { dispatcher })`, `request(url, { dispatcher })`. Without a name the host of each request's
   * origin names its pool: `http://orders/…`. The same one for the same name.
   */
  dispatcher(pool?: string): PoolDispatcher {
    if (pool !== undefined) this.#demand(pool);
    const key = pool ?? '';
    let face = this.#faces.get(key);
    if (face === undefined || face.closed) {
      face = new PoolDispatcher(this.#plane, pool ?? null);
      this.#faces.set(key, face);
    }
    return face;
  }

  /**
   * A `(req, res, next)` handler that passes requests on to a pool, for Express, Connect, Fastify and node:http. Mount it before anything that reads
   * bodies. What no endpoint answers goes to `next` as a BalancerError, or without one is answered 502, 503 or 504 with `x-evenkeel-reason`.
   */
  middleware(pool: string, options: ProxyOptions = {}): Middleware {
    return this.#proxyFaces(options).middleware(this.#demand(pool));
  }

  /** A handler for a server's `upgrade` events that passes WebSockets on to a pool. */
  upgrade(pool: string, options: ProxyOptions = {}): UpgradeHandler {
    return this.#proxyFaces(options).upgrade(this.#demand(pool));
  }

  #proxyFaces({ trustForwarded = false }: ProxyOptions): ProxyFaces {
    let faces = this.#proxies.get(trustForwarded);
    if (faces === undefined) {
      faces = new ProxyFaces(this.#plane, { trustForwarded });
      this.#proxies.set(trustForwarded, faces);
    }
    return faces;
  }

  /** The pools there are now, by name. */
  get pools(): Readonly<Record<string, BalancerPool>> {
    return Object.fromEntries(Object.keys(this.#document.document.pools).map((name) => [name, this.#poolOf(name)]));
  }

  #poolOf(name: string): BalancerPool {
    return {
      name,
      snapshot: () => {
        const live = this.#pools
          .live((pool) => this.#sources.sourceOf(pool))
          .find((one) => one.name === this.#demand(name));
        return poolSnapshot(live!, systemClock.now());
      },
      setEndpoint: (id, change) => {
        const judged = endpointChange.safeParse(change);
        if (!judged.success) throw new OperationError('bad-change', changeFault(judged.error));
        return this.#pools.setEndpoint(name, id, judged.data) === 'done';
      },
    };
  }

  /** Puts other options in force, as a reload of a document does: all of them or, when it rejects, none. Requests that run finish on what they began with. */
  async reload(options: BalancerOptions | string): Promise<void> {
    const next = await load(options, this.#context);
    await this.#turns.take(() => this.#putInForce(next));
  }

  async #putInForce(next: LoadedDocument): Promise<void> {
    this.#demandOpen();
    tryBuild(next);
    const { document } = next;
    const before = this.#document.document;
    try {
      const fresh = this.#pools.add(document.pools);
      if (fresh.length > 0) this.#plane.configure(this.#pools.forWorkers());
      await this.#sources.configure(document);
      await within(this.#sources.synced(fresh), document.runtime.startTimeout);
      this.#demandOpen();
    } catch (error) {
      if (this.#closing !== null) throw error;
      this.#pools.retain(before.pools);
      this.#plane.configure(this.#pools.forWorkers());
      throw error;
    }
    this.#document = next;
    this.#pools.configure(document.pools);
    this.#pools.retain(document.pools);
    this.#plane.configure(this.#pools.forWorkers());
    this.#events.publish({ type: 'reloaded', version: next.version, versionNumber: ++this.#versionNumber });
  }

  /** The metrics of all pools as Prometheus text, under the names of evenkeel's `/metrics`; at most a second old. */
  async metrics(): Promise<string> {
    return (await this.#metrics.exposition()).text.toString();
  }

  /** Ends everything: requests that run are aborted, unless their dispatcher was closed (which waits for them) before. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#sweep !== null) clearInterval(this.#sweep);
    await Promise.all([...this.#faces.values()].map((face) => face.destroy()));
    for (const faces of this.#proxies.values()) faces.close();
    this.#pools.close();
    this.#plane.close();
    await this.#sources.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #demandOpen(): void {
    if (this.#closing !== null) throw new OperationError('draining', 'this balancer is closed');
  }

  #demand(pool: string): string {
    if (this.#plane.pool(pool) !== null) return pool;
    const names = Object.keys(this.#document.document.pools).join(', ');
    throw new OperationError('no-pool', `there is no pool "${pool}"; there are: ${names}`);
  }

  #tell(event: PublishedEvent): void {
    // The type of an event and what it carries go together, which the compiler cannot see.
    (this as EventEmitter).emit(event.type, event);
    (this as EventEmitter).emit('event', event);
  }

  #state(): LiveState {
    return {
      startedAtMs: this.#startedAtMs,
      configVersion: this.#document.version,
      configVersionNumber: this.#versionNumber,
      ready: this.#closing === null,
      readyReason: '',
      listeners: [],
      routes: this.#plane.routes,
      pools: this.#pools.live((pool) => this.#sources.sourceOf(pool)),
      registries: this.#sources.live((pool) => this.#pools.sizeOf(pool)),
      workers: [],
      document: this.#document.masked,
    };
  }
}
