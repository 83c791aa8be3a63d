import type { Clock } from '../base/clock.ts';
import { FineTimer, type FineTimers } from '../base/fine-timers.ts';
import { type TimerWheel, WheelTimer } from '../base/timer-wheel.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { Tried } from '../endpoint/endpoint-set.ts';
import { Outcome } from '../endpoint/outcome.ts';
import type { PendingPlace, PoolWaiter } from '../pool/pending-queue.ts';
import { type Pool, Refusal } from '../pool/pool.ts';
import { outcomeOfStatus, RetryOn, retryBitOfStatus, retryReason, STALE_CONNECTION } from '../pool/retry.ts';
import type { Reason } from '../proxy/listener-cells.ts';
import { METHOD_LABELS, type RouteCells } from '../routing/route-cells.ts';

/** Methods that may be sent twice (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY']);

/** Whether a request may be sent twice: by its method, or because its client says so (draft-ietf-httpapi-idempotency-key-header). */
export function isIdempotent(method: string, idempotencyKey: unknown): boolean {
  return IDEMPOTENT.has(method) || (idempotencyKey !== undefined && idempotencyKey !== '');
}

/** What carries one request: undici's client, or http-proxy-3. Never throws. */
export interface Carrier {
  /** The request is. */
  readonly idempotent: boolean;
  /** Attempts that an evenkeel before us had made when it sent this one: layers must not multiply each other's retries. */
  readonly earlierAttempts: number;
  /** Whether the body can be sent once more from its beginning. */
  readonly replayable: boolean;
  /** Sends the request to this endpoint, which is told `attempt` when it is not the first; tells how it goes on by the methods of `Attempts`. */
  send(endpoint: Endpoint, attempt: number): void;
  /** Ends the present attempt and tells nothing more of it. */
  drop(): void;
  /** No endpoint answered. Called at most once, and then nothing else. */
  fail(reason: Reason, status: number, cause: unknown): void;
}

/** What all attempts of a process share. */
export interface AttemptsContext {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly fine: FineTimers;
  /** The row of shared memory that is counted in. */
  readonly row: number;
}

const Wait = { NONE: 0, CONNECT: 1, RESPONSE: 2, PENDING: 3 } as const;
type Wait = (typeof Wait)[keyof typeof Wait];

const OTHER_METHOD = METHOD_LABELS.length - 1;
const CLIENT_GONE_STATUS = 499;

/**
 * The way of one request through a pool, by the rules of the HTTP engine: takes endpoints, reports every one of them exactly once, tries again
 * within the budget, keeps the pool's times. One per request; its carrier moves the bytes.
 */
export class Attempts implements PoolWaiter {
  attempts = 0;
  readonly #context: AttemptsContext;
  readonly #pool: Pool;
  readonly #cells: RouteCells;
  readonly #method: number;
  readonly #hash: number;
  readonly #carrier: Carrier;
  readonly #tried = new Tried();
  readonly #arrivalMs: number;
  readonly #attemptTimer = new WheelTimer(() => this.#onAttemptTimer());
  readonly #requestTimer = new WheelTimer(() => this.#onRequestTimer());
  readonly #backOffTimer = new FineTimer(() => this.#acquire());
  #place: PendingPlace | null = null;
  #endpoint: Endpoint | null = null;
  #wait: Wait = Wait.NONE;
  #startedMs = 0;
  #sentMs = 0;
  #latencyMs = 0;
  /** Of the response that is delivered; 0 while there is none. */
  #status = 0;
  #outcome: Outcome = Outcome.OK;
  #freeAttempts = 0;
  #isOver = false;
  #failReason: Reason = 'no-endpoint';
  #failStatus = 502;
  #cause: unknown = null;

  /** `hash` is that of the pool's `hashOn`. */
  constructor(context: AttemptsContext, pool: Pool, cells: RouteCells, method: string, hash: number, carrier: Carrier) {
    this.#context = context;
    this.#pool = pool;
    this.#cells = cells;
    this.#method = METHOD_LABELS.indexOf(method as (typeof METHOD_LABELS)[number]);
    if (this.#method === -1) this.#method = OTHER_METHOD;
    this.#hash = hash;
    this.#carrier = carrier;
    this.#arrivalMs = context.clock.now();
  }

  /** Whether the request ended, well or not: nothing more is reported. */
  get isOver(): boolean {
    return this.#isOver;
  }

  start(): void {
    this.#pool.countRequest();
    const limit = this.#pool.options.timeouts.request;
    if (limit !== null) this.#context.wheel.arm(this.#requestTimer, limit);
    this.#acquire();
  }

  #acquire(): void {
    const nowMs = this.#context.clock.now();
    const endpoint = this.#pool.acquire(this.#hash, this.#tried, nowMs, this.#repeatable());
    if (endpoint !== null) return this.#attempt(endpoint, nowMs);
    if (this.#pool.refusal === Refusal.EMPTY) return this.#giveUp();
    this.#place = this.#pool.enqueue(this, this.#tried.size > 0);
    if (this.#place === null) return this.#fail('limit', 503, null);
    const limit = this.#pool.options.limits.pendingTimeout;
    if (limit !== null) this.#arm(Wait.PENDING, limit);
  }

  onTurn(): boolean {
    const nowMs = this.#context.clock.now();
    const endpoint = this.#pool.acquire(this.#hash, this.#tried, nowMs, this.#repeatable());
    if (endpoint === null && this.#pool.refusal === Refusal.FULL) return false;
    this.#place = null;
    this.#disarm();
    if (endpoint === null) this.#giveUp();
    else this.#attempt(endpoint, nowMs);
    return true;
  }

  #attempt(endpoint: Endpoint, nowMs: number): void {
    this.attempts++;
    this.#endpoint = endpoint;
    this.#startedMs = nowMs;
    this.#sentMs = 0;
    this.#carrier.send(endpoint, this.attempts + this.#carrier.earlierAttempts);
  }

  // --- what the carrier tells ------------------------------------------------------------------------------------------------------

  /** A connection is being opened. */
  dialling(): void {
    const limit = this.#pool.options.timeouts.connect;
    if (limit !== null) this.#arm(Wait.CONNECT, limit);
  }

  /** It is open. */
  connected(): void {
    if (this.#wait === Wait.CONNECT) this.#disarm();
  }

  /** The request was sent whole. */
  sent(): void {
    if (this.#status !== 0 || this.#isOver) return;
    this.#sentMs = this.#context.clock.now();
    const { timeouts, retry } = this.#pool.options;
    const perTry = retry?.perTryTimeout ?? null;
    const limit =
      perTry !== null && (timeouts.response === null || perTry < timeouts.response) ? perTry : timeouts.response;
    if (limit !== null) this.#arm(Wait.RESPONSE, limit);
    else this.#disarm();
  }

  /** A response head, no interim one. False: it is thrown away, another attempt is under way. */
  answered(status: number): boolean {
    const endpoint = this.#endpoint as Endpoint;
    this.#latencyMs = this.#context.clock.now() - this.#startedMs;
    this.#outcome = outcomeOfStatus(status);
    this.#disarm();
    const bit = retryBitOfStatus(status);
    this.#pool.answered(endpoint, this.#outcome, this.#startedMs, this.#latencyMs);
    if (bit !== 0 && this.#othersLeft() && this.#mayRetry(bit)) {
      this.#carrier.drop();
      this.#pool.release(endpoint, this.#outcome, this.#latencyMs);
      this.#retryLater(endpoint);
      return false;
    }
    this.#status = status;
    this.#context.wheel.disarm(this.#requestTimer);
    return true;
  }

  /** The response went through whole; or, of an upgrade, both sides ended. */
  done(): void {
    this.#end(this.#outcome);
  }

  /** A connection that had served before was dead: the endpoint is not blamed, and the attempt does not count. */
  stale(cause: unknown): void {
    if (this.#isOver) return;
    if (this.#status !== 0 || !this.#repeatable()) return this.reset(cause);
    this.#disarm();
    this.#pool.cancel(this.#endpoint as Endpoint, this.#startedMs);
    this.#endpoint = null;
    this.#pool.countRetry(STALE_CONNECTION);
    this.#freeAttempts++;
    this.#acquire();
  }

  /** No connection came about. */
  connectFailed(cause: unknown): void {
    this.#unanswered(Outcome.CONNECT_FAILED, 'connect-failed', 502, cause, RetryOn.CONNECT);
  }

  /** Our own machine is at a limit of its own: that says nothing about the endpoint. A response that had begun is cut. */
  limited(cause: unknown): void {
    if (this.#status !== 0) return this.#end(Outcome.CLIENT_GONE);
    if (this.#isOver) return;
    this.#pool.cancel(this.#endpoint as Endpoint, this.#startedMs);
    this.#endpoint = null;
    this.#fail('limit', 503, cause);
  }

  /** The connection broke, or what came was no HTTP. A response that had begun is cut. */
  reset(cause: unknown): void {
    if (this.#status !== 0) return this.#end(Outcome.RESET);
    this.#unanswered(Outcome.RESET, 'reset', 502, cause, RetryOn.RESET);
  }

  /** The carrier's own time is over. */
  timedOut(cause: unknown): void {
    if (this.#status !== 0) return this.#end(Outcome.TIMED_OUT);
    this.#unanswered(Outcome.TIMED_OUT, 'response-timeout', 504, cause, RetryOn.TIMEOUT);
  }

  /** Whoever asked does not want it any more. The endpoint is not blamed. */
  cancel(): void {
    if (this.#isOver) return;
    if (this.#place !== null) this.#pool.leaveQueue(this.#place);
    this.#place = null;
    if (this.#endpoint !== null) this.#carrier.drop();
    if (this.#endpoint !== null && this.#status === 0) this.#endAttempt(Outcome.CLIENT_GONE);
    else if (this.#endpoint !== null) this.#pool.release(this.#endpoint, Outcome.CLIENT_GONE, this.#latencyMs);
    this.#close(CLIENT_GONE_STATUS);
  }

  // --- how it goes on --------------------------------------------------------------------------------------------------------------

  #end(outcome: Outcome): void {
    if (this.#isOver) return;
    this.#pool.release(this.#endpoint as Endpoint, outcome, this.#latencyMs);
    this.#close(this.#status);
  }

  #unanswered(outcome: Outcome, reason: Reason, status: number, cause: unknown, bit: number): void {
    if (this.#isOver) return;
    this.#disarm();
    const endpoint = this.#endpoint as Endpoint;
    this.#endAttempt(outcome);
    this.#failReason = reason;
    this.#failStatus = status;
    this.#cause = cause;
    const atOnce = bit === RetryOn.CONNECT && this.#othersLeft();
    if (!this.#mayRetry(bit)) return this.#giveUp();
    if (!atOnce) return this.#retryLater(endpoint);
    this.#tried.add(endpoint);
    this.#acquire();
  }

  /** Something was reached and could not: it is given time, and not all are to come back at once. */
  #retryLater(failed: Endpoint): void {
    this.#endpoint = null;
    this.#tried.add(failed);
    this.#context.fine.arm(this.#backOffTimer, this.#pool.retryDelayMs(this.attempts - this.#freeAttempts));
  }

  #endAttempt(outcome: Outcome): void {
    const elapsedMs = this.#context.clock.now() - this.#startedMs;
    this.#pool.answered(this.#endpoint as Endpoint, outcome, this.#startedMs, elapsedMs);
    this.#pool.release(this.#endpoint as Endpoint, outcome, elapsedMs);
    this.#endpoint = null;
  }

  #repeatable(): boolean {
    return this.#carrier.idempotent && this.#carrier.replayable;
  }

  #mayRetry(bit: number): boolean {
    if ((this.#pool.retryOn & bit) === 0 || !this.#attemptsLeft()) return false;
    if (bit === RetryOn.CONNECT ? !this.#carrier.replayable : !this.#repeatable()) return false;
    return this.#carrier.earlierAttempts === 0 && this.#pool.takeRetry(retryReason(bit));
  }

  #attemptsLeft(): boolean {
    return this.attempts - this.#freeAttempts <= (this.#pool.options.retry?.attempts ?? 0);
  }

  #othersLeft(): boolean {
    return this.#pool.set.available.length > this.#tried.size + 1;
  }

  #giveUp(): void {
    if (this.attempts > 0) this.#fail(this.#failReason, this.#failStatus, this.#cause);
    else this.#fail('no-endpoint', 503, null);
  }

  #fail(reason: Reason, status: number, cause: unknown): void {
    this.#close(status);
    this.#carrier.fail(reason, status, cause);
  }

  #close(status: number): void {
    this.#isOver = true;
    this.#endpoint = null;
    this.#disarm();
    this.#context.wheel.disarm(this.#requestTimer);
    this.#context.fine.disarm(this.#backOffTimer);
    this.#cells.count(this.#context.row, this.#method, status, this.#context.clock.now() - this.#arrivalMs);
  }

  // --- time ------------------------------------------------------------------------------------------------------------------------

  #onRequestTimer(): void {
    if (this.#place !== null) this.#pool.leaveQueue(this.#place);
    this.#place = null;
    if (this.#endpoint !== null) {
      this.#carrier.drop();
      this.#endAttempt(Outcome.TIMED_OUT);
    }
    this.#fail('request-timeout', 504, null);
  }

  #onAttemptTimer(): void {
    const wait = this.#wait;
    this.#wait = Wait.NONE;
    if (wait === Wait.PENDING) {
      this.#pool.leaveQueue(this.#place as PendingPlace);
      this.#place = null;
      this.#fail('pending-timeout', 503, null);
    } else if (wait === Wait.CONNECT) {
      this.#carrier.drop();
      this.#unanswered(Outcome.TIMED_OUT, 'connect-timeout', 504, null, RetryOn.CONNECT);
    } else if (wait === Wait.RESPONSE) {
      this.#onResponseTimer();
    }
  }

  /** After perTryTimeout another attempt is made if one is allowed; if not, this one may go on to the response timeout. */
  #onResponseTimer(): void {
    const { response } = this.#pool.options.timeouts;
    const leftMs = response === null ? Infinity : this.#sentMs + response - this.#context.clock.now();
    if (leftMs <= 0) {
      this.#carrier.drop();
      this.timedOut(null);
    } else if (this.#othersLeft() && this.#attemptsLeft() && this.#repeatable() && this.#takeAbandon()) {
      const endpoint = this.#endpoint as Endpoint;
      this.#carrier.drop();
      this.#endAttempt(Outcome.TIMED_OUT);
      this.#failReason = 'response-timeout';
      this.#failStatus = 504;
      this.#retryLater(endpoint);
    } else if (leftMs < Infinity) {
      this.#arm(Wait.RESPONSE, leftMs);
    }
  }

  #takeAbandon(): boolean {
    return this.#carrier.earlierAttempts === 0 && this.#pool.takeRetry(retryReason(RetryOn.TIMEOUT));
  }

  #arm(wait: Wait, ms: number): void {
    this.#wait = wait;
    this.#context.wheel.arm(this.#attemptTimer, ms);
  }

  #disarm(): void {
    this.#wait = Wait.NONE;
    this.#context.wheel.disarm(this.#attemptTimer);
  }
}
