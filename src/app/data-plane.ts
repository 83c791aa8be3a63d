import { BlockList, type BoundSocket, isIPv6, type Server, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { parseHostPort } from '../base/literals.ts';
import type { Random } from '../base/random.ts';
import { TimerWheel } from '../base/timer-wheel.ts';
import { TurnClock } from '../base/turn-clock.ts';
import { isSecretKey } from '../config/secrets.ts';
import type { EndpointDelta } from '../endpoint/delta.ts';
import { PoolWords } from '../endpoint/pool-words.ts';
import { SlotTable } from '../endpoint/slots.ts';
import { ClientCounts } from '../listener/client-counts.ts';
import { type ConnectionLimits, Listener } from '../listener/listener.ts';
import type { ListenerOptions } from '../listener/options.ts';
import { TlsAcceptor } from '../listener/tls-acceptor.ts';
import { middleware } from '../middleware/catalog.ts';
import { Pool, type PoolContext } from '../pool/pool.ts';
import { type BoundRoute, Http1Engine, type Http1Settings } from '../proxy/http1/engine.ts';
import { UpstreamConnections } from '../proxy/http1/upstream-connections.ts';
import { Via } from '../proxy/http1/via.ts';
import { ListenerCells, REASONS } from '../proxy/listener-cells.ts';
import { Sockets } from '../proxy/sockets.ts';
import { RouteCells } from '../routing/route-cells.ts';
import { RouteTable } from '../routing/route-table.ts';
import { AccessLogBuffer } from '../telemetry/access-log-buffer.ts';
import { type RequestSample, RequestSampler, sampledNames } from '../telemetry/request-sampler.ts';
import { Dialers } from './dialers.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { Place } from './listener-set.ts';
import type { Configuration, FromWorker, WorkerListener } from './messages.ts';

/** Period of a worker's timer wheel: the resolution of every timeout of the data plane. */
export const TICK_MS = 50;
/** An event loop that comes so late blames nobody for what timed out meanwhile. */
const LAG_MS = 200;
const CONNECTIONS_REASON = REASONS.indexOf('connections');
const HANDSHAKE_REASON = REASONS.indexOf('tls-handshake');

export interface DataPlaneOptions {
  readonly worker: number;
  readonly workers: number;
  /** This thread's row in shared memory, and how many there are. */
  readonly row: number;
  readonly rows: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly heartbeats: Heartbeats;
  readonly chunks: readonly SharedArrayBuffer[];
  readonly affinityKey: Uint8Array;
  readonly post: (message: FromWorker) => void;
}

interface Served {
  readonly listener: Listener;
  readonly engine: Http1Engine;
  access: AccessLogBuffer | null;
  sampler: RequestSampler | null;
  options: ListenerOptions;
}

/** Everything one worker runs: its pools, its listeners, its wheel. Told by main what to do; knows nothing of registries or files. */
export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #row: number;
  readonly #table: SlotTable;
  readonly #wheel = new TimerWheel(TICK_MS);
  readonly #clock: TurnClock;
  readonly #sockets: Sockets;
  readonly #upstreams: UpstreamConnections;
  readonly #dialers: Dialers;
  readonly #poolContext: PoolContext;
  readonly #pools = new Map<string, Pool>();
  readonly #served = new Map<string, Served>();
  /** Listeners and pools that left the document while something still ran on them. */
  #leavingListeners: Served[] = [];
  readonly #leavingPools = new Set<Pool>();
  readonly #timer: NodeJS.Timeout;
  #connectionCeiling = 0;
  #draining = false;
  #drainedTold = false;
  /** Added to what the engine waits before it ends an idle connection. */
  #patienceMs = 0;
  #nextTickMs: number;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    this.#row = options.row;
    this.#table = new SlotTable(options.rows, options.chunks);
    this.#clock = new TurnClock(options.clock);
    this.#sockets = new Sockets(this.#clock);
    this.#upstreams = new UpstreamConnections(this.#clock, this.#wheel, this.#sockets);
    this.#dialers = new Dialers(options.clock, (pool, endpoint, reason) =>
      options.post({ kind: 'tls-refused', pool, endpoint, reason }),
    );
    this.#poolContext = this.#makePoolContext();
    this.#nextTickMs = performance.now() + TICK_MS;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #makePoolContext(): PoolContext {
    const { worker, workers, random, affinityKey, post } = this.#options;
    return {
      clock: this.#clock,
      random,
      worker,
      workers,
      row: this.#row,
      table: this.#table,
      affinityKey,
      onEjected: (pool, endpoint, cause, untilMs) =>
        post({ kind: 'ejected', pool, slot: endpoint.slot, cause, untilMs }),
      onReported: (pool, endpoint, cause) => post({ kind: 'would-eject', pool, slot: endpoint.slot, cause }),
      onDecision: (decision) => post({ kind: 'decision', decision }),
      onGone: (pool, endpoint) => {
        this.#upstreams.forget(endpoint);
        post({ kind: 'gone', pool, slot: endpoint.slot });
      },
    };
  }

  useRows(used: number): void {
    this.#table.usedRows = used;
  }

  adoptChunk(buffer: SharedArrayBuffer): void {
    this.#table.adopt(buffer);
  }

  applyDelta(delta: EndpointDelta): void {
    this.#pools.get(delta.pool)?.apply(delta);
  }

  /** Swaps a document in. What it does not change keeps its state; exchanges that run finish on what they began with. */
  configure(configuration: Configuration): void {
    this.#connectionCeiling = configuration.connections;
    this.#sockets.use(configuration.fastPath);
    this.#configurePools(configuration);
    const named = new Set(configuration.listeners.map(({ options }) => options.name));
    for (const one of configuration.listeners) this.#configureListener(one, configuration);
    for (const [name, served] of this.#served) {
      if (named.has(name)) continue;
      this.#served.delete(name);
      this.#leaveAddresses(served, []);
      served.engine.drain();
      this.#leavingListeners.push(served);
    }
    for (const served of this.#served.values()) this.#leaveAddresses(served, served.options.bind);
    this.#options.post({ kind: 'configured' });
  }

  #configurePools({ pools, decisions }: Configuration): void {
    const { rows } = this.#options;
    for (const { name, options, words } of pools) {
      this.#dialers.configure(name, options);
      const known = this.#pools.get(name);
      if (known !== undefined) known.configure(options);
      else this.#pools.set(name, new Pool(name, options, new PoolWords(rows, words), this.#poolContext));
    }
    for (const [name, pool] of this.#pools) {
      if (pools.some((one) => one.name === name)) continue;
      this.#pools.delete(name);
      this.#dialers.remove(name);
      this.#leavingPools.add(pool);
    }
    for (const pool of this.#pools.values()) pool.decisionEvery = decisions;
    this.#upstreams.forgetRetired();
  }

  #configureListener(one: WorkerListener, configuration: Configuration): void {
    const { options } = one;
    const settings = this.#settings(one);
    const known = this.#served.get(options.name);
    if (known !== undefined) {
      known.engine.settings = settings;
      this.#configureTls(known, options, configuration);
      known.listener.limits = this.#limits(one, known.listener.limits.clients);
      known.options = options;
      known.access?.flush();
      known.access = this.#access(options.name, known.listener.cells, configuration);
      known.sampler?.flush();
      known.sampler = this.#sampler(options, known.access, configuration);
      known.engine.access = known.sampler ?? known.access;
      return;
    }
    const { rows } = this.#options;
    const cells = new ListenerCells(rows, one.cells);
    const access = this.#access(options.name, cells, configuration);
    const context = {
      row: this.#row,
      clock: this.#clock,
      wheel: this.#wheel,
      upstreams: this.#upstreams,
      sockets: this.#sockets,
    };
    const sampler = this.#sampler(options, access, configuration);
    const engine = new Http1Engine(settings, cells, context, sampler ?? access);
    const listener = new Listener(
      options.name,
      cells,
      engine,
      this.#limits(one, null),
      () => cells.rejected(this.#row, CONNECTIONS_REASON),
      (error) =>
        this.#options.post({ kind: 'listen-failed', listener: options.name, bind: '', message: error.message }),
    );
    const served: Served = { listener, engine, access, sampler, options };
    this.#configureTls(served, options, configuration);
    this.#served.set(options.name, served);
  }

  #configureTls(
    { listener, engine }: Served,
    { name, tls, timeouts }: ListenerOptions,
    { ticketKeys }: Configuration,
  ): void {
    listener.isSecure = tls !== null;
    if (tls === null) return;
    const { cells } = listener;
    const row = this.#row;
    listener.tls ??= new TlsAcceptor(name, this.#wheel, {
      began: () => cells.handshakeBegan(row),
      ended: () => cells.handshakeEnded(row),
      failed: () => cells.rejected(row, HANDSHAKE_REASON),
      secured: (socket, secured) => engine.accept(socket, secured),
    });
    listener.tls.handshakeMs = timeouts.head ?? 0;
    listener.tls.configure(tls, ticketKeys);
  }

  /** An address that another listener has now goes to it with all that waits there; one that nobody has is closed when it is quiet. */
  #leaveAddresses({ listener }: Served, kept: readonly string[]): void {
    for (const bind of listener.binds) {
      if (kept.includes(bind)) continue;
      const isShared = parseHostPort(bind)?.port !== 0;
      const heir = [...this.#served.values()].find(({ options }) => isShared && options.bind.includes(bind));
      if (heir === undefined) listener.stopSoon(bind);
      else for (const server of listener.letGo(bind)) heir.listener.adopt(bind, server);
    }
  }

  #settings({ options, routes }: WorkerListener): Http1Settings {
    const { rows } = this.#options;
    const bound = options.routes.map((route, i): BoundRoute => {
      const stages = route.middleware.map((settings) => middleware.create(settings, { route: route.name }));
      return {
        name: route.name,
        pool: this.#pools.get(route.pool)!,
        dialer: this.#dialers.of(route.pool),
        cells: new RouteCells(rows, routes[i]),
        stages,
        connect: route.connect,
      };
    });
    const { timeouts, limits } = options;
    return {
      listenerName: options.name,
      table: new RouteTable(options.routes, () => 0, options.paths),
      routes: bound,
      trusted: trustList(options.trustForwarded),
      via: options.via === null ? null : new Via(options.via),
      timeouts: {
        head: timeouts.head ?? 0,
        body: timeouts.body ?? 0,
        idle: timeouts.idle ?? 0,
        tunnel: timeouts.tunnel ?? 0,
      },
      limits: {
        head: limits.head ?? 0,
        headers: limits.headers ?? 0,
        target: limits.target ?? 0,
        body: limits.body ?? 0,
        bodyRate: limits.bodyRate ?? 0,
        chunkExtensions: limits.chunkExtensions ?? 0,
        trailers: limits.trailers ?? 0,
      },
    };
  }

  #limits({ options: { limits }, clients }: WorkerListener, known: ClientCounts | null): ConnectionLimits {
    return {
      connections: limits.connections ?? 0,
      perClient: limits.connectionsPerClient ?? 0,
      clients: clients === null || known?.buffer === clients ? known : new ClientCounts(this.#options.rows, clients),
      row: this.#row,
      processIsFull: () => this.#isFull(),
    };
  }

  #isFull(): boolean {
    if (this.#connectionCeiling === 0) return false;
    let open = 0;
    for (const { listener } of this.#served.values()) open += listener.cells.connectionsActive;
    return open >= this.#connectionCeiling;
  }

  #access(listener: string, cells: ListenerCells, { access }: Configuration): AccessLogBuffer | null {
    if (access === null) return null;
    const send = (batch: string, lines: number) => this.#options.post({ kind: 'access', listener, batch, lines });
    return new AccessLogBuffer({ cells, row: this.#row, query: access.query, send });
  }

  /** Stands before the access log where requests are sampled. */
  #sampler(
    { routes }: ListenerOptions,
    next: AccessLogBuffer | null,
    { sample: every }: Configuration,
  ): RequestSampler | null {
    if (every === null) return null;
    const send = (samples: readonly RequestSample[]) => this.#options.post({ kind: 'sampled', samples });
    return new RequestSampler({ every, names: sampledNames(routes, isSecretKey), next, send });
  }

  /** Main wrote a batch of access lines. */
  logged(listener: string, length: number): void {
    this.#served.get(listener)?.access?.acknowledge(length);
  }

  /** Starts accepting on a socket of main's. */
  listen(listener: string, bind: string, socket: BoundSocket): void {
    this.#served.get(listener)?.listener.listen(bind, socket);
    this.#options.post({ kind: 'listening', listener, bind });
  }

  /** Where this thread accepts connections. */
  get places(): Place[] {
    return [...this.#served].flatMap(([name, { listener }]) =>
      listener.binds.map((bind) => ({ listener: name, bind })),
    );
  }

  /** Lets go of every listening server, for another thread to adopt: nothing that waits in them is lost. */
  letGo(): (Place & { readonly server: Server })[] {
    return this.places.flatMap(({ listener, bind }) =>
      this.#served
        .get(listener)!
        .listener.letGo(bind)
        .map((server) => ({ listener, bind, server })),
    );
  }

  /** Goes on with another thread's listening server. */
  adopt(listener: string, bind: string, server: Server): void {
    const served = this.#served.get(listener);
    if (served === undefined) {
      server.close();
      return;
    }
    served.listener.adopt(bind, server);
    this.#options.post({ kind: 'listening', listener, bind });
  }

  /** Serves a connection that was accepted elsewhere. */
  accept(listener: string, socket: Socket): void {
    const served = this.#served.get(listener);
    if (served === undefined) socket.destroy();
    else served.listener.accept(socket);
  }

  /** From now on: `connection: close`, accept until the queues are quiet, end what is idle; `drained` is posted when nothing is left. */
  drain(patienceMs = 0): void {
    this.#draining = true;
    this.#patienceMs = patienceMs;
    for (const { engine, listener } of this.#served.values()) {
      engine.drain();
      for (const bind of listener.binds) listener.stopSoon(bind);
    }
  }

  /** Ends every connection now. */
  cut(): void {
    for (const { engine, listener } of [...this.#served.values(), ...this.#leavingListeners]) {
      listener.stopAll();
      listener.tls?.cut();
      engine.cut();
    }
  }

  /** Stops the wheel; nothing is left that keeps the thread alive. */
  close(): void {
    clearInterval(this.#timer);
    this.#upstreams.close();
    for (const { access } of this.#served.values()) access?.flush();
  }

  #tick(): void {
    const now = performance.now();
    this.#options.heartbeats.beat(this.#row, this.#options.clock.now(), Math.max(0, now - this.#nextTickMs));
    // Behind the reads of this turn: after a stall of ours the answers lie in the sockets, and no timeout may be quicker than they are.
    setImmediate(this.#turnWheel);
    const nowMs = this.#options.clock.now();
    if (now - this.#nextTickMs > LAG_MS) for (const pool of this.#pools.values()) pool.hold(nowMs);
    for (const pool of this.#pools.values()) pool.tick(nowMs);
    for (const pool of this.#leavingPools) {
      pool.tick(nowMs);
      if (pool.isEmpty) this.#leavingPools.delete(pool);
    }
    for (const { access, sampler } of this.#served.values()) {
      access?.flush();
      sampler?.flush();
    }
    for (const { listener } of this.#served.values()) listener.tick(now);
    if (this.#leavingListeners.length > 0) this.#tickLeaving(now, nowMs);
    if (this.#draining) this.#tickDrain(nowMs);
  }

  /** After a stall the wheel catches up, so that no timeout gets longer than the stall itself. */
  readonly #turnWheel = (): void => {
    for (const now = performance.now(); this.#nextTickMs <= now; this.#nextTickMs += TICK_MS) this.#wheel.tick();
  };

  #tickLeaving(now: number, nowMs: number): void {
    for (const { engine, listener, access } of this.#leavingListeners) {
      listener.tick(now);
      setImmediate(() => engine.endIdle(nowMs));
      access?.flush();
    }
    this.#leavingListeners = this.#leavingListeners.filter(
      ({ engine, listener }) => engine.connections + listener.handshakes > 0 || listener.isListening,
    );
  }

  #tickDrain(nowMs: number): void {
    let open = 0;
    for (const { listener, engine } of this.#served.values()) {
      // Once the sockets have been read: what looks idle may have sent a request while this thread was busy.
      setImmediate(() => engine.endIdle(nowMs - this.#patienceMs));
      open += engine.connections + listener.handshakes + (listener.isListening ? 1 : 0);
    }
    if (open > 0 || this.#leavingListeners.length > 0 || this.#drainedTold) return;
    this.#drainedTold = true;
    this.#options.post({ kind: 'drained' });
  }
}

function trustList(networks: readonly string[]): BlockList | null {
  if (networks.length === 0) return null;
  const list = new BlockList();
  for (const network of networks) {
    const [address, bits] = network.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}
