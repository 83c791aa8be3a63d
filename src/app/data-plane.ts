import type { BoundSocket, Server, Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { FineTimers } from '../base/fine-timers.ts';
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
import { ProxyAcceptor } from '../listener/proxy-acceptor.ts';
import { TlsAcceptor } from '../listener/tls-acceptor.ts';
import { Pool, type PoolContext } from '../pool/pool.ts';
import { Http1Engine } from '../proxy/http1/engine.ts';
import { UpstreamConnections } from '../proxy/http1/upstream-connections.ts';
import { ListenerCells, REASONS } from '../proxy/listener-cells.ts';
import { Sockets } from '../proxy/sockets.ts';
import { TcpEngine } from '../proxy/tcp/engine.ts';
import { UniqueIds } from '../proxy/unique-ids.ts';
import { AccessLogBuffer } from '../telemetry/access-log-buffer.ts';
import { type RequestSample, RequestSampler, sampledNames } from '../telemetry/request-sampler.ts';
import { DatagramListeners } from './datagram-listeners.ts';
import { Dialers } from './dialers.ts';
import { http1Settings, networkList, type RouteParts, tcpSettings } from './engine-settings.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { Place } from './listener-set.ts';
import type { Configuration, FromWorker, WorkerListener } from './messages.ts';

/** Period of a worker's timer wheel: the resolution of every timeout of the data plane. */
export const TICK_MS = 50;
/** An event loop that comes so late blames nobody for what timed out meanwhile. */
const LAG_MS = 200;
const CONNECTIONS_REASON = REASONS.indexOf('connections');
const HANDSHAKE_REASON = REASONS.indexOf('tls-handshake');
const PROXY_REASON = REASONS.indexOf('proxy-protocol');

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
  readonly engine: Http1Engine | TcpEngine;
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
  readonly #fine: FineTimers;
  readonly #sockets: Sockets;
  readonly #upstreams: UpstreamConnections;
  readonly #dialers: Dialers;
  readonly #poolContext: PoolContext;
  readonly #pools = new Map<string, Pool>();
  readonly #served = new Map<string, Served>();
  /** Listeners and pools that left the document while something still ran on them. */
  #leavingListeners: Served[] = [];
  readonly #leavingPools = new Set<Pool>();
  readonly #routeParts: RouteParts;
  readonly datagrams: DatagramListeners;
  readonly #uniqueIds = new UniqueIds();
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
    this.#fine = new FineTimers(this.#clock);
    this.#sockets = new Sockets(this.#clock);
    this.#upstreams = new UpstreamConnections(this.#clock, this.#wheel, this.#sockets);
    this.#dialers = new Dialers(options.clock, (pool, endpoint, reason) =>
      options.post({ kind: 'tls-refused', pool, endpoint, reason }),
    );
    this.#poolContext = this.#makePoolContext();
    this.#routeParts = {
      rows: options.rows,
      poolOf: (name) => this.#pools.get(name)!,
      dialerOf: (name) => this.#dialers.of(name),
    };
    this.datagrams = new DatagramListeners({
      row: this.#row,
      clock: options.clock,
      wheel: this.#wheel,
      parts: this.#routeParts,
      isFull: () => this.#isFull(),
      onListening: (listener, bind, error) => {
        if (error === null) options.post({ kind: 'listening', listener, bind });
        else options.post({ kind: 'listen-failed', listener, bind, message: error.message });
      },
    });
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
    const streams = configuration.listeners.filter(({ options }) => options.protocol !== 'udp');
    const protocols = new Map(streams.map(({ options }) => [options.name, options.protocol]));
    const leaving = [...this.#served].filter(([name, { options }]) => protocols.get(name) !== options.protocol);
    for (const [name] of leaving) this.#served.delete(name);
    for (const one of streams) this.#configureListener(one, configuration);
    this.datagrams.configure(
      configuration.listeners.filter(({ options }) => options.protocol === 'udp'),
      (listener, cells) => this.#access(listener, cells, configuration),
    );
    for (const [, served] of leaving) {
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
    const known = this.#served.get(options.name);
    if (known === undefined) return this.#addListener(one, configuration);
    this.#useSettings(known.engine, one);
    this.#configureTls(known, options, configuration);
    this.#configureProxies(known, options);
    known.listener.limits = this.#limits(one, known.listener.limits.clients);
    known.options = options;
    known.access?.flush();
    known.access = this.#access(options.name, known.listener.cells, configuration);
    known.sampler?.flush();
    known.sampler = this.#sampler(options, known.access, configuration);
    if (known.engine instanceof TcpEngine) known.engine.access = known.access;
    else known.engine.access = known.sampler ?? known.access;
  }

  #addListener(one: WorkerListener, configuration: Configuration): void {
    const { options } = one;
    const cells = new ListenerCells(this.#options.rows, one.cells);
    const access = this.#access(options.name, cells, configuration);
    const sampler = this.#sampler(options, access, configuration);
    const engine = this.#makeEngine(one, cells, access, sampler);
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
    this.#configureProxies(served, options);
    this.#served.set(options.name, served);
  }

  #makeEngine(
    one: WorkerListener,
    cells: ListenerCells,
    access: AccessLogBuffer | null,
    sampler: RequestSampler | null,
  ): Served['engine'] {
    const context = {
      row: this.#row,
      clock: this.#clock,
      random: this.#options.random,
      wheel: this.#wheel,
      upstreams: this.#upstreams,
      fine: this.#fine,
      sockets: this.#sockets,
      uniqueIds: this.#uniqueIds,
    };
    if (one.options.protocol === 'tcp')
      return new TcpEngine(tcpSettings(one, this.#routeParts), cells, context, access);
    return new Http1Engine(http1Settings(one, this.#routeParts), cells, context, sampler ?? access);
  }

  #useSettings(engine: Served['engine'], one: WorkerListener): void {
    if (engine instanceof TcpEngine) engine.settings = tcpSettings(one, this.#routeParts);
    else engine.settings = http1Settings(one, this.#routeParts);
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
      secured: (socket, secured, proxied) => engine.accept(socket, secured, proxied),
    });
    listener.tls.handshakeMs = timeouts.head ?? 0;
    const protocols = engine instanceof TcpEngine ? engine.settings.table.protocols : ['http/1.1'];
    listener.tls.configure(tls, ticketKeys, protocols);
  }

  #configureProxies({ listener }: Served, { proxyProtocol, timeouts }: ListenerOptions): void {
    const from = networkList(proxyProtocol?.from ?? []);
    listener.isProxied = from !== null;
    if (from === null) return;
    const { cells } = listener;
    const row = this.#row;
    listener.proxies ??= new ProxyAcceptor(from, this.#wheel, {
      began: () => cells.handshakeBegan(row),
      ended: () => cells.handshakeEnded(row),
      failed: () => cells.rejected(row, PROXY_REASON),
      accepted: (socket, header) => listener.begin(socket, header),
    });
    listener.proxies.from = from;
    listener.proxies.preambleMs = timeouts.head ?? 0;
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
    let open = this.datagrams.sessions;
    for (const { listener } of this.#served.values()) open += listener.cells.connectionsActive;
    // One that changed its protocol counts in the same cells.
    for (const { listener, options } of this.#leavingListeners)
      if (this.#served.get(options.name)?.listener.cells.buffer !== listener.cells.buffer)
        open += listener.cells.connectionsActive;
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
    (this.#served.get(listener)?.access ?? this.datagrams.accessOf(listener))?.acknowledge(length);
  }

  /** Starts accepting on a socket of main's. */
  listen(listener: string, bind: string, socket: BoundSocket): void {
    this.#served.get(listener)?.listener.listen(bind, socket);
    this.#options.post({ kind: 'listening', listener, bind });
  }

  /** Where this thread accepts connections. */
  get places(): Place[] {
    return [...this.#served].flatMap(([name, { listener }]) =>
      listener.binds.map((bind): Place => ({ listener: name, bind, transport: 'tcp' })),
    );
  }

  /** Lets go of every listening server, for another thread to adopt: nothing that waits in them is lost. */
  letGo(): (Place & { readonly server: Server })[] {
    return this.places.flatMap(({ listener, bind, transport }) =>
      this.#served
        .get(listener)!
        .listener.letGo(bind)
        .map((server) => ({ listener, bind, transport, server })),
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
    this.datagrams.drain();
    for (const { engine, listener } of this.#served.values()) {
      engine.drain();
      for (const bind of listener.binds) listener.stopSoon(bind);
    }
  }

  /** Ends every connection now. */
  cut(): void {
    this.datagrams.cut();
    for (const { engine, listener } of [...this.#served.values(), ...this.#leavingListeners]) {
      listener.stopAll();
      listener.proxies?.cut();
      listener.tls?.cut();
      engine.cut();
    }
  }

  /** Stops the wheel; nothing is left that keeps the thread alive. */
  close(): void {
    clearInterval(this.#timer);
    this.#upstreams.close();
    this.datagrams.flush();
    this.#fine.close();
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
    for (const { listener, engine } of this.#served.values()) {
      listener.tick(now);
      if (engine instanceof TcpEngine) engine.tick(nowMs);
    }
    this.datagrams.tick(nowMs);
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
      if (engine instanceof TcpEngine) engine.tick(nowMs);
      setImmediate(() => engine.endIdle(nowMs));
      access?.flush();
    }
    this.#leavingListeners = this.#leavingListeners.filter(
      ({ engine, listener }) => engine.connections + listener.handshakes > 0 || listener.isListening,
    );
  }

  #tickDrain(nowMs: number): void {
    let open = this.datagrams.isActive ? 1 : 0;
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
