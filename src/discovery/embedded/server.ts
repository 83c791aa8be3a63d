import { createServer, type Server } from 'node:http';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { OperationError } from '../../base/errors.ts';
import { parseHostPort } from '../../base/literals.ts';
import type { RegistryContext, RegistryDoor } from '../registry.ts';
import { serveAgentChecks } from './agent-checks-api.ts';
import { serveAgentHealth } from './agent-health-api.ts';
import { type ApiParts, serveAgentServices } from './agent-services-api.ts';
import { Agents } from './agents.ts';
import { BlockingQueries } from './blocking-queries.ts';
import { serveCatalog } from './catalog-api.ts';
import { CheckRunner, type CheckRunnerOptions } from './check-runner.ts';
import { CheckTargets } from './check-targets.ts';
import { ClosedDoor } from './closed-door.ts';
import { serveHealth } from './health-api.ts';
import { type Journal, noJournal } from './journal.ts';
import { KeyValues } from './key-values.ts';
import { serveKeyValues } from './kv-api.ts';
import { RegistryState } from './registry-state.ts';
import { Router } from './router.ts';
import { serveServer } from './server-api.ts';
import { Store, type StoreContent } from './store.ts';
import { restoredRecords } from './stored-records.ts';
import { Ticker } from './ticker.ts';

const MAX_CONNECTIONS = 25_000;
/** Clients keep connections between two polls; Node's 5 s would have them reconnect each time. */
const KEEP_ALIVE_MS = 120_000;
/** Before its files are given away: a client that has a connection may be writing. */
const QUIET_MS = 50;
const QUIET_AT_MOST_MS = 500;
/** Unknown fields of requests are each logged once, up to so many. */
const MAX_WARNED_FIELDS = 100;

export interface RegistryServerOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly bind: string;
  /** Directory that services, checks and the index are kept in over restarts; null keeps them in memory only. */
  readonly data: string | null;
  /** Addresses and CIDR blocks that HTTP and TCP checks may go to besides their registrant's own address. */
  readonly checkTargets?: readonly string[];
  /** Consul's times for `DeregisterCriticalServiceAfter` (30 s, 1 min); tests shorten them. */
  readonly reaping?: CheckRunnerOptions;
}

export type RegistryServerContext = Omit<RegistryContext, 'name'>;

/**
 * The built-in registry: services, health checks, keys and values, and blocking queries over Consul's HTTP API, for places that have no Consul.
 * One server, no cluster, no sessions, no access control: bind it where only registrants and proxies reach it. `app` and `evenkeel registry` make one.
 */
export class RegistryServer implements RegistryDoor {
  readonly #options: RegistryServerOptions;
  readonly #context: RegistryServerContext;
  #server: Server | null = null;
  #store: Store | null = null;
  #runner: CheckRunner | null = null;
  #ticker: Ticker | null = null;
  #blocking: BlockingQueries | null = null;
  /** Requests that are not answered yet, and when the last one came, in the process's clock. */
  #active = 0;
  #lastMs = 0;
  #isRetiring = false;
  #closed: ClosedDoor | null = null;
  readonly #warned = new Set<string>();

  constructor(options: RegistryServerOptions, context: RegistryServerContext) {
    this.#options = options;
    this.#context = context;
  }

  /** Reads what was kept, then listens. Rejects with an OperationError when the address cannot be had; nothing is left open then. */
  async start(): Promise<void> {
    const { bind } = this.#options;
    if (parseHostPort(bind) === null) throw new OperationError('bad-bind', `${bind} is not host:port`);
    const isInherited = await this.#context.succession?.retire(bind, this.data);
    const server = await this.#open();
    try {
      if (isInherited === true) await this.#inherit(server);
      else await this.#listen(server);
    } catch (error) {
      await this.close();
      const { code, message } = error as NodeJS.ErrnoException;
      const what = `the registry cannot listen on ${bind}: ${message}`;
      throw new OperationError(code ?? 'listen', what, { cause: error });
    }
  }

  /** Reads what was kept and builds everything that answers. */
  async #open(): Promise<Server> {
    const targets = new CheckTargets(this.#options.checkTargets ?? []);
    const opened = this.#options.data === null ? null : await Store.open(this.#options.data, this.#context.log);
    this.#store = opened?.store ?? null;
    this.#isRetiring = false;
    this.#server = this.#makeServer(this.#assemble(opened?.content ?? null, targets));
    return this.#server;
  }

  get bind(): string {
    return this.#options.bind;
  }

  get data(): string {
    return this.#options.data ?? '';
  }

  async retire(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#closed = new ClosedDoor(server);
    this.#isRetiring = true;
    this.#blocking?.endAll();
    const { clock } = this.#context;
    const sinceMs = clock.now();
    const isQuiet = () => this.#active === 0 && clock.now() - Math.max(this.#lastMs, sinceMs) >= QUIET_MS;
    while (!isQuiet() && clock.now() - sinceMs < QUIET_AT_MOST_MS) await new Promise((done) => setTimeout(done, 10));
    this.#server = null;
    server.closeAllConnections();
    await this.#stop();
  }

  give(onClient: (socket: Socket) => void): NetServer {
    const closed = this.#closed;
    if (closed === null) throw new OperationError('not-retired', 'the registry has not been retired');
    return closed.give(onClient);
  }

  async takeBack(): Promise<void> {
    const closed = this.#closed;
    this.#closed = null;
    closed?.hold();
    closed?.open(await this.#open());
  }

  letGo(): void {
    this.#closed?.close();
    this.#closed = null;
  }

  /** Where it listens; only between `start` and `close`. */
  get address(): { host: string; port: number } {
    const bound = this.#server?.address() as AddressInfo | null | undefined;
    if (bound === null || bound === undefined) throw new Error('the registry is not listening');
    return { host: bound.address, port: bound.port };
  }

  /** Cuts every connection, waiting queries too, writes what is left and leaves nothing open. Twice does no harm. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server !== null) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    }
    this.letGo();
    await this.#stop();
  }

  async #stop(): Promise<void> {
    this.#runner?.close();
    this.#runner = null;
    this.#ticker?.stop();
    this.#ticker = null;
    const store = this.#store;
    this.#store = null;
    await store?.close();
  }

  #assemble(content: StoreContent | null, targets: CheckTargets): Router {
    const { clock, random, log } = this.#context;
    const journal: Journal = this.#store ?? noJournal;
    const ticker = new Ticker(clock);
    this.#ticker = ticker;
    ticker.start();
    // Without a known index the wall clock gives one above any of before: nobody makes a change every millisecond for long.
    const known = content?.highWater ?? 0;
    const state = new RegistryState(known > 0 ? known : Date.now(), clock, journal);
    const reaping = this.#options.reaping ?? { reapIntervalMs: 30_000, minDeregisterAfterMs: 60_000 };
    const runner = new CheckRunner({ state, ticker, clock, random, targets }, reaping, (service, check) =>
      log('info', 'deregistered a service that stayed critical', {
        service: service.spec.name,
        id: service.spec.id,
        node: service.node.name,
        check: check.spec.id,
      }),
    );
    this.#runner = runner;
    state.observe(runner);
    const keyValues = new KeyValues(state, journal);
    if (content !== null) this.#restore(state, keyValues, content);

    const parts: ApiParts = {
      state,
      journal,
      agents: new Agents(state),
      blocking: new BlockingQueries(state.topics, ticker, random),
      unknownFields: (fields) => this.#warnOf(fields),
    };
    this.#blocking = parts.blocking;
    const router = new Router((error) => log('error', 'registry request failed', { error: String(error) }));
    serveAgentServices(router, parts);
    serveAgentChecks(router, parts, runner);
    serveAgentHealth(router, parts);
    serveHealth(router, parts);
    serveCatalog(router, parts);
    serveKeyValues(router, parts, keyValues);
    serveServer(router, parts, () => this.address.host);
    return router;
  }

  #restore(state: RegistryState, keyValues: KeyValues, content: StoreContent): void {
    const { nodes, services, checks, unreadable, ...rest } = restoredRecords(content.rows, this.#context.clock.now());
    state.restore(nodes, services, checks);
    keyValues.restore(rest.keyValues);
    if (unreadable.length > 0)
      this.#context.log('warn', 'registry left out stored records that cannot be read', { records: unreadable });
    if (services.length > 0) this.#context.log('info', 'registry restored its services', { services: services.length });
  }

  #makeServer(router: Router): Server {
    const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 60_000 }, (request, response) => {
      this.#active++;
      this.#lastMs = this.#context.clock.now();
      if (this.#isRetiring) response.setHeader('connection', 'close');
      response.once('close', () => this.#active--);
      void router.handle(request, response);
    });
    server.maxConnections = MAX_CONNECTIONS;
    return server;
  }

  #listen(server: Server): Promise<void> {
    const { host, port } = parseHostPort(this.#options.bind)!;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.removeListener('error', reject);
        server.on('error', this.#onServerError);
        resolve();
      });
    });
  }

  /** Goes on with the server of the process before this one. */
  async #inherit(server: Server): Promise<void> {
    const inherited = await this.#context.succession!.take(this.#options.bind, (client) => {
      client.allowHalfOpen = true;
      server.emit('connection', client);
      client.resume();
    });
    server.on('error', this.#onServerError);
    server.listen(inherited);
  }

  readonly #onServerError = (error: Error): void =>
    this.#context.log('error', 'registry server', { error: error.message });

  #warnOf(fields: readonly string[]): void {
    const fresh = fields.filter((field) => !this.#warned.has(field));
    if (fresh.length === 0 || this.#warned.size >= MAX_WARNED_FIELDS) return;
    for (const field of fresh) this.#warned.add(field);
    this.#context.log('warn', 'registry ignores fields of a registration that it does not know', { fields: fresh });
  }
}
