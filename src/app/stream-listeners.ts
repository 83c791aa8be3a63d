import type { BoundSocket, Server, Socket } from 'node:net';
import { parseHostPort } from '../base/literals.ts';
import { isSecretKey } from '../config/secrets.ts';
import { ClientCounts } from '../listener/client-counts.ts';
import { type ConnectionLimits, Listener } from '../listener/listener.ts';
import type { ListenerOptions } from '../listener/options.ts';
import { ProxyAcceptor } from '../listener/proxy-acceptor.ts';
import { TlsAcceptor } from '../listener/tls-acceptor.ts';
import { type EngineContext, Http1Engine } from '../proxy/http1/engine.ts';
import { ListenerCells, REASONS } from '../proxy/listener-cells.ts';
import { type TcpContext, TcpEngine } from '../proxy/tcp/engine.ts';
import type { AccessLogBuffer } from '../telemetry/access-log-buffer.ts';
import { type RequestSample, RequestSampler, sampledNames } from '../telemetry/request-sampler.ts';
import { http1Settings, networkList, type RouteParts, tcpSettings } from './engine-settings.ts';
import type { Place } from './listener-set.ts';
import type { Configuration, FromWorker, WorkerListener } from './messages.ts';

const CONNECTIONS_REASON = REASONS.indexOf('connections');
const HANDSHAKE_REASON = REASONS.indexOf('tls-handshake');
const PROXY_REASON = REASONS.indexOf('proxy-protocol');

interface Served {
  readonly listener: Listener;
  readonly engine: Http1Engine | TcpEngine;
  access: AccessLogBuffer | null;
  sampler: RequestSampler | null;
  options: ListenerOptions;
}

/** What a worker's HTTP and TCP listeners need of it. */
export interface StreamContext {
  readonly engines: EngineContext & TcpContext;
  readonly parts: RouteParts;
  readonly isFull: () => boolean;
  /** Where a listener's access lines go; null when none are kept. */
  readonly access: (listener: string, cells: ListenerCells, configuration: Configuration) => AccessLogBuffer | null;
  readonly post: (message: FromWorker) => void;
}

/** The HTTP and TCP listeners of one worker: which there are, what each is set to, and those that left the document while connections went on. */
export class StreamListeners {
  readonly #context: StreamContext;
  readonly #row: number;
  readonly #served = new Map<string, Served>();
  #leaving: Served[] = [];

  constructor(context: StreamContext) {
    this.#context = context;
    this.#row = context.engines.row;
  }

  /** Swaps a document in; connections go on. The pools that its routes lead to are there. */
  configure(configuration: Configuration): void {
    const streams = configuration.listeners.filter(({ options }) => options.protocol !== 'udp');
    const protocols = new Map(streams.map(({ options }) => [options.name, options.protocol]));
    const leaving = [...this.#served].filter(([name, { options }]) => protocols.get(name) !== options.protocol);
    for (const [name] of leaving) this.#served.delete(name);
    for (const one of streams) this.#configure(one, configuration);
    for (const [, served] of leaving) {
      this.#leaveAddresses(served, []);
      served.engine.drain();
      this.#leaving.push(served);
    }
    for (const served of this.#served.values()) this.#leaveAddresses(served, served.options.bind);
  }

  #configure(one: WorkerListener, configuration: Configuration): void {
    const { options } = one;
    const known = this.#served.get(options.name);
    if (known === undefined) return this.#add(one, configuration);
    this.#useSettings(known.engine, one);
    this.#configureTls(known, options, configuration);
    this.#configureProxies(known, options);
    known.listener.limits = this.#limits(one, known.listener.limits.clients);
    known.options = options;
    known.access?.flush();
    known.access = this.#context.access(options.name, known.listener.cells, configuration);
    known.sampler?.flush();
    known.sampler = this.#sampler(options, known.access, configuration);
    if (known.engine instanceof TcpEngine) known.engine.access = known.access;
    else known.engine.access = known.sampler ?? known.access;
  }

  #add(one: WorkerListener, configuration: Configuration): void {
    const { options } = one;
    const cells = new ListenerCells(this.#context.parts.rows, one.cells);
    const access = this.#context.access(options.name, cells, configuration);
    const sampler = this.#sampler(options, access, configuration);
    const engine = this.#makeEngine(one, cells, access, sampler);
    const listener = new Listener(
      options.name,
      cells,
      engine,
      this.#limits(one, null),
      () => cells.rejected(this.#row, CONNECTIONS_REASON),
      (error) =>
        this.#context.post({ kind: 'listen-failed', listener: options.name, bind: '', message: error.message }),
    );
    const served: Served = { listener, engine, access, sampler, options };
    this.#configureTls(served, options, configuration);
    this.#configureProxies(served, options);
    this.#useSettings(engine, one);
    this.#served.set(options.name, served);
  }

  #makeEngine(
    one: WorkerListener,
    cells: ListenerCells,
    access: AccessLogBuffer | null,
    sampler: RequestSampler | null,
  ): Served['engine'] {
    const { engines, parts } = this.#context;
    if (one.options.protocol === 'tcp') return new TcpEngine(tcpSettings(one, parts), cells, engines, access);
    return new Http1Engine(http1Settings(one, parts), cells, engines, sampler ?? access);
  }

  #useSettings(engine: Served['engine'], one: WorkerListener): void {
    const { parts } = this.#context;
    if (engine instanceof TcpEngine) {
      engine.settings = tcpSettings(one, parts);
      return;
    }
    const { rehearsal } = one;
    engine.settings = http1Settings(one, parts);
    engine.rehearse(rehearsal === null ? null : http1Settings(rehearsal, parts), rehearsal?.share ?? 0);
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
    listener.tls ??= new TlsAcceptor(name, this.#context.engines.wheel, {
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
    listener.proxies ??= new ProxyAcceptor(from, this.#context.engines.wheel, {
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
    const { parts, isFull } = this.#context;
    return {
      connections: limits.connections ?? 0,
      perClient: limits.connectionsPerClient ?? 0,
      clients: clients === null || known?.buffer === clients ? known : new ClientCounts(parts.rows, clients),
      row: this.#row,
      processIsFull: isFull,
    };
  }

  /** Stands before the access log where requests are sampled. */
  #sampler(
    { routes }: ListenerOptions,
    next: AccessLogBuffer | null,
    { sample: every }: Configuration,
  ): RequestSampler | null {
    if (every === null) return null;
    const send = (samples: readonly RequestSample[]) => this.#context.post({ kind: 'sampled', samples });
    return new RequestSampler({ every, names: sampledNames(routes, isSecretKey), next, send });
  }

  /** Starts accepting on a socket of main's. */
  listen(listener: string, bind: string, socket: BoundSocket): void {
    this.#served.get(listener)?.listener.listen(bind, socket);
    this.#context.post({ kind: 'listening', listener, bind });
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

  /** Lets go of one server of every address that has several here. */
  letGoSpare(): (Place & { readonly server: Server })[] {
    return this.places.flatMap((place) => {
      const server = this.#served.get(place.listener)!.listener.letGoSpare(place.bind);
      return server === null ? [] : [{ ...place, server }];
    });
  }

  /** Goes on with another thread's listening server. */
  adopt(listener: string, bind: string, server: Server): void {
    const served = this.#served.get(listener);
    if (served === undefined) {
      server.close();
      return;
    }
    served.listener.adopt(bind, server);
    this.#context.post({ kind: 'listening', listener, bind });
  }

  /** Serves a connection that was accepted elsewhere. */
  accept(listener: string, socket: Socket): void {
    const served = this.#served.get(listener);
    if (served === undefined) socket.destroy();
    else served.listener.accept(socket);
  }

  /** Connections counted on all listeners, those of other workers too. */
  get connections(): number {
    let sum = 0;
    for (const { listener } of this.#served.values()) sum += listener.cells.connectionsActive;
    // One that changed its protocol counts in the same cells.
    for (const { listener, options } of this.#leaving)
      if (this.#served.get(options.name)?.listener.cells.buffer !== listener.cells.buffer)
        sum += listener.cells.connectionsActive;
    return sum;
  }

  /** Whether something of this worker's still runs or listens. */
  get isActive(): boolean {
    return [...this.#served.values(), ...this.#leaving].some(isActive);
  }

  accessOf(listener: string): AccessLogBuffer | null {
    return (
      (this.#served.get(listener) ?? this.#leaving.find(({ options }) => options.name === listener))?.access ?? null
    );
  }

  /** `now`: of `performance`; `nowMs`: of the clock. */
  tick(now: number, nowMs: number): void {
    for (const { listener, engine, access, sampler } of this.#served.values()) {
      access?.flush();
      sampler?.flush();
      listener.tick(now);
      if (engine instanceof TcpEngine) engine.tick(nowMs);
    }
    if (this.#leaving.length > 0) this.#tickLeaving(now, nowMs);
  }

  #tickLeaving(now: number, nowMs: number): void {
    for (const { engine, listener, access } of this.#leaving) {
      listener.tick(now);
      if (engine instanceof TcpEngine) engine.tick(nowMs);
      setImmediate(() => engine.endIdle(nowMs));
      access?.flush();
    }
    this.#leaving = this.#leaving.filter(isActive);
  }

  /** Accept until the queues are quiet, and tell clients that it ends. */
  drain(): void {
    for (const { engine, listener } of this.#served.values()) {
      engine.drain();
      for (const bind of listener.binds) listener.stopSoon(bind);
    }
  }

  /** Called at every wheel tick while draining: ends what has been idle since `nowMs`, less the engine's own patience. */
  endIdle(nowMs: number): void {
    // Once the sockets have been read: what looks idle may have sent a request while this thread was busy.
    for (const { engine } of this.#served.values()) setImmediate(() => engine.endIdle(nowMs));
  }

  cut(): void {
    for (const { engine, listener } of [...this.#served.values(), ...this.#leaving]) {
      listener.stopAll();
      listener.proxies?.cut();
      listener.tls?.cut();
      engine.cut();
    }
  }

  flush(): void {
    for (const { access } of this.#served.values()) access?.flush();
  }
}

function isActive({ engine, listener }: Served): boolean {
  return engine.connections + listener.handshakes > 0 || listener.isListening;
}
