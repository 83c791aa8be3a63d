import type { Socket } from 'node:net';
import { jittered } from '../../base/random.ts';
import { WheelTimer } from '../../base/timer-wheel.ts';
import { Down } from '../../endpoint/down.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Tried } from '../../endpoint/endpoint-set.ts';
import { Outcome } from '../../endpoint/outcome.ts';
import { type PendingPlace, type Pool, type PoolWaiter, Refusal } from '../../pool/pool.ts';
import { RetryOn, retryReason } from '../../pool/retry.ts';
import { METHOD_LABELS } from '../../routing/route-cells.ts';
import { sessionStatusOf } from '../../routing/session-status.ts';
import type { ProxyHeader } from '../../wire/proxy-protocol.ts';
import { HelloStatus, TlsHello } from '../../wire/tls-hello.ts';
import { hashOfClient } from '../client-hash.ts';
import { REASONS, type Reason } from '../listener-cells.ts';
import { isLocalError } from '../local-error.ts';
import { clientAddressOf, prefaceFor } from '../proxied.ts';
import type { Secured } from '../secured.ts';
import type { SessionRecord } from '../session-record.ts';
import type { TcpEngine, TcpRoute, TcpSettings } from './engine.ts';
import { dialRelay, type UpstreamReader } from './relay-dialer.ts';

const State = { HELLO: 0, WAITING: 1, DIALLING: 2, OPEN: 3, CLOSED: 4 } as const;
type State = (typeof State)[keyof typeof State];

const OTHER_METHOD = METHOD_LABELS.indexOf('other');

/** What the timer waits for. */
const Wait = { NONE: 0, PENDING: 1, CONNECT: 2, FIRST: 3, IDLE: 4, AGE: 5, HELLO: 6 } as const;
type Wait = (typeof Wait)[keyof typeof Wait];

/** A read that fills so much of the shared buffer is part of a bulk transfer: the connection gets a buffer of its own, which need not be copied out of. */
const BULK_BYTES = 48 * 1024;
const OWN_BYTES = 128 * 1024;
/** A read below this ends the bulk transfer. */
const SMALL_BYTES = 16 * 1024;
/** An endpoint that ended its side has answered: a client that says nothing more for this long is not waited for. */
const ENDPOINT_DONE_MS = 60_000;
/** How far the age at which a connection is ended varies, so that those opened together do not end together. */
const AGE_JITTER = 0.1;
/** How long a side may take to fetch the last bytes of a connection that is ended for its age. */
const LAST_BYTES_MS = 10_000;
/** An endpoint that is down for one of these is not coming back for its connections; one that is drained is. */
const GONE = Down.PROBE | Down.EJECTED | Down.REGISTRY | Down.ADMIN;

/**
 * One client's connection and the endpoint's it is relayed to: takes an endpoint, dials, tries another while nothing was sent, then carries bytes and
 * ends both ways. Made per accepted connection; told by its two sockets, its timer and the pool's queue.
 */
export class TcpConnection implements PoolWaiter, SessionRecord, UpstreamReader {
  readonly protocol = 'tcp';
  readonly clientAddress: string;
  serverName = '';
  reason: Reason | 'client-gone' | '' = '';
  endpointId = '';
  bytesIn = 0;
  bytesOut = 0;
  attempts = 0;
  queueMs = -1;
  connectMs = -1;
  responseMs = -1;
  totalMs = 0;
  readonly #engine: TcpEngine;
  readonly #settings: TcpSettings;
  readonly #client: Socket;
  readonly #secured: Secured | null;
  readonly #proxied: ProxyHeader | null;
  readonly #timer: WheelTimer;
  readonly #arrivalMs: number;
  readonly #tried = new Tried();
  #route: TcpRoute | null = null;
  #state: State = State.WAITING;
  #wait: Wait = Wait.NONE;
  #place: PendingPlace | null = null;
  #endpoint: Endpoint | null = null;
  #upstream: Socket | null = null;
  /** The TCP connection below `#upstream`, or the very same: only there a reset can be sent. */
  #transport: Socket | null = null;
  #isLocalFault = false;
  #startedMs = 0;
  /** When the client said its first word to this endpoint; 0 before. */
  #askedMs = 0;
  /** The pool has heard how the endpoint took to answer. */
  #isSettled = false;
  #touchedMs = 0;
  /** What came while the route was not known: the hello, and what followed it in the same read. */
  #ahead: Buffer | null = null;
  #isReading = false;
  #isClientDone = false;
  #isUpstreamDone = false;
  /** Clock ms at which the connection is ended for its age; Infinity for never. */
  #endsMs = Infinity;
  /** Why, when both sides have ended in order. */
  #endReason: 'age' | '' = '';
  /** Since when the endpoint is gone; 0 while it is not. */
  #goneSinceMs = 0;
  /** Where bulk transfers are read to, and where the next read of the upstream socket goes. */
  #ownBuffer: Buffer | null = null;
  #readBuffer: Buffer | null = null;

  constructor(client: Socket, engine: TcpEngine, secured: Secured | null, proxied: ProxyHeader | null) {
    this.#client = client;
    this.#engine = engine;
    this.#settings = engine.settings;
    this.#secured = secured;
    this.#arrivalMs = engine.context.clock.now();
    this.#proxied = proxied;
    this.clientAddress = clientAddressOf(client, proxied);
    this.#timer = new WheelTimer(() => this.#onTimer());
    // A client that half-closes a TLS connection still wants its answer.
    client.allowHalfOpen = true;
    client.on('error', () => {});
    client.on('close', () => this.#onClientClose());
    // An end with no byte before it is told even while nobody reads.
    client.on('end', () => this.#onClientEnd());
    client.on('drain', () => this.#upstream?.resume());
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

  /** Called once, when the engine knows it. */
  start(): void {
    const { table, timeouts } = this.#settings;
    const secured = this.#secured;
    if (secured !== null) {
      this.serverName = secured.serverName;
      this.#begin(table.find(secured.serverName, [secured.protocol]));
    } else if (table.readsHello) {
      this.#state = State.HELLO;
      this.#arm(Wait.HELLO, timeouts.head > 0 ? timeouts.head : null);
      this.#read();
    } else {
      this.#begin(0);
    }
  }

  #begin(route: number): void {
    if (route < 0) return this.#refuse('no-route');
    this.#route = this.#settings.routes[route];
    this.#route.pool.countRequest();
    this.#acquire();
  }

  /** What does not begin with a TLS hello goes where a client without a name goes. */
  #onHelloBytes(bytes: Buffer): void {
    this.#ahead = this.#ahead === null ? bytes : Buffer.concat([this.#ahead, bytes]);
    const hello = new TlsHello();
    if (hello.read(this.#ahead) === HelloStatus.INCOMPLETE) return;
    this.serverName = hello.serverName;
    this.#state = State.WAITING;
    this.#arm(Wait.NONE, null);
    this.#client.pause();
    this.#begin(this.#settings.table.find(hello.serverName, hello.protocols));
  }

  #read(): void {
    if (!this.#isReading) this.#client.on('data', (bytes: Buffer) => this.#onClientBytes(bytes));
    this.#isReading = true;
    this.#client.resume();
  }

  // --- an endpoint ---------------------------------------------------------------------------------------------------------------

  #acquire(): void {
    const pool = this.#pool;
    const nowMs = this.#engine.context.clock.now();
    const endpoint = pool.acquire(this.#hash(pool), this.#tried, nowMs);
    if (endpoint !== null) return this.#dial(endpoint, nowMs);
    if (pool.refusal === Refusal.EMPTY) return this.#refuse('no-endpoint');
    this.#place = pool.enqueue(this, this.#tried.size > 0);
    if (this.#place === null) return this.#refuse('limit');
    this.#arm(Wait.PENDING, pool.options.limits.pendingTimeout);
  }

  onTurn(): boolean {
    const pool = this.#pool;
    const nowMs = this.#engine.context.clock.now();
    const endpoint = pool.acquire(this.#hash(pool), this.#tried, nowMs);
    if (endpoint === null && pool.refusal === Refusal.FULL) return false;
    // The pool takes the place back once this returns true.
    this.#place = null;
    if (endpoint === null) this.#refuse('no-endpoint');
    else this.#dial(endpoint, nowMs);
    return true;
  }

  #hash({ hashOn }: Pool): number {
    return hashOn === null ? 0 : hashOfClient(hashOn, this.clientAddress);
  }

  #dial(endpoint: Endpoint, nowMs: number): void {
    const route = this.#route as TcpRoute;
    if (this.attempts === 0) this.queueMs = nowMs - this.#arrivalMs;
    this.attempts++;
    this.#endpoint = endpoint;
    this.endpointId = endpoint.id;
    this.#startedMs = nowMs;
    this.#state = State.DIALLING;
    this.#isLocalFault = false;
    this.#readBuffer = null;
    this.connectMs = -1;
    const { socket, transport } = dialRelay(endpoint, route.dialer, this, this.#preface());
    this.#upstream = socket;
    this.#transport = transport;
    socket.on(route.dialer.readyEvent, () => this.#onConnected());
    socket.on('end', () => this.#onUpstreamEnd(socket));
    socket.on('drain', () => this.#client.resume());
    socket.on('error', (error) => {
      this.#isLocalFault = isLocalError(error);
    });
    socket.on('close', () => this.#onUpstreamClose(socket));
    this.#arm(Wait.CONNECT, route.pool.options.timeouts.connect);
  }

  #preface(): Buffer | null {
    const version = this.#pool.options.proxyProtocol;
    if (version === null) return null;
    const { serverName } = this;
    const uniqueId = this.#engine.context.uniqueIds.next();
    return prefaceFor(version, this.#secured?.transport ?? this.#client, this.#proxied, { serverName, uniqueId });
  }

  #onConnected(): void {
    if (this.#state !== State.DIALLING) return;
    const { clock, random } = this.#engine.context;
    const { maxAge, timeouts } = this.#pool.options;
    const nowMs = clock.now();
    this.#state = State.OPEN;
    this.#touchedMs = nowMs;
    this.connectMs = nowMs - this.#startedMs;
    this.#pool.connected(this.#endpoint as Endpoint, this.#startedMs);
    if (maxAge !== null) this.#endsMs = nowMs + jittered(random, maxAge, AGE_JITTER);
    this.#arm(Wait.FIRST, timeouts.response);
    const ahead = this.#ahead;
    this.#ahead = null;
    if (ahead !== null) this.#send(ahead);
    if (this.#isClientDone) this.#upstream?.end();
    this.#read();
  }

  // --- bytes ---------------------------------------------------------------------------------------------------------------------

  #onClientBytes(bytes: Buffer): void {
    if (this.#state === State.HELLO) this.#onHelloBytes(bytes);
    else if (!this.#isClientDone) this.#send(bytes);
  }

  #send(bytes: Buffer): void {
    const upstream = this.#upstream;
    if (upstream === null) return;
    const { cells, context } = this.#engine;
    const nowMs = context.clock.now();
    this.bytesIn += bytes.length;
    cells.bytesIn(context.row, bytes.length);
    this.#touchedMs = nowMs;
    if (!this.#isSettled && this.#askedMs === 0) {
      this.#askedMs = nowMs;
      this.#pool.asked(this.#endpoint as Endpoint, nowMs);
    }
    if (!upstream.write(bytes)) this.#client.pause();
  }

  nextBuffer(): Uint8Array | null {
    const next = this.#ownBuffer ?? this.#engine.readBuffer;
    if (next === this.#readBuffer) return null;
    this.#readBuffer = next;
    return next;
  }

  onUpstreamBytes(bytes: Buffer, count: number, isOwned: boolean): void {
    const { cells, context } = this.#engine;
    const client = this.#client;
    this.#touchedMs = context.clock.now();
    if (!this.#isSettled) this.#onFirstByte(this.#touchedMs);
    this.bytesOut += count;
    cells.bytesOut(context.row, count);
    if (isOwned) client.write(bytes);
    else if (bytes === this.#ownBuffer) this.#writeOwn(bytes, count);
    else this.#writeCopy(bytes, count);
    if (client.writableNeedDrain) this.#upstream?.pause();
  }

  #writeCopy(bytes: Buffer, count: number): void {
    const copy = Buffer.allocUnsafe(count);
    bytes.copy(copy, 0, 0, count);
    this.#client.write(copy);
    if (count >= BULK_BYTES) this.#ownBuffer = Buffer.allocUnsafeSlow(OWN_BYTES);
  }

  /** What the kernel took whole needs its buffer no more. Otherwise the socket keeps it until it is written, and the next read goes elsewhere. */
  #writeOwn(bytes: Buffer, count: number): void {
    this.#client.write(bytes.subarray(0, count));
    if (count < SMALL_BYTES) this.#ownBuffer = null;
    else if (this.#client.writableLength > 0) this.#ownBuffer = Buffer.allocUnsafeSlow(OWN_BYTES);
  }

  #onFirstByte(nowMs: number): void {
    const endpoint = this.#endpoint as Endpoint;
    if (this.#askedMs === 0) {
      this.#askedMs = nowMs;
      this.#pool.asked(endpoint, nowMs);
      this.responseMs = nowMs - this.#startedMs;
    } else {
      this.responseMs = this.connectMs + nowMs - this.#askedMs;
    }
    this.#isSettled = true;
    this.#pool.answered(endpoint, Outcome.OK, this.#askedMs, this.responseMs);
    this.#armIdle();
  }

  // --- ends ----------------------------------------------------------------------------------------------------------------------

  /** The client sends no more; what the endpoint still has to say goes on. */
  #onClientEnd(): void {
    this.#isClientDone = true;
    if (this.#state === State.HELLO) this.#abort(Outcome.CLIENT_GONE, 'client-gone');
    else if (this.#state === State.OPEN) this.#upstream?.end();
  }

  #onUpstreamEnd(socket: Socket): void {
    if (this.#upstream !== socket || this.#state !== State.OPEN) return;
    this.#isUpstreamDone = true;
    this.#client.end();
    this.#armIdle();
  }

  #onClientClose(): void {
    if (this.#state === State.CLOSED) return;
    // Both sides ended: what the endpoint has not fetched yet is still going out.
    if (this.#isClientDone && this.#isUpstreamDone) {
      if (this.#upstream === null) this.#finish(this.#endReason);
      return;
    }
    this.#abort(Outcome.CLIENT_GONE, 'client-gone');
  }

  #onUpstreamClose(socket: Socket): void {
    if (this.#upstream !== socket) return;
    if (this.#state === State.DIALLING) return this.#onDialFailed();
    if (this.#isUpstreamDone && this.#isClientDone) {
      this.#upstream = null;
      this.#release(Outcome.OK);
      if (this.#client.destroyed) this.#finish(this.#endReason);
    } else if (this.bytesIn + this.bytesOut === 0) {
      this.#upstream = null;
      this.#retryOrRefuse(Outcome.RESET, RetryOn.RESET, 'reset');
    } else {
      this.#abort(Outcome.RESET, 'reset');
    }
  }

  #onDialFailed(): void {
    this.#upstream = null;
    if (!this.#isLocalFault) return this.#retryOrRefuse(Outcome.CONNECT_FAILED, RetryOn.CONNECT, 'connect-failed');
    this.#pool.cancel(this.#endpoint as Endpoint, this.#startedMs);
    this.#endpoint = null;
    this.#refuse('limit');
  }

  /** Nothing was sent and nothing came: another endpoint may have the connection. */
  #retryOrRefuse(outcome: Outcome, bit: number, reason: Reason): void {
    const pool = this.#pool;
    const failed = this.#endpoint as Endpoint;
    this.#release(outcome);
    const isAllowed = (pool.retryOn & bit) !== 0 && this.attempts <= (pool.options.retry?.attempts ?? 0);
    if (!isAllowed || !pool.takeRetry(retryReason(bit))) return this.#refuse(reason);
    this.#startOver();
    this.#tried.add(failed);
    this.#acquire();
  }

  /** Back to before an endpoint was there: what the client sends meanwhile waits in its socket. */
  #startOver(): void {
    this.#state = State.WAITING;
    this.#isSettled = false;
    this.#isUpstreamDone = false;
    this.#askedMs = 0;
    this.#client.pause();
  }

  /** Lets go of the endpoint; tells the pool how it answered if it has not heard yet. */
  #release(outcome: Outcome): void {
    const endpoint = this.#endpoint;
    if (endpoint === null) return;
    const pool = this.#pool;
    const nowMs = this.#engine.context.clock.now();
    this.#endpoint = null;
    if (!this.#isSettled) this.#settle(endpoint, outcome, nowMs);
    const latencyMs = this.responseMs >= 0 ? this.responseMs : nowMs - this.#startedMs;
    pool.release(endpoint, outcome, this.connectMs >= 0 && this.responseMs < 0 ? this.connectMs : latencyMs);
  }

  /** No first byte came. One that took the connection and ended it in order has done what was asked. */
  #settle(endpoint: Endpoint, outcome: Outcome, nowMs: number): void {
    this.#isSettled = true;
    if (this.connectMs < 0) return this.#pool.answered(endpoint, outcome, this.#startedMs, nowMs - this.#startedMs);
    if (this.#askedMs === 0) this.#pool.asked(endpoint, nowMs);
    this.#pool.answered(endpoint, outcome, this.#askedMs || nowMs, this.connectMs);
  }

  #refuse(reason: Reason): void {
    this.#engine.cells.rejected(this.#engine.context.row, REASONS.indexOf(reason));
    this.#finish(reason);
  }

  /** One side failed or is given up: the other one sees a reset, for its bytes may not look whole. */
  #abort(outcome: Outcome, reason: Reason | 'client-gone'): void {
    if (this.#place !== null) this.#pool.leaveQueue(this.#place);
    this.#release(outcome);
    this.#finish(reason);
  }

  #finish(reason: Reason | 'client-gone' | ''): void {
    const { context, access } = this.#engine;
    const isClean = reason === this.#endReason;
    this.#state = State.CLOSED;
    context.wheel.disarm(this.#timer);
    this.#dropUpstream();
    if (!isClean) (this.#secured?.transport ?? this.#client).resetAndDestroy();
    this.#client.destroy();
    this.reason = reason;
    this.totalMs = context.clock.now() - this.#arrivalMs;
    this.#route?.cells.count(context.row, OTHER_METHOD, sessionStatusOf(reason), this.totalMs);
    access?.recordSession(this);
    this.#engine.closed(this);
  }

  /** A socket that is still being dialled would put its reset off until it is connected. */
  #dropUpstream(): void {
    const upstream = this.#upstream;
    if (upstream === null) return;
    this.#upstream = null;
    if (!upstream.connecting) this.#transport?.resetAndDestroy();
    upstream.destroy();
  }

  /** Ends it now, whatever it is doing. */
  cut(): void {
    if (this.#state !== State.CLOSED) this.#abort(Outcome.CLIENT_GONE, 'draining');
  }

  // --- time ----------------------------------------------------------------------------------------------------------------------

  /** Called about once a second. */
  sweep(nowMs: number): void {
    if (this.#state !== State.OPEN || this.#endpoint === null) return;
    if (nowMs >= this.#endsMs) return this.#endOfAge();
    const { onRemoval } = this.#pool.options;
    if (onRemoval === null) return;
    if (!this.#isGone(this.#endpoint)) this.#goneSinceMs = 0;
    else if (this.#goneSinceMs === 0) this.#goneSinceMs = nowMs;
    if (this.#goneSinceMs > 0 && nowMs - this.#goneSinceMs >= onRemoval) this.#abort(Outcome.CLIENT_GONE, 'removed');
  }

  /** In panic health is not believed: new connections go to the endpoint, so old ones may stay. */
  #isGone(endpoint: Endpoint): boolean {
    return !this.#pool.has(endpoint) || ((endpoint.down & GONE) !== 0 && !this.#pool.panic);
  }

  /** Both sides get what was read for them, then an end in order: clients of long connections take it as a reason to come back. */
  #endOfAge(): void {
    this.#endsMs = Infinity;
    this.#endReason = 'age';
    this.#isClientDone = true;
    this.#isUpstreamDone = true;
    this.#upstream?.end();
    this.#client.end();
    this.#arm(Wait.AGE, LAST_BYTES_MS);
  }

  #onTimer(): void {
    const wait = this.#wait;
    this.#wait = Wait.NONE;
    switch (wait) {
      case Wait.PENDING:
        this.#pool.leaveQueue(this.#place as PendingPlace);
        this.#refuse('pending-timeout');
        break;
      case Wait.HELLO:
        this.#refuse('head-timeout');
        break;
      case Wait.CONNECT:
        this.#dropUpstream();
        this.#retryOrRefuse(Outcome.TIMED_OUT, RetryOn.CONNECT, 'connect-timeout');
        break;
      case Wait.FIRST:
        // Many protocols only ever go one way: nothing is held against an endpoint that does not speak.
        if (!this.#isSettled && this.#endpoint !== null)
          this.#settle(this.#endpoint, Outcome.CLIENT_GONE, this.#touchedMs);
        this.#armIdle();
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

  /** The timer is armed once and not at every byte: when it is due it is armed anew for what is left. */
  #armIdle(): void {
    this.#arm(Wait.IDLE, this.#idleMs > 0 ? this.#idleMs : null);
  }

  #onIdle(): void {
    const leftMs = this.#touchedMs + this.#idleMs - this.#engine.context.clock.now();
    if (leftMs > 0) return this.#arm(Wait.IDLE, leftMs);
    this.#abort(Outcome.CLIENT_GONE, 'idle-timeout');
  }

  #arm(wait: Wait, ms: number | null): void {
    this.#wait = ms === null ? Wait.NONE : wait;
    if (ms === null) this.#engine.context.wheel.disarm(this.#timer);
    else this.#engine.context.wheel.arm(this.#timer, ms);
  }

  get #pool(): Pool {
    return (this.#route as TcpRoute).pool;
  }
}
