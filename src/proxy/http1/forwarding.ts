import { FineTimer } from '../../base/fine-timers.ts';
import { WheelTimer } from '../../base/timer-wheel.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Tried } from '../../endpoint/endpoint-set.ts';
import { Outcome } from '../../endpoint/outcome.ts';
import type { HedgeOutcome } from '../../endpoint/pool-words.ts';
import type { Affinity } from '../../pool/affinity.ts';
import type { PendingPlace, PoolWaiter } from '../../pool/pending-queue.ts';
import { type Pool, Refusal } from '../../pool/pool.ts';
import { RetryOn, retryBitOfStatus, retryReason, STALE_CONNECTION } from '../../pool/retry.ts';
import { Field } from '../../wire/http1/field.ts';
import { isIdempotent, Method } from '../../wire/http1/method.ts';
import type { ResponseHead } from '../../wire/http1/response-head.ts';
import type { Reason } from '../listener-cells.ts';
import { Attempt } from './attempt.ts';
import type { Http1Engine } from './engine.ts';
import type { Http1Exchange } from './http1-exchange.ts';
import { REPLAY_MAX, RequestBody } from './request-body.ts';
import { hashOfRequest } from './request-hash.ts';
import type { UpstreamDialer } from './upstream-dialer.ts';

/** How long stages may hold a request back where the pool's `request` timeout is off. */
const STAGE_MAX_MS = 60_000;

/**
 * Has one exchange served by an endpoint: takes endpoints, begins attempts, and decides by one rule what follows when one fails or is slow. Two run
 * at once only as a hedge: the first answer counts, the other attempt is cancelled. One per exchange, used again and again. Tells
 * the exchange when it is over, by `fail` or `end`; attempts do so once they carry the response.
 */
export class Forwarding implements PoolWaiter {
  attempts = 0;
  /** From arrival to the first attempt in ms, -1 where there was none. */
  queueMs = -1;
  /** What became of the second attempt; '' where none was made. */
  hedge: HedgeOutcome | '' = '';
  /** The response head went to the client. */
  responded = false;
  isTunnel = false;
  /** The client asks for another protocol. */
  upgrade = false;
  /** A kept connection had died under this request: the next attempts dial. */
  dialOnly = false;
  /** When the whole request had come; 0 before that. */
  requestDoneMs = 0;
  readonly body: RequestBody;
  readonly #exchange: Http1Exchange;
  readonly #engine: Http1Engine;
  readonly #tried = new Tried();
  readonly #requestTimer: WheelTimer;
  readonly #pendingTimer: WheelTimer;
  readonly #first: Attempt;
  /** The hedge; made when a pool first wants one. */
  #second: Attempt | null = null;
  /** The attempt that carries the response, or was begun last. */
  #current: Attempt;
  /** Waits for the hedge, or out a back-off. */
  #fineTimer: FineTimer | null = null;
  #isBackingOff = false;
  #pool: Pool | null = null;
  /** What the pool's scheduler hashes on, 0 when it does not or the request has no such thing. */
  #hash = 0;
  /** Whom the client's cookie names; null for nobody. */
  #bound: Endpoint | null = null;
  #dialer: UpstreamDialer | null = null;
  #place: PendingPlace | null = null;
  #hasBody = false;
  /** Attempts that do not count: a kept connection had died, or it was a hedge. */
  #freeAttempts = 0;
  #failStatus = 502;
  #failReason: Reason = 'no-endpoint';
  /** What an endpoint that is not asked again said in Retry-After, in seconds; -1 when none did. */
  #retryAfterS = -1;

  constructor(exchange: Http1Exchange, engine: Http1Engine) {
    this.#exchange = exchange;
    this.#engine = engine;
    this.body = new RequestBody(engine.context.sockets.buffers, exchange.requestEdits);
    this.#first = new Attempt(this, exchange, engine);
    this.#current = this.#first;
    this.#requestTimer = new WheelTimer(() => this.#onRequestTimer());
    this.#pendingTimer = new WheelTimer(() => this.#onPendingTimer());
  }

  /** `address:port` of the attempt that counts, or of the last one; '' before the first. */
  get endpointId(): string {
    return this.#current.endpoint?.id ?? '';
  }

  get connectMs(): number {
    return this.#current.connectMs;
  }

  get responseMs(): number {
    return this.#current.responseMs;
  }

  /** Between `start` and `reset`. */
  get pool(): Pool {
    return this.#pool as Pool;
  }

  get dialer(): UpstreamDialer {
    return this.#dialer as UpstreamDialer;
  }

  /** Whether the request may be sent twice (RFC 9110 §9.2.2, or its client says so by Idempotency-Key) and can be. */
  get isRepeatable(): boolean {
    const { head } = this.#exchange;
    if (!this.body.replayable || head.contentLength > REPLAY_MAX) return false;
    return isIdempotent(head.method) || this.#exchange.hasIdempotencyKey;
  }

  // --- the request's body --------------------------------------------------------------------------------------------------------

  /** A request begins; its body may come before `start` is called. `complete`: there is none. */
  expectBody(complete: boolean, chunked: boolean): void {
    this.body.begin(complete, chunked);
    this.#hasBody = !complete;
    this.requestDoneMs = complete ? this.#engine.context.clock.now() : 0;
  }

  onRequestBody(bytes: Buffer, start: number, end: number): void {
    if (end === start) return;
    this.body.keep(bytes, start, end);
    if (!this.#current.takeBody(bytes, start, end) && this.body.keptBytes > REPLAY_MAX)
      this.#exchange.client.pauseReading();
  }

  onRequestEnd(trailers: string): void {
    this.body.end(trailers);
    this.requestDoneMs = this.#engine.context.clock.now();
    this.#current.takeBodyEnd();
  }

  /** All that one read of the client brought was handed over. */
  onRequestReadDone(): void {
    this.#current.flush();
  }

  onClientFull(): void {
    this.#current.pause();
  }

  onClientDrain(): void {
    this.#current.resume();
  }

  onTunnelFromClient(bytes: Buffer): void {
    this.#current.onTunnelFromClient(bytes);
  }

  endTunnel(byClient: boolean): void {
    this.#current.endTunnel(byClient);
  }

  // --- attempts ------------------------------------------------------------------------------------------------------------------

  /** Sends the request to an endpoint of `pool`, by connections of `dialer`. `upgrade`: the client asks for another protocol. */
  start(pool: Pool, dialer: UpstreamDialer, upgrade: boolean): void {
    const { context } = this.#engine;
    this.#pool = pool;
    this.#hash = pool.hashOn === null ? 0 : hashOfRequest(pool.hashOn, this.#exchange.head, this.#exchange);
    this.#dialer = dialer;
    this.upgrade = upgrade;
    pool.countRequest();
    const limit = pool.options.timeouts.request;
    // From arrival: a stage may have held the request back.
    if (limit !== null) this.#armRequest(limit);
    else context.wheel.disarm(this.#requestTimer);
    if (pool.isQueued) pool.serveQueue();
    this.#acquire();
    if (pool.hedging !== null) this.#armHedge(pool.hedging.delayMs);
  }

  /** A stage holds the request back, before `start`: from arrival on, for as long as the pool gives a request at most. */
  limitWait(pool: Pool): void {
    this.#armRequest(pool.options.timeouts.request ?? STAGE_MAX_MS);
  }

  #armRequest(limitMs: number): void {
    const { wheel, clock } = this.#engine.context;
    wheel.arm(this.#requestTimer, limitMs - clock.now() + this.#exchange.arrivalMs);
  }

  /** Takes an endpoint and sends the request to it; waits in the queue when all are full; gives up when there is none. */
  #acquire(): void {
    const { pool } = this;
    const nowMs = this.#engine.context.clock.now();
    const endpoint = this.#take(nowMs);
    if (endpoint !== null) return this.#begin(endpoint, nowMs);
    if (pool.refusal === Refusal.EMPTY) return this.#giveUp();
    this.#place = pool.enqueue(this, this.#tried.size > 0);
    if (this.#place === null) return this.#exchange.fail(503, 'limit');
    const limit = pool.options.limits.pendingTimeout;
    if (limit !== null) this.#engine.context.wheel.arm(this.#pendingTimer, limit);
  }

  /** Null: see the pool's `refusal`. */
  #take(nowMs: number): Endpoint | null {
    const { pool } = this;
    const bound = pool.affinity === null ? null : this.#acquireBound(pool, pool.affinity, nowMs);
    return bound ?? pool.acquire(this.#hash, this.#tried, nowMs, this.isRepeatable);
  }

  /** The endpoint that the client's cookie names, while it is available. */
  #acquireBound(pool: Pool, affinity: Affinity, nowMs: number): Endpoint | null {
    pool.refresh();
    const { kinds, offsets, headerCount } = this.#exchange.head;
    const bytes = this.#exchange.headBytes;
    this.#bound = null;
    for (let i = 0; i < headerCount && this.#bound === null; i++)
      if (kinds[i] === Field.COOKIE) this.#bound = affinity.find(bytes, offsets[i * 5 + 2], offsets[i * 5 + 3]);
    return this.#bound === null ? null : pool.acquireBound(this.#bound, this.#tried, nowMs);
  }

  /** Whether the client's cookie names an endpoint: who is served elsewhere only because that one is full or failed this once keeps it. */
  get isBound(): boolean {
    return this.#bound !== null;
  }

  onTurn(): boolean {
    const { pool } = this;
    const nowMs = this.#engine.context.clock.now();
    const endpoint = this.#take(nowMs);
    if (endpoint === null && pool.refusal === Refusal.FULL) return false;
    // The pool takes the place back once this returns true.
    this.#place = null;
    this.#engine.context.wheel.disarm(this.#pendingTimer);
    if (endpoint === null) this.#giveUp();
    else this.#begin(endpoint, nowMs);
    return true;
  }

  #begin(endpoint: Endpoint, nowMs: number): void {
    if (this.#retryAfterS >= 0 && this.#tried.has(endpoint)) {
      // Nobody else is left, and this one said when it wants to be asked again.
      this.pool.cancel(endpoint, nowMs);
      return this.#giveUp();
    }
    if (this.attempts === 0) this.queueMs = nowMs - this.#exchange.arrivalMs;
    this.attempts++;
    this.#current = this.#first;
    this.#first.begin(endpoint, this.attempts, nowMs);
  }

  // --- what attempts tell --------------------------------------------------------------------------------------------------------

  /** Whether another attempt runs beside this one. */
  isContested(attempt: Attempt): boolean {
    return this.#second !== null && this.#other(attempt).isRunning;
  }

  #other(attempt: Attempt): Attempt {
    return attempt === this.#first ? (this.#second as Attempt) : this.#first;
  }

  /** Whether an answer is thrown away, because another attempt runs or is made that may have a better one. `onDeclined` follows. */
  declines(attempt: Attempt, head: ResponseHead): boolean {
    const { status } = head;
    if (status < 500) return false;
    const contested = this.isContested(attempt);
    const bit = retryBitOfStatus(status);
    if (!contested && (bit === 0 || !this.#areOthersLeft() || !this.#mayRetry(bit, true))) return false;
    // Who is overloaded and says for how long is not asked again.
    if (head.retryAfterS >= 0 && status === 503) this.#retryAfterS = head.retryAfterS;
    return true;
  }

  /** The attempt was let go of, for another one. */
  onDeclined(attempt: Attempt): void {
    this.#tried.add(attempt.endpoint as Endpoint);
    if (!this.#goesOnWithOther(attempt)) this.#retryLater();
  }

  /** Its answer is the one that counts. */
  onAnswered(attempt: Attempt): void {
    this.#engine.context.wheel.disarm(this.#requestTimer);
    if (this.#fineTimer !== null) this.#engine.context.fine.disarm(this.#fineTimer);
    if (this.#second === null || !this.#second.isRunning || this.hedge !== '') return;
    this.#current = attempt;
    this.#hedgeEnded(attempt === this.#second ? 'won' : 'lost');
    const other = this.#other(attempt);
    if (other.isRunning) other.abandon();
  }

  /** Another attempt without an answer is made, and allowed. Counts the retry. */
  mayAbandon(attempt: Attempt): boolean {
    if (this.isContested(attempt) || !this.#areOthersLeft()) return false;
    if (!this.#attemptsLeft() || !this.isRepeatable || this.#exchange.earlierAttempts > 0) return false;
    if (!this.pool.takeRetry(retryReason(RetryOn.TIMEOUT))) return false;
    this.#failStatus = 504;
    this.#failReason = 'response-timeout';
    return true;
  }

  /** A kept connection had died: that says nothing about the endpoint, and nothing of the request was answered. Costs no attempt. */
  onStale(attempt: Attempt): void {
    this.pool.cancel(attempt.endpoint as Endpoint, attempt.startedMs);
    this.pool.countRetry(STALE_CONNECTION);
    this.dialOnly = true;
    this.#freeAttempts++;
    if (!this.#goesOnWithOther(attempt)) this.#acquire();
  }

  /** Our own machine is at its limit: that says nothing about the endpoint. */
  onLocalLimit(attempt: Attempt): void {
    this.pool.cancel(attempt.endpoint as Endpoint, attempt.startedMs);
    if (!this.#goesOnWithOther(attempt)) this.#exchange.fail(503, 'limit');
  }

  /** The attempt ended without an answer. `bit`: why, as RetryOn; `unanswered`: not one byte of an answer came. */
  onAttemptFailed(attempt: Attempt, bit: number, unanswered: boolean, status: number, reason: Reason): void {
    this.#failStatus = status;
    this.#failReason = reason;
    if (this.#goesOnWithOther(attempt)) {
      this.#tried.add(attempt.endpoint as Endpoint);
      return;
    }
    const atOnce = bit === RetryOn.CONNECT && this.#areOthersLeft();
    if (!this.#mayRetry(bit, unanswered)) return this.#giveUp();
    this.#tried.add(attempt.endpoint as Endpoint);
    if (atOnce) this.#acquire();
    else this.#retryLater();
  }

  /** Whether there is another attempt that may still answer. */
  #goesOnWithOther(attempt: Attempt): boolean {
    if (attempt === this.#second && this.hedge === '') this.#hedgeEnded('failed');
    if (!this.isContested(attempt)) return false;
    this.#current = this.#other(attempt);
    return true;
  }

  // --- the one rule for another attempt ------------------------------------------------------------------------------------------

  /**
   * The pool allows this cause, attempts are left, no evenkeel before us is at it, the request was not sent or may be sent twice, no byte of a
   * response came (or only a head that is thrown away), and the budget has room. Counts the retry.
   */
  #mayRetry(bit: number, unanswered: boolean): boolean {
    const { pool } = this;
    if ((pool.retryOn & bit) === 0 || !unanswered || !this.#attemptsLeft()) return false;
    if (bit === RetryOn.CONNECT ? !this.body.replayable : !this.isRepeatable) return false;
    return this.#exchange.earlierAttempts === 0 && pool.takeRetry(retryReason(bit));
  }

  #attemptsLeft(): boolean {
    return this.attempts - this.#freeAttempts <= (this.pool.options.retry?.attempts ?? 0);
  }

  #areOthersLeft(): boolean {
    return this.pool.set.available.length > this.#tried.size + 1;
  }

  /** Something was reached and could not: it is given time, and not all are to come back at once. */
  #retryLater(): void {
    this.#isBackingOff = true;
    this.#fine(this.pool.retryDelayMs(this.attempts - this.#freeAttempts));
  }

  #giveUp(): void {
    if (this.#retryAfterS >= 0) this.#exchange.fail(503, 'limit', this.#retryAfterS);
    else if (this.attempts > 0) this.#exchange.fail(this.#failStatus, this.#failReason);
    else this.#exchange.fail(503, 'no-endpoint');
  }

  // --- hedging -------------------------------------------------------------------------------------------------------------------

  /** Only what may be sent twice and has no body; not what had to queue, for then there is no room for twice. */
  #armHedge(delayMs: number): void {
    const { method } = this.#exchange.head;
    if (delayMs === Infinity || this.#hasBody || this.upgrade || !this.#first.isRunning) return;
    if (isIdempotent(method) && method !== Method.CONNECT) this.#fine(delayMs);
  }

  #onHedgeDue(): void {
    const { pool } = this;
    const { hedging } = pool;
    const slow = this.#first;
    if (hedging === null || !slow.isUnanswered || this.responded || this.#exchange.earlierAttempts > 0) return;
    const nowMs = this.#engine.context.clock.now();
    const leftMs = slow.startedMs + hedging.delayMs - nowMs;
    // The attempt that is out now began later than the first one.
    if (leftMs > 1) return this.#fine(leftMs);
    const endpoint = pool.acquireHedge(slow.endpoint as Endpoint, this.#hash, this.#tried, nowMs);
    if (endpoint === null) return;
    this.attempts++;
    this.#freeAttempts++;
    this.#second ??= new Attempt(this, this.#exchange, this.#engine);
    this.#second.begin(endpoint, this.attempts, nowMs);
  }

  #hedgeEnded(outcome: HedgeOutcome): void {
    this.hedge = outcome;
    this.pool.countHedge(outcome);
  }

  // --- the end -------------------------------------------------------------------------------------------------------------------

  /** Lets go of the endpoint: the client left, or its request turned out to be bad. The endpoint is not blamed. */
  cancel(): void {
    if (this.#place !== null) this.pool.leaveQueue(this.#place);
    this.#endAttempts(Outcome.CLIENT_GONE);
  }

  #endAttempts(outcome: Outcome): void {
    const second = this.#second;
    if (second?.isRunning) {
      if (this.hedge === '') this.#hedgeEnded('abandoned');
      second.end(outcome);
    }
    this.#first.end(outcome);
  }

  // --- time ----------------------------------------------------------------------------------------------------------------------

  #fine(delayMs: number): void {
    this.#fineTimer ??= new FineTimer(() => this.#onFineTimer());
    this.#engine.context.fine.arm(this.#fineTimer, delayMs);
  }

  #onFineTimer(): void {
    if (!this.#isBackingOff) return this.#onHedgeDue();
    this.#isBackingOff = false;
    this.#acquire();
  }

  #onRequestTimer(): void {
    if (this.#place !== null) this.pool.leaveQueue(this.#place);
    this.#endAttempts(Outcome.TIMED_OUT);
    this.#exchange.fail(504, 'request-timeout');
  }

  #onPendingTimer(): void {
    this.pool.leaveQueue(this.#place as PendingPlace);
    this.#exchange.fail(503, 'pending-timeout');
  }

  /** Makes it ready for the next request. */
  reset(): void {
    const { wheel, fine } = this.#engine.context;
    wheel.disarm(this.#requestTimer);
    wheel.disarm(this.#pendingTimer);
    if (this.#fineTimer !== null) fine.disarm(this.#fineTimer);
    this.body.dropKept();
    this.#first.reset();
    this.#second?.reset();
    this.#current = this.#first;
    this.#tried.clear();
    this.#isBackingOff = false;
    this.#pool = null;
    this.#bound = null;
    this.#dialer = null;
    this.#place = null;
    this.upgrade = false;
    this.isTunnel = false;
    this.dialOnly = false;
    this.#freeAttempts = 0;
    this.#failStatus = 502;
    this.#failReason = 'no-endpoint';
    this.#retryAfterS = -1;
    this.responded = false;
    this.attempts = 0;
    this.queueMs = -1;
    this.hedge = '';
  }
}
