import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Pool } from '../../pool/pool.ts';
import type { RouteCells } from '../../routing/route-cells.ts';
import type { TlsRoutes } from '../../routing/tls-routes.ts';
import type { ProxyHeader } from '../../wire/proxy-protocol.ts';
import { ByteWriter } from '../byte-writer.ts';
import type { UpstreamDialer } from '../http1/upstream-dialer.ts';
import type { ListenerCells } from '../listener-cells.ts';
import type { Secured } from '../secured.ts';
import type { SessionSink } from '../session-record.ts';
import type { Sockets } from '../sockets.ts';
import type { UniqueIds } from '../unique-ids.ts';
import { TcpConnection } from './tcp-connection.ts';

/** A route with what it needs at run time. */
export interface TcpRoute {
  readonly name: string;
  readonly pool: Pool;
  readonly dialer: UpstreamDialer;
  readonly cells: RouteCells;
}

/** What a TCP listener is to its connections. Replaced as a whole by a reload: a connection goes on with the settings it began with. */
export interface TcpSettings {
  readonly listenerName: string;
  /** By index, what `routes` holds. */
  readonly table: TlsRoutes;
  readonly routes: readonly TcpRoute[];
  /** ms; 0 = none. `head`: a TLS hello that decides on the route; `idle`: without bytes either way. */
  readonly timeouts: { readonly head: number; readonly idle: number };
}

/** What a worker shares among its TCP listeners. */
export interface TcpContext {
  /** This worker's row in shared memory. */
  readonly row: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly sockets: Sockets;
  readonly uniqueIds: UniqueIds;
}

/** How often connections are held against `maxAge` and `onRemoval` of their pools. */
const SWEEP_MS = 1000;

/** Relays TCP connections for one listener in one worker. The listener hands it accepted sockets. */
export class TcpEngine {
  readonly context: TcpContext;
  readonly cells: ListenerCells;
  settings: TcpSettings;
  /** Null when no access log is kept. */
  access: SessionSink | null;
  /** What is relayed goes through it where it must be copied: one for all connections. */
  readonly writer = new ByteWriter();
  readonly #connections = new Set<TcpConnection>();
  #sweptMs = 0;

  constructor(settings: TcpSettings, cells: ListenerCells, context: TcpContext, access: SessionSink | null) {
    this.settings = settings;
    this.cells = cells;
    this.context = context;
    this.access = access;
  }

  /** Connections open in this worker. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Takes an accepted socket; `secured` when it is a TLS one whose handshake is through. */
  accept(socket: Socket, secured: Secured | null = null, proxied: ProxyHeader | null = null): void {
    this.cells.opened(this.context.row);
    const connection = new TcpConnection(socket, this, secured, proxied);
    this.#connections.add(connection);
    connection.start();
  }

  /** The listener is at a limit. There is no way to say so but a reset. */
  refuse(socket: Socket): void {
    socket.on('error', () => {});
    socket.resetAndDestroy();
  }

  /** A connection is gone. */
  closed(connection: TcpConnection): void {
    if (this.#connections.delete(connection)) this.cells.closed(this.context.row);
  }

  /** Nothing to say to a client: what is open goes on until its sides end it, or `cut`. */
  drain(): void {}

  endIdle(): void {}

  /** Called at every wheel tick. */
  tick(nowMs: number): void {
    if (nowMs - this.#sweptMs < SWEEP_MS) return;
    this.#sweptMs = nowMs;
    for (const connection of this.#connections) connection.sweep(nowMs);
  }

  /** Ends every connection now. */
  cut(): void {
    for (const connection of this.#connections) connection.cut();
  }
}
