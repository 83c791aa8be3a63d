import { WheelTimer } from '../../base/timer-wheel.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Tried } from '../../endpoint/endpoint-set.ts';
import { Outcome } from '../../endpoint/outcome.ts';
import type { Affinity } from '../../pool/affinity.ts';
import { type PendingPlace, type Pool, type PoolWaiter, Refusal } from '../../pool/pool.ts';
import { outcomeOfStatus, RetryOn, retryBitOfStatus, retryReason, STALE_CONNECTION } from '../../pool/retry.ts';
import { Field } from '../../wire/http1/field.ts';
import type { ResponseHead } from '../../wire/http1/head-reader.ts';
import { isIdempotent, Method } from '../../wire/http1/method.ts';
import type { Reason } from '../listener-cells.ts';
import type { ClientConnection } from './client-connection.ts';
import type { Http1Engine } from './engine.ts';
import type { Http1Exchange } from './http1-exchange.ts';
import { REPLAY_MAX, RequestBody } from './request-body.ts';
import { hashOfRequest } from './request-hash.ts';
import { writeRequestHead } from './request-head.ts';
import { NO_BYTES } from './request-view.ts';
import { Failure, type UpstreamConnection, type UpstreamOwner } from './upstream-connection.ts';
import type { UpstreamDialer } from './upstream-dialer.ts';

/** What the attempt timer waits for. */
const Wait = { NONE: 0, CONNECT: 1, RESPONSE: 2, BETWEEN: 3, PENDING: 4 } as const;
type Wait = (typeof Wait)[keyof typeof Wait];

/** A connection idle for longer than this waits one turn before it is used, so that its end is noticed if it came meanwhile. */
const LOOK_FIRST_MS = 1000;

/**
 * The attempts of one exchange: takes endpoints, sends the request, hands the response to the client, tries again by one rule. One per client
 * connection, used again for every request. Tells the exchange when it is over, by `fail` or `end`.
 */
export class Forwarding implements UpstreamOwner, PoolWaiter {
  attempts = 0;
  endpointId = '';
  /** Phases in ms, -1 where there was none: see AccessRecord. */
  queueMs = -1;
  connectMs = -1;
  responseMs = -1;
  /** The response head went to the client. */
  responded = false;
  readonly #exchange: Http1Exchange;
  readonly #client: ClientConnection;
  readonly #engine: Http1Engine;
  readonly #tried = new Tried();
  readonly #body = new RequestBody();
  readonly #attemptTimer: WheelTimer;
  readonly #requestTimer: WheelTimer;
  #pool: Pool | null = null;
  /** What the pool's scheduler hashes on, 0 when it does not or the request has no such thing. */
  #hash = 0;
  /** Whom the client's cookie names; null for nobody. */
  #bound: Endpoint | null = null;
  #dialer: UpstreamDialer | null = null;
  #place: PendingPlace | null = null;
  #upstream: UpstreamConnection | null = null;
  #endpoint: Endpoint | null = null;
  /** The head of the present attempt was written. */
  #sent = false;
  #upgrade = false;
  #tunnel = false;
  /** A kept connection had died under this request: the next attempts dial. */
  #dialOnly = false;
  /** Attempts that do not count, because a kept connection had died. */
  #freeAttempts = 0;
  #wait: Wait = Wait.NONE;
  #startedMs = 0;
  #requestDoneMs = 0;
  #touchedMs = 0;
  #outcome: Outcome = Outcome.OK;
  #failStatus = 502;
  #failReason: Reason = 'no-endpoint';

  constructor(exchange: Http1Exchange, client: ClientConnection) {
    this.#exchange = exchange;
    this.#client = client;
    this.#engine = client.engine;
    this.#attemptTimer = new WheelTimer(() => this.#onAttemptTimer());
    this.#requestTimer = new WheelTimer(() => this.#onRequestTimer());
  }

  /** Whether the exchange became a tunnel. */
  get isTunnel(): boolean {
    return this.#tunnel;
  }

  // --- the request's body --------------------------------------------------------------------------------------------------------

  /** A request begins; its body may come before `start` is called. `complete`: there is none. */
  expectBody(complete: boolean, chunked: boolean): void {
    this.#body.begin(complete, chunked);
    this.#requestDoneMs = complete ? this.#engine.context.clock.now() : 0;
  }

  onRequestBody(bytes: Buffer, start: number, end: number): void {
    if (end === start) return;
    const body = this.#body;
    const upstream = this.#upstream;
    body.keep(bytes, start, end);
    if (upstream !== null && this.#sent) {
      if (body.replayable && body.keptBytes > REPLAY_MAX) body.dropKept();
      const full = !body.write(this.#engine.requestWriter, upstream.writer, bytes, start, end, this.#client.reader);
      if (full) this.#client.pauseReading();
    } else if (body.keptBytes > REPLAY_MAX) {
      this.#client.pauseReading();
    }
  }

  onRequestEnd(trailers: string): void {
    this.#body.end(trailers);
    this.#requestDoneMs = this.#engine.context.clock.now();
    const upstream = this.#upstream;
    if (upstream === null || !this.#sent) return;
    this.#body.writeEnd(this.#engine.requestWriter, upstream.writer);
    if (upstream.connected && !this.responded) this.#armResponse();
  }

  // --- attempts ------------------------------------------------------------------------------------------------------------------

  /** Sends the request to an endpoint of `pool`, by connections of `dialer`. `upgrade`: the client asks for another protocol. */
  start(pool: Pool, dialer: UpstreamDialer, upgrade: boolean): void {
    this.#pool = pool;
    this.#hash = pool.hashOn === null ? 0 : hashOfRequest(pool.hashOn, this.#client.head, this.#exchange);
    this.#dialer = dialer;
    this.#upgrade = upgrade;
    pool.countRequest();
    const limit = pool.options.timeouts.request;
    if (limit !== null) this.#engine.context.wheel.arm(this.#requestTimer, limit);
    this.#acquire();
  }

  /** Takes an endpoint and sends the request to it; waits in the queue when all are full; gives up when there is none. */
  #acquire(): void {
    const pool = this.#pool as Pool;
    const nowMs = this.#engine.context.clock.now();
    const bound = pool.affinity === null ? null : this.#acquireBound(pool, pool.affinity, nowMs);
    const endpoint = bound ?? pool.acquire(this.#hash, this.#tried, nowMs, this.#repeatable());
    if (endpoint !== null) return this.#attempt(endpoint, nowMs);
    if (pool.refusal === Refusal.EMPTY) return this.#giveUp();
    this.#place = pool.enqueue(this);
    if (this.#place === null) return this.#exchange.fail(503, 'limit');
    const limit = pool.options.limits.pendingTimeout;
    if (limit !== null) this.#arm(Wait.PENDING, limit);
  }

  /** The endpoint that the client's cookie names, while it is available. */
  #acquireBound(pool: Pool, affinity: Affinity, nowMs: number): Endpoint | null {
    pool.refresh();
    const { kinds, offsets, headerCount } = this.#client.head;
    const bytes = this.#exchange.headBytes;
    this.#bound = null;
    for (let i = 0; i < headerCount && this.#bound === null; i++)
      if (kinds[i] === Field.COOKIE) this.#bound = affinity.find(bytes, offsets[i * 5 + 2], offsets[i * 5 + 3]);
    return this.#bound === null ? null : pool.acquireBound(this.#bound, this.#tried, nowMs);
  }

  onTurn(): boolean {
    const pool = this.#pool as Pool;
    const nowMs = this.#engine.context.clock.now();
    const endpoint = pool.acquire(this.#hash, this.#tried, nowMs);
    if (endpoint === null && pool.refusal === Refusal.FULL) return false;
    // The pool takes the place back once this returns true.
    this.#place = null;
    this.#disarm();
    if (endpoint === null) this.#giveUp();
    else this.#attempt(endpoint, nowMs);
    return true;
  }

  #attempt(endpoint: Endpoint, nowMs: number): void {
    const { upstreams } = this.#engine.context;
    if (this.attempts === 0) this.queueMs = nowMs - this.#exchange.arrivalMs;
    this.attempts++;
    this.#endpoint = endpoint;
    this.endpointId = endpoint.id;
    this.#startedMs = nowMs;
    this.#sent = false;
    const isConnect = this.#client.head.method === Method.CONNECT;
    const { proxyProtocol } = (this.#pool as Pool).options;
    const kept = this.#dialOnly || isConnect ? null : this.#takeKept(endpoint, proxyProtocol !== null);
    const dialer = this.#dialer as UpstreamDialer;
    const upstream =
      kept ??
      (proxyProtocol === null
        ? upstreams.dial(endpoint, dialer)
        : upstreams.dial(endpoint, dialer, this.#client, this.#client.preface(proxyProtocol)));
    this.#upstream = upstream;
    if (kept === null) {
      const limit = (this.#pool as Pool).options.timeouts.connect;
      if (limit !== null) this.#arm(Wait.CONNECT, limit);
      if (dialer.readyEvent === 'connect' && !isConnect) this.#send(upstream);
      else upstream.assign(this, this.#client.head.method);
    } else {
      this.connectMs = 0;
      if (nowMs - kept.idleSinceMs > LOOK_FIRST_MS) setImmediate(() => this.#sendIfOpen(upstream));
      else this.#send(upstream);
    }
  }

  /** Where the endpoint was told who the client is, only that client's connections will do. */
  #takeKept(endpoint: Endpoint, isOwn: boolean): UpstreamConnection | null {
    const { upstreams } = this.#engine.context;
    if (isOwn) return upstreams.takeOwn(endpoint, this.#repeatable(), this.#client);
    return upstreams.take(endpoint, this.#repeatable());
  }

  /** Until now the connection was nobody's: bytes that came meanwhile (a late 408, say) have closed it and are no answer to this request. */
  #sendIfOpen(upstream: UpstreamConnection): void {
    if (this.#upstream !== upstream || this.#sent) return;
    if (upstream.open) return this.#send(upstream);
    this.#upstream = null;
    this.#retryStale();
  }

  /** Writes head and what there is of the body. On a connection that is being dialled it waits there. */
  #send(upstream: UpstreamConnection): void {
    const client = this.#client;
    const writer = this.#engine.requestWriter;
    this.#sent = true;
    upstream.assign(this, client.head.method);
    writeRequestHead(writer, client.head, this.#exchange.headBytes, {
      peerAddress: client.peerAddress,
      trusted: client.trusted,
      secure: client.secured !== null,
      host: (this.#pool as Pool).options.host === 'endpoint' ? upstream.endpoint.id : null,
      attempt: this.attempts,
      upgrade: this.#upgrade,
      via: client.settings.via?.line(client.head.minor) ?? null,
      edits: this.#exchange.requestEdits,
    });
    const full = !this.#body.writeKept(writer, upstream.writer);
    if (this.#body.keptBytes > REPLAY_MAX) this.#body.dropKept();
    if (full && !this.#body.complete) client.pauseReading();
    else client.resumeReading();
    if (upstream.connected && this.#body.complete) this.#armResponse();
  }

  onConnected(): void {
    this.connectMs = this.#engine.context.clock.now() - this.#startedMs;
    if (this.#client.head.method === Method.CONNECT) return this.#openTunnel();
    if (!this.#sent) this.#send(this.#upstream as UpstreamConnection);
    if (this.#body.complete) this.#armResponse();
    else this.#disarm();
  }

  /** Whether the request may be sent twice and can be (RFC 9110 §9.2.2). */
  #repeatable(): boolean {
    return isIdempotent(this.#client.head.method) && this.#body.replayable;
  }

  // --- the response comes --------------------------------------------------------------------------------------------------------

  onInterim(head: ResponseHead, bytes: Buffer): void {
    this.#client.sendInterim(head, bytes, this.#exchange.responseEdits);
  }

  onResponseHead(head: ResponseHead, bytes: Buffer): boolean {
    const endpoint = this.#endpoint as Endpoint;
    const pool = this.#pool as Pool;
    const latencyMs = this.#engine.context.clock.now() - this.#startedMs;
    const outcome = outcomeOfStatus(head.status);
    const bit = retryBitOfStatus(head.status);
    if (bit !== 0 && this.#othersLeft(pool) && this.#mayRetry(bit, true)) {
      this.#dropUpstream();
      this.#disarm();
      pool.answered(endpoint, outcome, this.#startedMs, latencyMs);
      pool.release(endpoint, outcome, latencyMs);
      this.#tried.add(endpoint);
      this.#acquire();
      return false;
    }
    this.#outcome = outcome;
    this.responseMs = latencyMs;
    this.#engine.context.wheel.disarm(this.#requestTimer);
    pool.answered(endpoint, outcome, this.#startedMs, latencyMs);
    if (head.status === 101 && !(this.#upgrade && this.#body.complete)) return this.#refuseSwitch();
    this.responded = true;
    this.#armBetween(pool);
    // Who is served elsewhere only because their endpoint is full or failed this once keeps the cookie.
    if (pool.affinity !== null && this.#bound === null)
      this.#exchange.responseEdits.add('set-cookie', pool.affinity.setCookie(endpoint, this.#exchange.secure));
    this.#exchange.onResponseHead(head.status);
    if (head.status === 101) this.#startTunnel(head, bytes);
    else this.#client.startResponse(head, bytes, this.#exchange.responseEdits);
    return true;
  }

  #armBetween(pool: Pool): void {
    const limit = pool.options.timeouts.between;
    if (limit === null) return this.#disarm();
    this.#touchedMs = this.#startedMs + this.responseMs;
    this.#arm(Wait.BETWEEN, limit);
  }

  /** The endpoint switches protocols although nobody asked for it (RFC 9110 §15.2.2), or before it has the whole request (§7.8). */
  #refuseSwitch(): false {
    this.#dropUpstream();
    (this.#pool as Pool).release(this.#endpoint as Endpoint, Outcome.RESET, this.responseMs);
    this.#exchange.fail(502, 'bad-response');
    return false;
  }

  #othersLeft(pool: Pool): boolean {
    return pool.set.available.length > this.#tried.size + 1;
  }

  onResponseBody(bytes: Buffer, start: number, end: number): void {
    this.#touchedMs = this.#engine.context.clock.now();
    this.#client.writeBody(bytes, start, end, (this.#upstream as UpstreamConnection).reader);
  }

  onReadDone(): void {
    if (this.responded) this.#client.flush();
  }

  onResponseEnd(trailers: string, reusable: boolean): void {
    const upstream = this.#upstream as UpstreamConnection;
    const pool = this.#pool as Pool;
    this.#upstream = null;
    this.#client.endResponse(trailers);
    // A request that is still on its way would stand before the next one.
    if (reusable && this.#body.complete && upstream.writer.isEmpty)
      this.#engine.context.upstreams.put(upstream, pool.options.timeouts.idle ?? Infinity);
    else upstream.destroy();
    pool.release(this.#endpoint as Endpoint, this.#outcome, this.responseMs);
    this.#exchange.end('');
  }

  onClientFull(): void {
    this.#upstream?.socket.pause();
  }

  onClientDrain(): void {
    const upstream = this.#upstream;
    if (upstream === null) return;
    this.#touchedMs = this.#engine.context.clock.now();
    upstream.socket.resume();
  }

  onUpstreamDrain(): void {
    this.#client.resumeReading();
  }

  // --- tunnels -------------------------------------------------------------------------------------------------------------------

  /** CONNECT: the tunnel leads to the endpoint, whatever address the client named. Nothing of the request is sent there. */
  #openTunnel(): void {
    (this.#pool as Pool).answered(this.#endpoint as Endpoint, Outcome.OK, this.#startedMs, this.connectMs);
    this.#engine.context.wheel.disarm(this.#requestTimer);
    this.responseMs = this.connectMs;
    this.responded = true;
    (this.#upstream as UpstreamConnection).beginTunnel();
    this.#exchange.onResponseHead(200);
    this.#tunnel = true;
    this.#disarm();
    this.#client.startTunnel(null, NO_BYTES, this.#exchange.responseEdits);
  }

  #startTunnel(head: ResponseHead, bytes: Buffer): void {
    this.#tunnel = true;
    this.#disarm();
    this.#client.startTunnel(head, bytes, this.#exchange.responseEdits);
  }

  onTunnelFromClient(bytes: Buffer): void {
    const upstream = this.#upstream;
    if (upstream === null) return;
    upstream.writer.writeBehind(this.#engine.requestWriter, bytes, 0, bytes.length, this.#client.reader);
    if (upstream.writer.isFull) this.#client.pauseReading();
  }

  onTunnelBytes(bytes: Buffer): void {
    const upstream = this.#upstream as UpstreamConnection;
    if (!this.#client.writeTunnel(bytes, upstream.reader)) upstream.socket.pause();
  }

  onTunnelEnd(): void {
    this.endTunnel(false);
  }

  /** One side ended: the other gets what is on its way, then ends too. */
  endTunnel(byClient: boolean): void {
    const upstream = this.#upstream;
    if (upstream === null) return;
    this.#upstream = null;
    if (byClient) upstream.end();
    else upstream.destroy();
    (this.#pool as Pool).release(this.#endpoint as Endpoint, Outcome.OK, this.responseMs);
    this.#exchange.end('');
  }

  // --- what goes wrong -----------------------------------------------------------------------------------------------------------

  onFailed(failure: Failure): void {
    const upstream = this.#upstream as UpstreamConnection;
    this.#upstream = null;
    this.#disarm();
    if (this.responded) return this.#cutResponse(Outcome.RESET);
    if (failure === Failure.LOCAL) {
      (this.#pool as Pool).cancel(this.#endpoint as Endpoint, this.#startedMs);
      return this.#exchange.fail(503, 'limit');
    }
    const unanswered = upstream.receivedBytes === 0;
    const isStale = unanswered && upstream.reused && !this.#dialOnly;
    if (isStale && (!this.#sent || this.#repeatable())) return this.#retryStale();
    const connecting = failure === Failure.CONNECT;
    this.#failStatus = 502;
    if (failure === Failure.BAD_RESPONSE) this.#failReason = 'bad-response';
    else this.#failReason = connecting ? 'connect-failed' : 'reset';
    this.#endAttempt(connecting ? Outcome.CONNECT_FAILED : Outcome.RESET);
    this.#retryOrGiveUp(connecting ? RetryOn.CONNECT : RetryOn.RESET, connecting || unanswered);
  }

  /** A kept connection had died: that says nothing about the endpoint, and nothing of the request was answered. Costs no attempt. */
  #retryStale(): void {
    const pool = this.#pool as Pool;
    pool.cancel(this.#endpoint as Endpoint, this.#startedMs);
    pool.countRetry(STALE_CONNECTION);
    this.#dialOnly = true;
    this.#freeAttempts++;
    this.#acquire();
  }

  /** The attempt ended without a response head. */
  #endAttempt(outcome: Outcome): void {
    const pool = this.#pool as Pool;
    const endpoint = this.#endpoint as Endpoint;
    const elapsedMs = this.#engine.context.clock.now() - this.#startedMs;
    pool.answered(endpoint, outcome, this.#startedMs, elapsedMs);
    pool.release(endpoint, outcome, elapsedMs);
  }

  #retryOrGiveUp(bit: number, unanswered: boolean): void {
    if (!this.#mayRetry(bit, unanswered)) return this.#giveUp();
    this.#tried.add(this.#endpoint as Endpoint);
    this.#acquire();
  }

  /**
   * The one rule for another attempt: the pool allows this cause, attempts are left, the request was not sent or may be sent twice,
   * no byte of a response came (or only a head that is thrown away), and the budget has room. Counts the retry.
   */
  #mayRetry(bit: number, unanswered: boolean): boolean {
    const pool = this.#pool as Pool;
    if ((pool.retryOn & bit) === 0 || !unanswered || !this.#attemptsLeft(pool)) return false;
    if (bit === RetryOn.CONNECT ? !this.#body.replayable : !this.#repeatable()) return false;
    return pool.takeRetry(retryReason(bit));
  }

  #attemptsLeft(pool: Pool): boolean {
    return this.attempts - this.#freeAttempts <= (pool.options.retry?.attempts ?? 0);
  }

  #giveUp(): void {
    if (this.attempts > 0) this.#exchange.fail(this.#failStatus, this.#failReason);
    else this.#exchange.fail(503, 'no-endpoint');
  }

  #cutResponse(outcome: Outcome): void {
    (this.#pool as Pool).release(this.#endpoint as Endpoint, outcome, this.responseMs);
    this.#client.abort();
    if (outcome === Outcome.CLIENT_GONE) this.#exchange.end('client-gone');
    else this.#exchange.end(outcome === Outcome.TIMED_OUT ? 'response-timeout' : 'reset');
  }

  /** Lets go of the endpoint: the client left, or its request turned out to be bad. The endpoint is not blamed. */
  cancel(): void {
    const pool = this.#pool as Pool;
    if (this.#place !== null) pool.leaveQueue(this.#place);
    if (this.#upstream === null) return;
    this.#dropUpstream();
    if (this.responded) pool.release(this.#endpoint as Endpoint, Outcome.CLIENT_GONE, this.responseMs);
    else this.#endAttempt(Outcome.CLIENT_GONE);
  }

  #dropUpstream(): void {
    const upstream = this.#upstream as UpstreamConnection;
    this.#upstream = null;
    upstream.destroy();
  }

  // --- time ----------------------------------------------------------------------------------------------------------------------

  #onRequestTimer(): void {
    if (this.#place !== null) (this.#pool as Pool).leaveQueue(this.#place);
    if (this.#upstream !== null) {
      this.#dropUpstream();
      this.#endAttempt(Outcome.TIMED_OUT);
    }
    this.#exchange.fail(504, 'request-timeout');
  }

  #onAttemptTimer(): void {
    switch (this.#wait) {
      case Wait.PENDING:
        (this.#pool as Pool).leaveQueue(this.#place as PendingPlace);
        this.#exchange.fail(503, 'pending-timeout');
        break;
      case Wait.CONNECT:
        this.#timeOut('connect-timeout');
        this.#retryOrGiveUp(RetryOn.CONNECT, true);
        break;
      case Wait.RESPONSE:
        this.#onResponseTimer();
        break;
      case Wait.BETWEEN:
        this.#onBetweenTimer();
        break;
    }
  }

  #timeOut(reason: Reason): void {
    this.#dropUpstream();
    this.#endAttempt(Outcome.TIMED_OUT);
    this.#failStatus = 504;
    this.#failReason = reason;
  }

  /** After perTryTimeout another attempt is made if one is allowed; if not, this one may go on to the response timeout. */
  #onResponseTimer(): void {
    const pool = this.#pool as Pool;
    const { response } = pool.options.timeouts;
    const leftMs = response === null ? Infinity : this.#requestDoneMs + response - this.#engine.context.clock.now();
    const unanswered = (this.#upstream as UpstreamConnection).receivedBytes === 0;
    if (leftMs <= 0) {
      this.#timeOut('response-timeout');
      this.#retryOrGiveUp(RetryOn.TIMEOUT, unanswered);
    } else if (unanswered && this.#othersLeft(pool) && this.#mayAbandon(pool)) {
      this.#timeOut('response-timeout');
      this.#tried.add(this.#endpoint as Endpoint);
      this.#acquire();
    } else if (leftMs < Infinity) {
      this.#arm(Wait.RESPONSE, leftMs);
    }
  }

  #mayAbandon(pool: Pool): boolean {
    return this.#attemptsLeft(pool) && this.#repeatable() && pool.takeRetry(retryReason(RetryOn.TIMEOUT));
  }

  #onBetweenTimer(): void {
    const limit = (this.#pool as Pool).options.timeouts.between as number;
    const quietMs = this.#engine.context.clock.now() - this.#touchedMs;
    if (quietMs < limit) return this.#arm(Wait.BETWEEN, limit - quietMs);
    // A client that takes nothing must not hold an endpoint for ever; but the endpoint is not at fault.
    const isClientBehind = (this.#upstream as UpstreamConnection).socket.isPaused();
    this.#dropUpstream();
    this.#cutResponse(isClientBehind ? Outcome.CLIENT_GONE : Outcome.TIMED_OUT);
  }

  #armResponse(): void {
    const { options } = this.#pool as Pool;
    const { response } = options.timeouts;
    const perTry = options.retry?.perTryTimeout ?? null;
    if (perTry !== null && (response === null || perTry < response)) this.#arm(Wait.RESPONSE, perTry);
    else if (response !== null) this.#arm(Wait.RESPONSE, response);
    else this.#disarm();
  }

  #arm(wait: Wait, ms: number): void {
    this.#wait = wait;
    this.#engine.context.wheel.arm(this.#attemptTimer, ms);
  }

  #disarm(): void {
    this.#wait = Wait.NONE;
    this.#engine.context.wheel.disarm(this.#attemptTimer);
  }

  /** Makes it ready for the next request. */
  reset(): void {
    this.#disarm();
    this.#engine.context.wheel.disarm(this.#requestTimer);
    this.#tried.clear();
    this.#pool = null;
    this.#dialer = null;
    this.#place = null;
    this.#upstream = null;
    this.#endpoint = null;
    this.#bound = null;
    this.#sent = false;
    this.#upgrade = false;
    this.#tunnel = false;
    this.#dialOnly = false;
    this.#freeAttempts = 0;
    this.#failReason = 'no-endpoint';
    this.responded = false;
    this.attempts = 0;
    this.endpointId = '';
    this.queueMs = -1;
    this.connectMs = -1;
    this.responseMs = -1;
  }
}
