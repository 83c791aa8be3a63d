import type { Socket } from 'node:net';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Outcome } from '../../endpoint/outcome.ts';
import type { Pool } from '../../pool/pool.ts';
import { RetryOn } from '../../pool/retry.ts';
import { METHOD_LABELS } from '../../routing/route-cells.ts';
import { sessionStatusOf } from '../../routing/session-status.ts';
import type { ProxyHeader } from '../../wire/proxy-protocol.ts';
import { HelloStatus, TlsHello } from '../../wire/tls-hello.ts';
import { hashOfClient } from '../client-hash.ts';
import { REASONS, type Reason } from '../listener-cells.ts';
import { clientAddressOf, prefaceFor } from '../proxied.ts';
import type { Secured } from '../secured.ts';
import type { SessionRecord } from '../session-record.ts';
import { SocketReader } from '../socket-reader.ts';
import { SocketWriter } from '../socket-writer.ts';
import { Deadline, Wait } from './deadline.ts';
import { EndpointSearch, type Searcher } from './endpoint-search.ts';
import type { TcpEngine, TcpRoute, TcpSettings } from './engine.ts';
import { Lifespan } from './lifespan.ts';
import { type AttemptOwner, TcpAttempt } from './tcp-attempt.ts';

const State = { HELLO: 0, WAITING: 1, DIALLING: 2, OPEN: 3, CLOSED: 4 } as const;
type State = (typeof State)[keyof typeof State];

const OTHER_METHOD = METHOD_LABELS.indexOf('other');

/** Bytes of the client that are read before there is an endpoint to take them; past it reading stops. */
const READ_AHEAD = 64 * 1024;
/** An endpoint that ended its side has answered: a client that says nothing more for this long is not waited for. */
const ENDPOINT_DONE_MS = 60_000;
/** How long a side may take to fetch the last bytes of a connection that is ended for its age. */
const LAST_BYTES_MS = 10_000;

/**
 * One client's connection and the endpoint's it is relayed to: takes an endpoint, dials, tries another while nothing was sent, then carries bytes and
 * ends both ways. Made per accepted connection; told by its two sockets, its deadline and its search for an endpoint.
 */
export class TcpConnection implements SessionRecord, Searcher, AttemptOwner {
  readonly protocol = 'tcp';
  serverName = '';
  reason: Reason | 'client-gone' | '' = '';
  bytesIn = 0;
  bytesOut = 0;
  attempts = 0;
  queueMs = -1;
  totalMs = 0;
  readonly #engine: TcpEngine;
  readonly #settings: TcpSettings;
  readonly #client: Socket;
  readonly #reader: SocketReader;
  readonly #writer: SocketWriter;
  readonly #secured: Secured | null;
  readonly #proxied: ProxyHeader | null;
  readonly #deadline: Deadline;
  readonly #arrivalMs: number;
  readonly #lifespan = new Lifespan();
  #route: TcpRoute | null = null;
  #state: State = State.WAITING;
  #search: EndpointSearch | null = null;
  /** The last one. */
  #attempt: TcpAttempt | null = null;
  #touchedMs = 0;
  /** What came before there was an endpoint to take it. */
  #ahead: Buffer | null = null;
  #isClientDone = false;
  #isUpstreamDone = false;
  /** Why, when both sides have ended in order. */
  #endReason: 'age' | '' = '';

  constructor(client: Socket, engine: TcpEngine, secured: Secured | null, proxied: ProxyHeader | null) {
    const { clock, sockets, wheel } = engine.context;
    this.#client = client;
    this.#engine = engine;
    this.#settings = engine.settings;
    this.#secured = secured;
    this.#arrivalMs = clock.now();
    this.#proxied = proxied;
    // The socket keeps what it was asked once; who has gone has no address any more.
    if (engine.access !== null) clientAddressOf(client, proxied);
    this.#deadline = new Deadline(wheel, (wait) => this.#onDue(wait));
    // A client that half-closes a TLS connection still wants its answer.
    client.allowHalfOpen = true;
    client.on('error', () => {});
    client.on('close', () => this.#onClientClose());
    client.on('end', () => this.#onClientEnd());
    this.#reader = new SocketReader(sockets, (bytes) => this.#onClientBytes(bytes));
    this.#writer = new SocketWriter(client, sockets, secured === null, () => this.#attempt?.socket.resume());
  }

  /** A system call, which a connection that is neither hashed nor logged does without. */
  get clientAddress(): string {
    return clientAddressOf(this.#client, this.#proxied);
  }

  get listenerName(): string {
    return this.#settings.listenerName;
  }

  get routeName(): string {
    return this.#route?.name ?? '';
  }

  get poolName(): string {
    return this.#route?.pool.name ?? '';
  }

  get endpointId(): string {
    return this.#attempt?.endpoint.id ?? '';
  }

  get connectMs(): number {
    return this.#attempt?.connectMs ?? -1;
  }

  get responseMs(): number {
    return this.#attempt?.responseMs ?? -1;
  }

  /** Called once, when the engine knows it. */
  start(): void {
    const { table, timeouts } = this.#settings;
    const secured = this.#secured;
    const isHello = secured === null && table.readsHello;
    if (isHello) {
      this.#state = State.HELLO;
      this.#deadline.arm(Wait.HELLO, timeouts.head);
    }
    // From the start, so that the end of a client is noticed at any time.
    this.#reader.open(this.#client, secured === null);
    if (isHello) return;
    this.serverName = secured?.serverName ?? '';
    this.#begin(secured === null ? 0 : table.find(secured.serverName, [secured.protocol]));
  }

  #begin(route: number): void {
    if (route < 0) return this.#refuse('no-route');
    this.#route = this.#settings.routes[route];
    const { pool } = this.#route;
    pool.countRequest();
    const hash = pool.hashOn === null ? 0 : hashOfClient(pool.hashOn, this.clientAddress);
    this.#search = new EndpointSearch(pool, hash, this.#engine.context.clock, this);
    this.#search.start();
  }

  /** What does not begin with a TLS hello goes where a client without a name goes. */
  #readHello(bytes: Buffer): void {
    const hello = new TlsHello();
    if (hello.read(bytes) === HelloStatus.INCOMPLETE) return;
    this.serverName = hello.serverName;
    this.#state = State.WAITING;
    this.#deadline.disarm();
    this.#begin(this.#settings.table.find(hello.serverName, hello.protocols));
  }

  onQueued(): void {
    this.#deadline.arm(Wait.PENDING, this.#pool.options.limits.pendingTimeout);
  }

  onNoEndpoint(reason: 'no-endpoint' | 'limit'): void {
    this.#refuse(reason);
  }

  onEndpoint(endpoint: Endpoint, nowMs: number): void {
    const route = this.#route as TcpRoute;
    if (this.attempts === 0) this.queueMs = nowMs - this.#arrivalMs;
    this.attempts++;
    this.#state = State.DIALLING;
    const { sockets } = this.#engine.context;
    this.#attempt = new TcpAttempt(endpoint, route, this, { sockets, nowMs, preface: this.#preface() });
    this.#deadline.arm(Wait.CONNECT, route.pool.options.timeouts.connect);
  }

  #preface(): Buffer | null {
    const version = this.#pool.options.proxyProtocol;
    if (version === null) return null;
    const { serverName } = this;
    const uniqueId = this.#engine.context.uniqueIds.next();
    return prefaceFor(version, this.#secured?.transport ?? this.#client, this.#proxied, { serverName, uniqueId });
  }

  onConnected(): void {
    if (this.#state !== State.DIALLING) return;
    const { clock, random } = this.#engine.context;
    const attempt = this.#attempt as TcpAttempt;
    const nowMs = clock.now();
    this.#state = State.OPEN;
    this.#touchedMs = nowMs;
    attempt.connected(nowMs);
    this.#lifespan.begin(this.#pool, nowMs, random);
    const { response } = this.#pool.options.timeouts;
    if (response !== null) this.#deadline.arm(Wait.FIRST, response);
    else this.#deadline.arm(Wait.IDLE, this.#idleMs);
    if (this.#ahead !== null) this.#sendAhead(attempt);
    if (this.#isClientDone) attempt.socket.end();
  }

  #sendAhead(attempt: TcpAttempt): void {
    const ahead = this.#ahead as Buffer;
    this.#ahead = null;
    this.#count(ahead.length, attempt);
    attempt.writer.write(ahead);
    if (attempt.writer.isFull) this.#client.pause();
    else if (ahead.length >= READ_AHEAD) this.#client.resume();
  }

  #onClientBytes(bytes: Buffer): void {
    if (this.#state !== State.OPEN) return this.#hold(bytes);
    if (this.#isClientDone) return;
    const attempt = this.#attempt as TcpAttempt;
    this.#count(bytes.length, attempt);
    attempt.writer.writeBehind(this.#engine.writer, bytes, 0, bytes.length, this.#reader);
    if (attempt.writer.isFull) this.#client.pause();
  }

  #hold(bytes: Buffer): void {
    if (this.#state === State.CLOSED) return;
    const ahead = this.#ahead === null ? Buffer.copyBytesFrom(bytes) : Buffer.concat([this.#ahead, bytes]);
    this.#ahead = ahead;
    if (ahead.length >= READ_AHEAD) this.#client.pause();
    if (this.#state === State.HELLO) this.#readHello(ahead);
  }

  #count(bytes: number, attempt: TcpAttempt): void {
    const { cells, context } = this.#engine;
    const nowMs = context.clock.now();
    this.bytesIn += bytes;
    cells.bytesIn(context.row, bytes);
    this.#touchedMs = nowMs;
    attempt.asked(nowMs);
  }

  onUpstreamBytes(bytes: Buffer): void {
    if (this.#isUpstreamDone) return;
    const { cells, context, writer } = this.#engine;
    const attempt = this.#attempt as TcpAttempt;
    this.#touchedMs = context.clock.now();
    if (attempt.answered(this.#touchedMs)) this.#deadline.arm(Wait.IDLE, this.#idleMs);
    this.bytesOut += bytes.length;
    cells.bytesOut(context.row, bytes.length);
    this.#writer.writeBehind(writer, bytes, 0, bytes.length, attempt.reader);
    if (this.#writer.isFull) attempt.socket.pause();
  }

  onUpstreamDrain(): void {
    this.#client.resume();
  }

  /** The client sends no more; what the endpoint still has to say goes on. */
  #onClientEnd(): void {
    this.#isClientDone = true;
    if (this.#state === State.HELLO) this.#abort(Outcome.CLIENT_GONE, 'client-gone');
    else if (this.#state === State.OPEN) this.#attempt?.end(this.#isUpstreamDone);
  }

  onUpstreamEnd(): void {
    if (this.#state !== State.OPEN) return;
    this.#isUpstreamDone = true;
    if (this.#isClientDone && this.#secured === null && this.#writer.isEmpty) this.#client.destroy();
    else this.#client.end();
    if (this.#endReason !== 'age') this.#deadline.arm(Wait.IDLE, this.#idleMs);
  }

  #onClientClose(): void {
    if (this.#state === State.CLOSED) return;
    // Both sides ended: what the endpoint has not fetched yet is still going out.
    if (!this.#isClientDone || !this.#isUpstreamDone) this.#abort(Outcome.CLIENT_GONE, 'client-gone');
    else if (this.#attempt === null || this.#attempt.isGone) this.#finish(this.#endReason);
  }

  onUpstreamClose(): void {
    if (this.#state === State.DIALLING) return this.#onDialFailed();
    if (this.#isUpstreamDone && this.#isClientDone) {
      this.#release(Outcome.OK);
      if (this.#client.destroyed) this.#finish(this.#endReason);
    } else if (this.bytesIn + this.bytesOut === 0) {
      this.#retryOrRefuse(Outcome.RESET, RetryOn.RESET, 'reset');
    } else {
      this.#abort(Outcome.RESET, 'reset');
    }
  }

  #onDialFailed(): void {
    const attempt = this.#attempt as TcpAttempt;
    if (!attempt.isLocalFault) return this.#retryOrRefuse(Outcome.CONNECT_FAILED, RetryOn.CONNECT, 'connect-failed');
    attempt.cancel();
    this.#refuse('limit');
  }

  /** Nothing was sent and nothing came: another endpoint may have the connection. */
  #retryOrRefuse(outcome: Outcome, bit: number, reason: Reason): void {
    const search = this.#search as EndpointSearch;
    const { endpoint } = this.#attempt as TcpAttempt;
    this.#release(outcome);
    if (!search.mayRetry(this.attempts, bit)) return this.#refuse(reason);
    this.#state = State.WAITING;
    this.#isUpstreamDone = false;
    search.again(endpoint);
  }

  #release(outcome: Outcome): void {
    this.#attempt?.release(outcome, this.#engine.context.clock.now());
  }

  #refuse(reason: Reason): void {
    this.#engine.cells.rejected(this.#engine.context.row, REASONS.indexOf(reason));
    this.#finish(reason);
  }

  /** One side failed or is given up: the other one sees a reset, for its bytes may not look whole. */
  #abort(outcome: Outcome, reason: Reason | 'client-gone'): void {
    this.#search?.leave();
    this.#release(outcome);
    this.#finish(reason);
  }

  #finish(reason: Reason | 'client-gone' | ''): void {
    const { context, access } = this.#engine;
    const isClean = reason === this.#endReason;
    this.#state = State.CLOSED;
    this.#ahead = null;
    this.#deadline.disarm();
    this.#attempt?.drop();
    if (!isClean) (this.#secured?.transport ?? this.#client).resetAndDestroy();
    this.#client.destroy();
    this.reason = reason;
    this.totalMs = context.clock.now() - this.#arrivalMs;
    this.#route?.cells.count(context.row, OTHER_METHOD, sessionStatusOf(reason), this.totalMs);
    access?.recordSession(this);
    this.#engine.closed(this);
  }

  /** Ends it now, whatever it is doing. */
  cut(): void {
    if (this.#state !== State.CLOSED) this.#abort(Outcome.CLIENT_GONE, 'draining');
  }

  /** Called about once a second. */
  sweep(nowMs: number): void {
    const attempt = this.#attempt;
    if (this.#state !== State.OPEN || attempt === null || attempt.isReleased) return;
    const verdict = this.#lifespan.verdict(this.#pool, attempt.endpoint, nowMs);
    if (verdict === 'age') this.#endOfAge(attempt);
    else if (verdict === 'removed') this.#abort(Outcome.CLIENT_GONE, 'removed');
  }

  /** Both sides get what was read for them, then an end in order: clients of long connections take it as a reason to come back. */
  #endOfAge(attempt: TcpAttempt): void {
    this.#endReason = 'age';
    this.#isClientDone = true;
    this.#isUpstreamDone = true;
    attempt.socket.end();
    this.#client.end();
    this.#deadline.arm(Wait.AGE, LAST_BYTES_MS);
  }

  #onDue(wait: Wait): void {
    switch (wait) {
      case Wait.PENDING:
        this.#search?.leave();
        this.#refuse('pending-timeout');
        break;
      case Wait.HELLO:
        this.#refuse('head-timeout');
        break;
      case Wait.CONNECT:
        this.#attempt?.drop();
        this.#retryOrRefuse(Outcome.TIMED_OUT, RetryOn.CONNECT, 'connect-timeout');
        break;
      case Wait.FIRST:
        // Many protocols only ever go one way: nothing is held against an endpoint that does not speak.
        this.#attempt?.settle(Outcome.CLIENT_GONE, this.#touchedMs);
        this.#deadline.arm(Wait.IDLE, this.#idleMs);
        break;
      case Wait.IDLE:
        this.#onIdle();
        break;
      case Wait.AGE:
        this.#abort(Outcome.OK, 'age');
        break;
    }
  }

  get #idleMs(): number {
    const { idle } = this.#settings.timeouts;
    if (!this.#isUpstreamDone) return idle;
    return idle > 0 ? Math.min(idle, ENDPOINT_DONE_MS) : ENDPOINT_DONE_MS;
  }

  /** It is armed once and not at every byte: when it is due it is armed anew for what is left. */
  #onIdle(): void {
    const leftMs = this.#touchedMs + this.#idleMs - this.#engine.context.clock.now();
    if (leftMs > 0) return this.#deadline.arm(Wait.IDLE, leftMs);
    this.#abort(Outcome.CLIENT_GONE, 'idle-timeout');
  }

  get #pool(): Pool {
    return (this.#route as TcpRoute).pool;
  }
}
