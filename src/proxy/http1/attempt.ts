import { WheelTimer } from '../../base/timer-wheel.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Outcome } from '../../endpoint/outcome.ts';
import type { Pool } from '../../pool/pool.ts';
import { outcomeOfStatus, RetryOn } from '../../pool/retry.ts';
import { Method } from '../../wire/http1/method.ts';
import type { ResponseHead } from '../../wire/http1/response-head.ts';
import type { Reason } from '../listener-cells.ts';
import type { Http1Engine } from './engine.ts';
import type { Forwarding } from './forwarding.ts';
import type { Http1Exchange } from './http1-exchange.ts';
import { REPLAY_MAX } from './request-body.ts';
import { writeRequestHead } from './request-head.ts';
import { NO_BYTES } from './request-view.ts';
import { Failure, type UpstreamConnection, type UpstreamOwner } from './upstream-connection.ts';

/** What the attempt's timer waits for. */
const Wait = { NONE: 0, CONNECT: 1, RESPONSE: 2, BETWEEN: 3, CLIENT: 4 } as const;
type Wait = (typeof Wait)[keyof typeof Wait];

/** How long a client may take nothing of a response where the pool's `between` timeout is off: what that is by default. */
const CLIENT_BEHIND_MS = 60_000;

/** A connection idle for longer than this waits one turn before it is used, so that its end is noticed if it came meanwhile. */
const LOOK_FIRST_MS = 1000;

/**
 * One attempt of an exchange: one endpoint, one connection to it, the request there and, if the attempt is the one that counts, the response to the client.
 * Begun by Forwarding, which decides what follows when it fails; used again and again. Acquired endpoints are released here, once.
 */
export class Attempt implements UpstreamOwner {
  /** Where it goes or went; null before the first. */
  endpoint: Endpoint | null = null;
  startedMs = 0;
  /** Phases in ms, -1 where there was none: see AccessRecord. */
  connectMs = -1;
  responseMs = -1;
  readonly #forwarding: Forwarding;
  readonly #exchange: Http1Exchange;
  readonly #engine: Http1Engine;
  readonly #timer: WheelTimer;
  #number = 0;
  #upstream: UpstreamConnection | null = null;
  /** The head was written. */
  #sent = false;
  #wait: Wait = Wait.NONE;
  #touchedMs = 0;
  #outcome: Outcome = Outcome.OK;

  constructor(forwarding: Forwarding, exchange: Http1Exchange, engine: Http1Engine) {
    this.#forwarding = forwarding;
    this.#exchange = exchange;
    this.#engine = engine;
    this.#timer = new WheelTimer(() => this.#onTimer());
  }

  /** Whether it holds an endpoint. */
  get isRunning(): boolean {
    return this.#upstream !== null;
  }

  /** Whether it runs and not one byte has come back. */
  get isUnanswered(): boolean {
    return this.#upstream !== null && this.#upstream.receivedBytes === 0;
  }

  /** Sends the request to an acquired endpoint; `number` counts the attempts of the exchange from 1. */
  begin(endpoint: Endpoint, number: number, nowMs: number): void {
    const { upstreams } = this.#engine.context;
    const forwarding = this.#forwarding;
    this.endpoint = endpoint;
    this.#number = number;
    this.startedMs = nowMs;
    this.#sent = false;
    const isConnect = this.#exchange.head.method === Method.CONNECT;
    const { proxyProtocol } = forwarding.pool.options;
    const kept = forwarding.dialOnly || isConnect ? null : this.#takeKept(endpoint, proxyProtocol !== null);
    const dialer = forwarding.dialer;
    const upstream =
      kept ??
      (proxyProtocol === null
        ? upstreams.dial(endpoint, dialer)
        : upstreams.dial(endpoint, dialer, this.#exchange.client, this.#exchange.client.preface(proxyProtocol)));
    this.#upstream = upstream;
    if (kept === null) {
      const limit = forwarding.pool.options.timeouts.connect;
      if (limit !== null) this.#arm(Wait.CONNECT, limit);
      if (dialer.readyEvent === 'connect' && !isConnect) this.#send(upstream);
      else upstream.assign(this, this.#exchange.head.method);
    } else {
      this.connectMs = 0;
      if (nowMs - kept.idleSinceMs > LOOK_FIRST_MS) setImmediate(() => this.#sendIfOpen(upstream));
      else this.#send(upstream);
    }
  }

  /** Where the endpoint was told who the client is, only that client's connections will do. */
  #takeKept(endpoint: Endpoint, isOwn: boolean): UpstreamConnection | null {
    const { upstreams } = this.#engine.context;
    const { body } = this.#forwarding;
    // Of a chunked body nobody knows yet whether all of it can be kept.
    const isRepeatable = this.#forwarding.isRepeatable && (body.complete || !this.#exchange.head.chunked);
    if (isOwn) return upstreams.takeOwn(endpoint, isRepeatable, this.#exchange.client);
    return upstreams.take(endpoint, isRepeatable);
  }

  /** Until now the connection was nobody's: bytes that came meanwhile (a late 408, say) have closed it and are no answer to this request. */
  #sendIfOpen(upstream: UpstreamConnection): void {
    if (this.#upstream !== upstream || this.#sent) return;
    if (upstream.open) return this.#send(upstream);
    this.#upstream = null;
    this.#forwarding.onStale(this);
  }

  /** Writes head and what there is of the body; what comes in the same read goes with it. On a connection that is being dialled it waits there. */
  #send(upstream: UpstreamConnection): void {
    const client = this.#exchange.client;
    const writer = this.#engine.requestWriter;
    const { body, pool, upgrade } = this.#forwarding;
    this.#sent = true;
    upstream.assign(this, this.#exchange.head.method);
    writeRequestHead(writer, this.#exchange.head, this.#exchange.headBytes, {
      peerAddress: client.peerAddress,
      trusted: client.trusted,
      secure: client.secured !== null,
      host: pool.options.host === 'endpoint' ? upstream.endpoint.id : null,
      attempt: client.trusted ? this.#number + this.#exchange.earlierAttempts : this.#number,
      upgrade,
      via: client.settings.via?.line(this.#exchange.head.minor) ?? null,
      edits: this.#exchange.requestEdits,
    });
    body.appendKept(writer);
    if (body.keptBytes > REPLAY_MAX) body.dropKept();
    if (!client.isReadingBody) this.flush();
    if (upstream.connected && body.complete) this.#armResponse();
  }

  /** Writes what was put together. */
  flush(): void {
    const upstream = this.#upstream;
    if (upstream === null || !this.#sent) return;
    const { requestWriter } = this.#engine;
    if (requestWriter.length > 0) upstream.writer.writeAll(requestWriter);
    if (upstream.writer.isFull && !this.#forwarding.body.complete) this.#exchange.client.pauseReading();
    else this.#exchange.client.resumeReading();
  }

  onConnected(): void {
    this.connectMs = this.#engine.context.clock.now() - this.startedMs;
    if (this.#exchange.head.method === Method.CONNECT) return this.#openTunnel();
    if (!this.#sent) this.#send(this.#upstream as UpstreamConnection);
    if (this.#forwarding.body.complete) this.#armResponse();
    else this.#disarm();
  }

  /** Passes a piece of the request's body on; false when it cannot be taken yet. */
  takeBody(bytes: Buffer, start: number, end: number): boolean {
    const upstream = this.#upstream;
    if (upstream === null || !this.#sent) return false;
    const { body } = this.#forwarding;
    if (body.replayable && body.keptBytes > REPLAY_MAX) body.dropKept();
    body.append(this.#engine.requestWriter, upstream.writer, bytes, start, end, this.#exchange.client.reader);
    return true;
  }

  takeBodyEnd(): void {
    const upstream = this.#upstream;
    if (upstream === null || !this.#sent) return;
    this.#forwarding.body.appendEnd(this.#engine.requestWriter);
    if (upstream.connected && !this.#forwarding.responded) this.#armResponse();
  }

  // --- the response comes --------------------------------------------------------------------------------------------------------

  onInterim(head: ResponseHead, bytes: Buffer): void {
    if (!this.#forwarding.isContested(this))
      this.#exchange.client.sendInterim(head, bytes, this.#exchange.responseEdits);
  }

  onResponseHead(head: ResponseHead, bytes: Buffer): boolean {
    const forwarding = this.#forwarding;
    const endpoint = this.endpoint as Endpoint;
    const latencyMs = this.#engine.context.clock.now() - this.startedMs;
    this.#outcome = outcomeOfStatus(head.status);
    if (forwarding.declines(this, head)) {
      this.#drop();
      this.#disarm();
      forwarding.pool.answered(endpoint, this.#outcome, this.startedMs, latencyMs);
      forwarding.pool.release(endpoint, this.#outcome, latencyMs);
      forwarding.onDeclined(this);
      return false;
    }
    this.responseMs = latencyMs;
    forwarding.onAnswered(this);
    forwarding.pool.answered(endpoint, this.#outcome, this.startedMs, latencyMs);
    if (head.status === 101 && !(forwarding.upgrade && forwarding.body.complete)) return this.#refuseSwitch();
    forwarding.responded = true;
    this.#armBetween(forwarding.pool);
    const { affinity } = forwarding.pool;
    if (affinity !== null && !forwarding.isBound)
      this.#exchange.responseEdits.add('set-cookie', affinity.setCookie(endpoint, this.#exchange.secure));
    this.#exchange.onResponseHead(head.status);
    if (head.status === 101) this.#startTunnel(head, bytes);
    else this.#exchange.client.startResponse(head, bytes, this.#exchange.responseEdits);
    return true;
  }

  #armBetween(pool: Pool): void {
    const limit = pool.options.timeouts.between;
    if (limit === null) return this.#disarm();
    this.#touchedMs = this.startedMs + this.responseMs;
    this.#arm(Wait.BETWEEN, limit);
  }

  /** The endpoint switches protocols although nobody asked for it (RFC 9110 §15.2.2), or before it has the whole request (§7.8). */
  #refuseSwitch(): false {
    this.#drop();
    this.#forwarding.pool.release(this.endpoint as Endpoint, Outcome.RESET, this.responseMs);
    this.#exchange.fail(502, 'bad-response');
    return false;
  }

  onResponseBody(bytes: Buffer, start: number, end: number): void {
    this.#touchedMs = this.#engine.context.clock.now();
    this.#exchange.client.writeBody(bytes, start, end, (this.#upstream as UpstreamConnection).reader);
  }

  onReadDone(): void {
    if (this.#forwarding.responded) this.#exchange.client.flush();
  }

  onResponseEnd(trailers: string, reusable: boolean): void {
    const upstream = this.#upstream as UpstreamConnection;
    const { pool, body } = this.#forwarding;
    this.#upstream = null;
    this.#exchange.client.endResponse(this.#exchange.responseEdits.unedited(trailers));
    // A request that is still on its way would stand before the next one.
    if (reusable && body.complete && upstream.writer.isEmpty)
      this.#engine.context.upstreams.put(upstream, pool.options.timeouts.idle ?? Infinity);
    else upstream.destroy();
    pool.release(this.endpoint as Endpoint, this.#outcome, this.responseMs);
    this.#exchange.end('');
  }

  /** The client is behind. */
  pause(): void {
    this.#upstream?.socket.pause();
    const { responded, isTunnel } = this.#forwarding;
    if (this.#upstream !== null && this.#wait === Wait.NONE && responded && !isTunnel)
      this.#arm(Wait.CLIENT, CLIENT_BEHIND_MS);
  }

  resume(): void {
    const upstream = this.#upstream;
    if (upstream === null) return;
    if (this.#wait === Wait.CLIENT) this.#disarm();
    this.#touchedMs = this.#engine.context.clock.now();
    upstream.socket.resume();
  }

  onUpstreamDrain(): void {
    this.#exchange.client.resumeReading();
  }

  // --- tunnels -------------------------------------------------------------------------------------------------------------------

  /** CONNECT: the tunnel leads to the endpoint, whatever address the client named. Nothing of the request is sent there. */
  #openTunnel(): void {
    const forwarding = this.#forwarding;
    this.responseMs = this.connectMs;
    forwarding.onAnswered(this);
    forwarding.pool.answered(this.endpoint as Endpoint, Outcome.OK, this.startedMs, this.connectMs);
    forwarding.responded = true;
    (this.#upstream as UpstreamConnection).beginTunnel();
    this.#exchange.onResponseHead(200);
    this.#startTunnel(null, NO_BYTES);
  }

  #startTunnel(head: ResponseHead | null, bytes: Buffer): void {
    this.#forwarding.isTunnel = true;
    this.#disarm();
    this.#exchange.client.startTunnel(head, bytes, this.#exchange.responseEdits);
  }

  onTunnelFromClient(bytes: Buffer): void {
    const upstream = this.#upstream;
    if (upstream === null) return;
    upstream.writer.writeBehind(this.#engine.requestWriter, bytes, 0, bytes.length, this.#exchange.client.reader);
    if (upstream.writer.isFull) this.#exchange.client.pauseReading();
  }

  onTunnelBytes(bytes: Buffer): void {
    const upstream = this.#upstream as UpstreamConnection;
    if (!this.#exchange.client.writeTunnel(bytes, upstream.reader)) upstream.socket.pause();
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
    this.#forwarding.pool.release(this.endpoint as Endpoint, Outcome.OK, this.responseMs);
    this.#exchange.end('');
  }

  // --- what goes wrong -----------------------------------------------------------------------------------------------------------

  onFailed(failure: Failure): void {
    const upstream = this.#upstream as UpstreamConnection;
    const forwarding = this.#forwarding;
    this.#upstream = null;
    this.#disarm();
    if (forwarding.responded) return this.#cutResponse(Outcome.RESET);
    if (failure === Failure.LOCAL) return forwarding.onLocalLimit(this);
    const unanswered = upstream.receivedBytes === 0;
    const isStale = unanswered && upstream.reused && !forwarding.dialOnly;
    if (isStale && (!this.#sent || forwarding.isRepeatable)) return forwarding.onStale(this);
    const connecting = failure === Failure.CONNECT;
    this.#settle(connecting ? Outcome.CONNECT_FAILED : Outcome.RESET);
    const reason = failure === Failure.BAD_RESPONSE ? 'bad-response' : 'reset';
    if (connecting) forwarding.onAttemptFailed(this, RetryOn.CONNECT, true, 502, 'connect-failed');
    else forwarding.onAttemptFailed(this, RetryOn.RESET, unanswered, 502, reason);
  }

  /** It ended without a response head. */
  #settle(outcome: Outcome): void {
    const { pool } = this.#forwarding;
    const endpoint = this.endpoint as Endpoint;
    const elapsedMs = this.#engine.context.clock.now() - this.startedMs;
    pool.answered(endpoint, outcome, this.startedMs, elapsedMs);
    pool.release(endpoint, outcome, elapsedMs);
  }

  #cutResponse(outcome: Outcome): void {
    this.#forwarding.pool.release(this.endpoint as Endpoint, outcome, this.responseMs);
    this.#exchange.client.abort();
    if (outcome === Outcome.CLIENT_GONE) this.#exchange.end('client-gone');
    else this.#exchange.end(outcome === Outcome.TIMED_OUT ? 'response-timeout' : 'reset');
  }

  /** Lets go of the endpoint, whatever the attempt is at. */
  end(outcome: Outcome): void {
    if (this.#upstream === null) return;
    this.#drop();
    this.#disarm();
    if (this.#forwarding.responded) this.#forwarding.pool.release(this.endpoint as Endpoint, outcome, this.responseMs);
    else this.#settle(outcome);
  }

  /** Lets go of the endpoint without blame: another one answered first. */
  abandon(): void {
    this.#drop();
    this.#disarm();
    this.#forwarding.pool.abandon(this.endpoint as Endpoint, this.startedMs, this.#engine.context.clock.now());
  }

  #drop(): void {
    const upstream = this.#upstream as UpstreamConnection;
    this.#upstream = null;
    upstream.destroy();
  }

  // --- time ----------------------------------------------------------------------------------------------------------------------

  #onTimer(): void {
    switch (this.#wait) {
      case Wait.CONNECT:
        this.#timeOut(RetryOn.CONNECT, true, 'connect-timeout');
        break;
      case Wait.RESPONSE:
        this.#onResponseTimer();
        break;
      case Wait.BETWEEN:
        this.#onBetweenTimer();
        break;
      case Wait.CLIENT:
        this.#drop();
        this.#cutResponse(Outcome.CLIENT_GONE);
        break;
    }
  }

  #timeOut(bit: number, unanswered: boolean, reason: Reason): void {
    this.#drop();
    this.#settle(Outcome.TIMED_OUT);
    this.#forwarding.onAttemptFailed(this, bit, unanswered, 504, reason);
  }

  /** After perTryTimeout another attempt is made if one is allowed; if not, this one may go on to the response timeout. */
  #onResponseTimer(): void {
    const forwarding = this.#forwarding;
    const leftMs = this.#leftMs(forwarding.pool.options.timeouts.response);
    const unanswered = this.isUnanswered;
    if (leftMs <= 0) {
      this.#timeOut(RetryOn.TIMEOUT, unanswered, 'response-timeout');
    } else if (unanswered && forwarding.mayAbandon(this)) {
      this.#drop();
      this.#settle(Outcome.TIMED_OUT);
      forwarding.onDeclined(this);
    } else if (leftMs < Infinity) {
      this.#arm(Wait.RESPONSE, leftMs);
    }
  }

  /** Of the time to the response head, which counts from the end of the request and holds for all attempts together. */
  #leftMs(response: number | null): number {
    return response === null ? Infinity : this.#forwarding.requestDoneMs + response - this.#engine.context.clock.now();
  }

  #onBetweenTimer(): void {
    const limit = this.#forwarding.pool.options.timeouts.between as number;
    const quietMs = this.#engine.context.clock.now() - this.#touchedMs;
    if (quietMs < limit) return this.#arm(Wait.BETWEEN, limit - quietMs);
    // A client that takes nothing must not hold an endpoint for ever; but the endpoint is not at fault.
    const isClientBehind = (this.#upstream as UpstreamConnection).socket.isPaused();
    this.#drop();
    this.#cutResponse(isClientBehind ? Outcome.CLIENT_GONE : Outcome.TIMED_OUT);
  }

  #armResponse(): void {
    const { options } = this.#forwarding.pool;
    const leftMs = this.#leftMs(options.timeouts.response);
    const perTry = options.retry?.perTryTimeout ?? null;
    if (perTry !== null && perTry < leftMs) this.#arm(Wait.RESPONSE, perTry);
    else if (leftMs < Infinity) this.#arm(Wait.RESPONSE, leftMs);
    else this.#disarm();
  }

  #arm(wait: Wait, ms: number): void {
    this.#wait = wait;
    this.#engine.context.wheel.arm(this.#timer, ms);
  }

  #disarm(): void {
    this.#wait = Wait.NONE;
    this.#engine.context.wheel.disarm(this.#timer);
  }

  /** Makes it ready for the next request. */
  reset(): void {
    this.#disarm();
    this.#upstream = null;
    this.endpoint = null;
    this.#sent = false;
    this.connectMs = -1;
    this.responseMs = -1;
  }
}
