import { type BoundSocket, createServer, type Server, type Socket } from 'node:net';
import type { ListenerCells } from '../proxy/listener-cells.ts';
import { clientAddressOf } from '../proxy/proxied.ts';
import type { Secured } from '../proxy/secured.ts';
import type { ProxyHeader } from '../wire/proxy-protocol.ts';
import type { ClientCounts } from './client-counts.ts';
import type { ProxyAcceptor } from './proxy-acceptor.ts';
import type { TlsAcceptor } from './tls-acceptor.ts';

/** What carries the bytes of a listener's connections: the HTTP/1.1 engine now, others later. */
export interface Engine {
  readonly connections: number;
  /** `secured` is null in plain text, `proxied` without a PROXY protocol header. */
  accept(socket: Socket, secured: Secured | null, proxied: ProxyHeader | null): void;
  /** The listener is at a limit: says so to the client and closes. */
  refuse(socket: Socket): void;
  drain(): void;
  endIdle(nowMs: number): void;
  cut(): void;
}

/** Ceilings that are looked at for every connection. */
export interface ConnectionLimits {
  /** Of this listener, over all workers; 0 = none. */
  readonly connections: number;
  /** Of one client address, over all workers; 0 = none. */
  readonly perClient: number;
  /** Where they are counted; null where nothing is. */
  readonly clients: ClientCounts | null;
  /** This worker's row in it. */
  readonly row: number;
  /** Whether the process is at its own ceiling (`runtime.connections`). */
  readonly processIsFull: () => boolean;
}

/** Connections the kernel holds for us until we accept them. */
const BACKLOG = 4096;

/** An accept queue without a new connection for this long is empty. */
const QUIET_MS = 50;
/** An address that is given up is closed after this long even while connections come. */
const GIVE_UP_MS = 1000;
/** Turns of the loop that are looked at for one that brings no connection. */
const EMPTY_TRIES = 1000;

/** A server that is closed as soon as its queue is empty. */
interface Closing {
  readonly server: Server;
  readonly sinceMs: number;
  /** Its time has come: the next turn that brings no connection closes it. */
  isDue: boolean;
}

/** One listener in one worker: accepts on its sockets and hands connections to the engine. */
export class Listener {
  readonly name: string;
  readonly cells: ListenerCells;
  readonly engine: Engine;
  limits: ConnectionLimits;
  /** Stays when TLS is switched off: handshakes that began are ended. */
  tls: TlsAcceptor | null = null;
  isSecure = false;
  /** Stays when the PROXY protocol is switched off: headers under way are read to their end, or cut. */
  proxies: ProxyAcceptor | null = null;
  /** Who connects must say for whom. */
  isProxied = false;
  /** performance.now() of the last connection: while draining, a quiet accept queue is an empty one. */
  lastAcceptMs = 0;
  /** By address; more than one where the sockets of a worker that left came here. */
  readonly #servers = new Map<string, Server[]>();
  #closing: Closing[] = [];
  readonly #rejected: (reason: 'connections') => void;
  readonly #onListenError: (error: Error) => void;
  readonly #take = (client: Socket) => this.#onConnection(client);

  constructor(
    name: string,
    cells: ListenerCells,
    engine: Engine,
    limits: ConnectionLimits,
    rejected: (reason: 'connections') => void,
    onListenError: (error: Error) => void,
  ) {
    this.name = name;
    this.cells = cells;
    this.engine = engine;
    this.limits = limits;
    this.#rejected = rejected;
    this.#onListenError = onListenError;
  }

  /** Starts accepting on a socket that main has bound. */
  listen(bind: string, socket: BoundSocket): void {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    this.#add(bind, server);
    server.listen(socket, BACKLOG);
  }

  /**
   * Goes on with a server that was let go of, here, in another thread or in another process. Wrapped anew: on the way from a process the server loses what
   * it was made with, and its backlog falls to 511 on any way.
   */
  adopt(bind: string, inherited: Server): void {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    this.#add(bind, server);
    server.listen(inherited, BACKLOG);
  }

  /** Serves a connection that was accepted elsewhere. */
  accept(client: Socket): void {
    client.allowHalfOpen = true;
    client.setNoDelay(true);
    this.#onConnection(client);
  }

  #add(bind: string, server: Server): void {
    server.on('connection', this.#take);
    server.on('error', this.#onListenError);
    const known = this.#servers.get(bind);
    if (known === undefined) this.#servers.set(bind, [server]);
    else known.push(server);
  }

  /** Lets go of the servers of one address without closing them: the connections that wait in them belong to whoever adopts them. */
  letGo(bind: string): readonly Server[] {
    const servers = this.#servers.get(bind) ?? [];
    this.#servers.delete(bind);
    for (const server of servers) this.#forget(server);
    return servers;
  }

  /** Lets go of one of several servers of one address; null where there is no more than one. */
  letGoSpare(bind: string): Server | null {
    const servers = this.#servers.get(bind) ?? [];
    if (servers.length < 2) return null;
    const spare = servers.pop()!;
    this.#forget(spare);
    return spare;
  }

  #forget(server: Server): void {
    server.off('connection', this.#take);
    server.off('error', this.#onListenError);
  }

  get binds(): readonly string[] {
    return [...this.#servers.keys()];
  }

  /** Stops accepting on one address; connections that are open go on. */
  stopListening(bind: string): void {
    for (const server of this.#servers.get(bind) ?? []) server.close();
    this.#servers.delete(bind);
  }

  /** Stops accepting on one address when its queue is quiet, at the latest after a second: who waits there is served. */
  stopSoon(bind: string): void {
    const servers = this.#servers.get(bind) ?? [];
    this.#servers.delete(bind);
    const nowMs = performance.now();
    for (const server of servers) this.#closing.push({ server, sinceMs: nowMs, isDue: false });
  }

  /** Whether it accepts anywhere, on addresses that are given up too. */
  get isListening(): boolean {
    return this.#servers.size > 0 || this.#closing.length > 0;
  }

  /** Called at every wheel tick. */
  tick(nowMs: number): void {
    for (const closing of this.#closing) {
      const isQuiet = nowMs - Math.max(closing.sinceMs, this.lastAcceptMs) >= QUIET_MS;
      if (closing.isDue || (!isQuiet && nowMs - closing.sinceMs < GIVE_UP_MS)) continue;
      closing.isDue = true;
      this.#closeWhenEmpty(closing, EMPTY_TRIES);
    }
  }

  /** Closes right after a turn of the loop that brought no connection: hardly anyone can have come to the queue since. */
  #closeWhenEmpty(closing: Closing, triesLeft: number): void {
    const acceptMs = this.lastAcceptMs;
    setImmediate(() => {
      if (this.lastAcceptMs !== acceptMs && triesLeft > 0) return this.#closeWhenEmpty(closing, triesLeft - 1);
      closing.server.close();
      this.#closing = this.#closing.filter((one) => one !== closing);
    });
  }

  stopAll(): void {
    for (const bind of this.binds) this.stopListening(bind);
    for (const { server } of this.#closing) server.close();
    this.#closing = [];
  }

  #onConnection(client: Socket): void {
    this.lastAcceptMs = performance.now();
    const { connections, processIsFull } = this.limits;
    if (processIsFull() || (connections > 0 && this.cells.connectionsActive >= connections))
      return this.#refuse(client);
    if (this.isProxied && this.proxies !== null) this.proxies.accept(client);
    else this.begin(client, null);
  }

  /** A connection whose client is known: the one that a balancer in front speaks for, not the balancer, is counted. */
  begin(client: Socket, proxied: ProxyHeader | null): void {
    const { perClient, clients } = this.limits;
    if (perClient > 0 && clients !== null && !this.#countClient(client, proxied, perClient, clients))
      return this.#refuse(client);
    if (this.isSecure && this.tls !== null) this.tls.accept(client, proxied);
    else this.engine.accept(client, null, proxied);
  }

  /** Connections of which nothing but a PROXY protocol header or a handshake is known yet. */
  get handshakes(): number {
    return (this.tls?.handshakes ?? 0) + (this.proxies?.waiting ?? 0);
  }

  /** Over TLS the answer would cost a handshake: that is what the limit is there to save. */
  #refuse(client: Socket): void {
    this.#rejected('connections');
    if (this.isSecure) client.destroy();
    else this.engine.refuse(client);
  }

  #countClient(client: Socket, proxied: ProxyHeader | null, limit: number, clients: ClientCounts): boolean {
    const { row } = this.limits;
    const address = clientAddressOf(client, proxied);
    if (clients.of(address) >= limit) return false;
    if (clients.opened(row, address)) client.once('close', () => clients.closed(row, address));
    return true;
  }
}
