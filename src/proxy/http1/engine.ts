import type { BlockList, Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { FineTimers } from '../../base/fine-timers.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Middleware } from '../../middleware/exchange.ts';
import type { Pool } from '../../pool/pool.ts';
import type { RouteCells } from '../../routing/route-cells.ts';
import type { RouteTable } from '../../routing/route-table.ts';
import type { HeadLimits } from '../../wire/http1/head-status.ts';
import type { ProxyHeader } from '../../wire/proxy-protocol.ts';
import type { AccessSink } from '../access-sink.ts';
import { ByteWriter } from '../byte-writer.ts';
import type { ListenerCells } from '../listener-cells.ts';
import type { Secured } from '../secured.ts';
import type { Sockets } from '../sockets.ts';
import type { UniqueIds } from '../unique-ids.ts';
import { ClientConnection } from './client-connection.ts';
import { Http1Exchange } from './http1-exchange.ts';
import type { Refusals } from './refusals.ts';
import type { UpstreamConnections } from './upstream-connections.ts';
import type { UpstreamDialer } from './upstream-dialer.ts';
import type { Via } from './via.ts';

/** A route with what it needs at run time. `index` in the table is the index in this list. */
export interface BoundRoute {
  readonly name: string;
  readonly pool: Pool;
  readonly dialer: UpstreamDialer;
  readonly cells: RouteCells;
  readonly stages: readonly Middleware[];
  /** Whether CONNECT opens a tunnel to one of the pool's endpoints. */
  readonly connect: boolean;
}

/** Of the client side, 0 = none: the engine's own ceilings hold for the head; extensions and trailers are then refused. */
export interface Http1Limits {
  readonly head: number;
  readonly headers: number;
  readonly target: number;
  readonly body: number;
  /** Bytes a second. */
  readonly bodyRate: number;
  readonly chunkExtensions: number;
  readonly trailers: number;
}

/** What an HTTP listener is to its connections. Replaced as a whole by a reload: a request goes on with the settings it began with. */
export interface Http1Settings {
  readonly listenerName: string;
  readonly table: RouteTable;
  readonly routes: readonly BoundRoute[];
  /** Peers whose X-Forwarded-* and Forwarded are believed; null when there are none. */
  readonly trusted: BlockList | null;
  /** Null where the listener does not show itself in Via. */
  readonly via: Via | null;
  /** ms; 0 = none. */
  readonly timeouts: { readonly head: number; readonly body: number; readonly idle: number; readonly tunnel: number };
  readonly limits: Http1Limits;
}

/** What a worker shares among all its listeners. */
export interface EngineContext {
  /** This worker's row in shared memory. */
  readonly row: number;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly fine: FineTimers;
  readonly upstreams: UpstreamConnections;
  readonly sockets: Sockets;
  readonly uniqueIds: UniqueIds;
  readonly refusals: Refusals;
}

/** The engine's own ceilings where the document sets no limit. */
const HEAD_MAX = 64 * 1024;
const HEADERS_MAX = 1000;
/** Exchanges that are kept for the next requests. */
const SPARE = 256;
/** Lots of connections are below; by steps of the golden section each falls into the largest gap. */
const LOTS = 65_536;
const LOT_STEP = 40_503;
/** A request that idled this long while draining has not been sent: nothing is lost by ending the connection. */
const DRAIN_IDLE_MS = 1000;

/** Carries HTTP/1.1 for one listener in one worker. The listener hands it accepted sockets. */
export class Http1Engine {
  readonly context: EngineContext;
  readonly cells: ListenerCells;
  #settings: Http1Settings;
  /** Null when no access log is kept. */
  access: AccessSink | null;
  draining = false;
  /** Heads and bodies are put together here before they are written; what is begun is taken in the same turn. */
  readonly requestWriter = new ByteWriter();
  readonly responseWriter = new ByteWriter();
  /** What heads of requests are held to. */
  headLimits: HeadLimits;
  readonly #connections = new Set<ClientConnection>();
  readonly #spare: Http1Exchange[] = [];
  #lot = 0;
  /** For connections with a lot below `#rehearsing`; null for none. */
  #rehearsed: Http1Settings | null = null;
  #rehearsedLimits: HeadLimits;
  #rehearsing = 0;

  constructor(settings: Http1Settings, cells: ListenerCells, context: EngineContext, access: AccessSink | null) {
    this.#settings = settings;
    this.headLimits = headLimits(settings);
    this.#rehearsedLimits = this.headLimits;
    this.access = access;
    this.cells = cells;
    this.context = context;
  }

  get settings(): Http1Settings {
    return this.#settings;
  }

  /** A reload. */
  set settings(settings: Http1Settings) {
    this.#settings = settings;
    this.headLimits = headLimits(settings);
  }

  /** For one request of `client`, which gives it back. */
  lend(client: ClientConnection): Http1Exchange {
    const exchange = this.#spare.pop() ?? new Http1Exchange(client);
    exchange.client = client;
    exchange.head.limits = client.settings === this.#rehearsed ? this.#rehearsedLimits : this.headLimits;
    return exchange;
  }

  takeBack(exchange: Http1Exchange): void {
    if (exchange.hasWaited || this.#spare.length === SPARE) return;
    exchange.head.reset();
    this.#spare.push(exchange);
  }

  /** Connections open in this worker. */
  get connections(): number {
    return this.#connections.size;
  }

  /** A share (0…1) of the connections has other settings from its next request on; null: none has. */
  rehearse(settings: Http1Settings | null, share: number): void {
    this.#rehearsed = settings;
    if (settings !== null) this.#rehearsedLimits = headLimits(settings);
    this.#rehearsing = share * LOTS;
  }

  /** A connection keeps its lot. They are spread evenly: a share of few connections is that share, too. */
  drawLot(): number {
    this.#lot = (this.#lot + LOT_STEP) % LOTS;
    return this.#lot;
  }

  settingsFor(lot: number): Http1Settings {
    return this.#rehearsed === null || lot >= this.#rehearsing ? this.#settings : this.#rehearsed;
  }

  /** Takes an accepted socket; `secured` when it is a TLS one whose handshake is through. */
  accept(socket: Socket, secured: Secured | null = null, proxied: ProxyHeader | null = null): void {
    this.cells.opened(this.context.row);
    this.#connections.add(new ClientConnection(socket, this, secured, proxied));
  }

  /** Answers 503 and closes: the listener is at a limit. */
  refuse(socket: Socket): void {
    this.context.refusals.refuse(socket);
  }

  /** A connection is gone. */
  closed(connection: ClientConnection): void {
    if (this.#connections.delete(connection)) this.cells.closed(this.context.row);
  }

  /** From now on every response says `connection: close`, and connections end when they have been idle for a second. */
  drain(): void {
    this.draining = true;
  }

  /** Called at every wheel tick while draining. */
  endIdle(nowMs: number): void {
    for (const connection of this.#connections) connection.endIfIdle(nowMs - DRAIN_IDLE_MS);
  }

  /** Ends every connection now, whatever it is doing. */
  cut(): void {
    for (const connection of this.#connections) connection.cut();
  }
}

function headLimits({ limits }: Http1Settings): HeadLimits {
  const headBytes = limits.head > 0 ? limits.head : HEAD_MAX;
  return {
    headBytes,
    headers: limits.headers > 0 ? limits.headers : HEADERS_MAX,
    target: limits.target > 0 ? limits.target : headBytes,
  };
}
