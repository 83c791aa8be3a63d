import type { HedgeOutcome } from '../../endpoint/pool-words.ts';
import { type Exchange, Verdict } from '../../middleware/exchange.ts';
import type { Pool } from '../../pool/pool.ts';
import { Method } from '../../wire/http1/method.ts';
import { RequestHead } from '../../wire/http1/request-head.ts';
import type { AccessRecord } from '../access-sink.ts';
import { ATTEMPT_HEADER, earlierAttemptsOf } from '../attempt-header.ts';
import { REASONS, type Reason } from '../listener-cells.ts';
import type { ClientConnection } from './client-connection.ts';
import type { BoundRoute, Http1Engine } from './engine.ts';
import { Forwarding } from './forwarding.ts';
import { HeaderEdits } from './header-edits.ts';
import { MaxForwards, maxForwards, OPTIONS_HERE, traceHere } from './max-forwards.ts';
import { NO_BYTES, RequestView } from './request-view.ts';

/** Room for a head that a connection keeps between requests. */
const HEAD_KEPT = 4096;
/** Status counted for a client that left before its response began (as nginx). */
const CLIENT_GONE = 499;
/** Status counted for a client that was cut off before its response began: nobody sent it. */
const CUT = 503;

/**
 * One request and its response: finds the route, runs its stages, has the request forwarded or answers itself, and counts and tells when it is over.
 * Lent by the engine to a client connection while it has a request, so that connections that wait for one take up little; used again and again.
 */
export class Http1Exchange extends RequestView implements Exchange, AccessRecord {
  /** Attempts, upstream side and body. */
  readonly forwarding: Forwarding;
  readonly requestEdits = new HeaderEdits();
  readonly responseEdits = new HeaderEdits();
  bytesIn = 0;
  bytesOut = 0;
  status = 0;
  arrivalMs = 0;
  totalMs = 0;
  reason: Reason | 'client-gone' | '' = '';
  /** Whose request it is, or was last. */
  client: ClientConnection;
  /** Somebody may still call `resume` for a request that is over: it must serve no other. */
  hasWaited = false;
  readonly #engine: Http1Engine;
  #active = false;
  #route: BoundRoute | null = null;
  #stage = 0;
  #waitsForStage = false;
  /** A copy of the head, in memory that is used again. */
  #head: Buffer = NO_BYTES;

  constructor(client: ClientConnection) {
    super(new RequestHead(client.engine.headLimits));
    this.client = client;
    this.#engine = client.engine;
    this.forwarding = new Forwarding(this, client.engine);
  }

  /** A head was read into `head`; its bytes are in `buf`. `complete`: there is no body. */
  begin(buf: Buffer, complete: boolean): void {
    const { head } = this;
    const { settings } = this.client;
    this.#active = true;
    this.bytes = buf;
    this.arrivalMs = this.#engine.context.clock.now();
    this.forwarding.expectBody(complete, head.chunked);
    const { hostStart, hostEnd, pathStart, pathEnd, method } = head;
    if (settings.via?.isIn(head, buf) === true) return this.fail(508, 'loop');
    if (this.client.isMisdirected(buf)) return this.fail(421, 'misdirected');
    if ((method === Method.OPTIONS || method === Method.TRACE) && this.#endsHere(buf)) return;
    const { table } = settings;
    const route = table.match(buf, hostStart, hostEnd, pathStart, pathEnd, method, this);
    if (table.pathEnd !== pathEnd) head.shortenPath(buf, table.pathEnd);
    if (method === Method.CONNECT && (route === null || !settings.routes[route.index].connect))
      return this.fail(501, 'not-implemented');
    if (route === null) return table.isPathRefused ? this.fail(400, 'bad-request') : this.fail(404, 'no-route');
    this.#route = settings.routes[route.index];
    if (this.#route.stages.length > 0) this.#runStages();
    else this.#forward();
    if (this.#active) this.#keepHead(buf, head.end);
  }

  /** The head is looked at until the exchange ends; the buffer it was read to is not ours. */
  #keepHead(buf: Buffer, end: number): void {
    if (this.#head.length < end) this.#head = Buffer.allocUnsafe(end);
    buf.copy(this.#head, 0, 0, end);
    this.bytes = this.#head;
  }

  /** RFC 9110 §7.6.2: a hop less for who comes next; answers when there is none left. */
  #endsHere(buf: Buffer): boolean {
    const { head } = this;
    const left = maxForwards(head, buf);
    if (left === MaxForwards.NONE) return false;
    if (left === MaxForwards.INVALID) {
      this.fail(400, 'bad-request');
      return true;
    }
    if (left > 0) {
      this.requestEdits.set('max-forwards', `${left - 1}`);
      return false;
    }
    const { body, headers } = head.method === Method.TRACE ? traceHere(head, buf) : OPTIONS_HERE;
    this.answer(200, body, headers);
    return true;
  }

  #runStages(): void {
    const { stages } = this.#route as BoundRoute;
    while (this.#stage < stages.length) {
      const verdict = stages[this.#stage++].onRequest?.(this) ?? Verdict.CONTINUE;
      if (verdict === Verdict.ANSWERED) return;
      if (verdict === Verdict.WAIT) {
        this.#waitsForStage = true;
        this.hasWaited = true;
        this.forwarding.limitWait((this.#route as BoundRoute).pool);
        return;
      }
    }
    this.#forward();
  }

  resume(): void {
    if (!this.#active || !this.#waitsForStage) return;
    this.#waitsForStage = false;
    this.#runStages();
  }

  #forward(): void {
    const { pool, dialer } = this.#route as BoundRoute;
    this.forwarding.start(pool, dialer, this.head.upgrade && !this.upgradesToHttp);
  }

  onRequestBody(bytes: Buffer, start: number, end: number): void {
    if (this.#active) this.forwarding.onRequestBody(bytes, start, end);
  }

  onRequestEnd(trailers: string): void {
    if (this.#active) this.forwarding.onRequestEnd(trailers);
  }

  /** The final response head is here; it goes to the client right after. */
  onResponseHead(status: number): void {
    this.status = status;
    const { stages } = this.#route as BoundRoute;
    for (let i = stages.length - 1; i >= 0; i--) stages[i].onResponse?.(this);
  }

  /** The client is gone, or is cut off because we go. */
  onClientGone(reason: 'client-gone' | 'draining'): void {
    if (!this.#active) return;
    this.forwarding.cancel();
    const isOurs = reason === 'draining';
    if (!this.forwarding.responded) this.status = isOurs ? CUT : CLIENT_GONE;
    this.end(this.forwarding.isTunnel && !isOurs ? '' : reason);
  }

  /** Refuses the request that is being read, whatever has become of it. */
  reject(status: number, reason: Reason): void {
    if (!this.#active) {
      this.#active = true;
      this.arrivalMs = this.#engine.context.clock.now();
    }
    this.forwarding.cancel();
    if (!this.forwarding.responded) return this.fail(status, reason);
    this.client.abort();
    this.end(reason);
  }

  /** A middleware answers. */
  answer(status: number, body: string, headers?: Readonly<Record<string, string>>): typeof Verdict.ANSWERED {
    this.status = status;
    this.client.answer(status, null, body, headers);
    this.end('');
    return Verdict.ANSWERED;
  }

  /** Evenkeel itself answers: `reason` is what client, log and metrics are told. `retryAfterS`: what it says in Retry-After, where that is known. */
  fail(status: number, reason: Reason, retryAfterS = -1): void {
    this.status = status;
    this.#engine.cells.rejected(this.#engine.context.row, REASONS.indexOf(reason));
    const headers = retryAfterS < 0 ? undefined : { 'retry-after': String(retryAfterS) };
    this.client.answer(status, reason, undefined, headers);
    this.end(reason);
  }

  /** The exchange is over: counts, tells, and makes it ready for the next request. */
  end(reason: Reason | 'client-gone' | ''): void {
    const { context } = this.#engine;
    const isTunnel = this.forwarding.isTunnel;
    this.reason = reason;
    this.totalMs = context.clock.now() - this.arrivalMs;
    const route = this.#route;
    if (route !== null) {
      // How long a tunnel stays open says nothing about how long answers take.
      const durationMs = isTunnel ? this.forwarding.queueMs + this.forwarding.responseMs : this.totalMs;
      route.cells.count(context.row, this.head.method, this.status, durationMs);
      for (const stage of route.stages) stage.onEnd?.(this);
    }
    this.#engine.access?.record(this);
    this.#reset();
    if (isTunnel) this.client.endTunnel();
    else this.client.exchangeEnded();
  }

  #reset(): void {
    this.forwarding.reset();
    this.#active = false;
    this.bytes = NO_BYTES;
    if (this.#head.length > HEAD_KEPT) this.#head = NO_BYTES;
    this.#route = null;
    this.#stage = 0;
    this.#waitsForStage = false;
    this.requestEdits.clear();
    this.responseEdits.clear();
    this.status = 0;
    this.bytesIn = 0;
    this.bytesOut = 0;
  }

  /** The bytes `head` points into. */
  get headBytes(): Buffer {
    return this.bytes;
  }

  // --- what middleware and the access log read, besides RequestView --------------------------------------------------------------

  get listenerName(): string {
    return this.client.settings.listenerName;
  }

  get routeName(): string {
    return this.#route?.name ?? '';
  }

  get poolName(): string {
    return (this.#route?.pool as Pool | undefined)?.name ?? '';
  }

  get endpointId(): string {
    return this.forwarding.endpointId;
  }

  get attempts(): number {
    return this.forwarding.attempts;
  }

  get hedge(): HedgeOutcome | '' {
    return this.forwarding.hedge;
  }

  /** Attempts that an evenkeel before us had made when it sent this one: layers must not multiply each other's retries. */
  get earlierAttempts(): number {
    if (!this.client.trusted) return 0;
    return earlierAttemptsOf(this.header(ATTEMPT_HEADER));
  }

  get queueMs(): number {
    return this.forwarding.queueMs;
  }

  get connectMs(): number {
    return this.forwarding.connectMs;
  }

  get responseMs(): number {
    return this.forwarding.responseMs;
  }

  get clientAddress(): string {
    if (!this.client.trusted) return this.client.peerAddress;
    return this.forwardedAddress(this.client.peerAddress, (address) => this.client.trusts(address));
  }

  get secure(): boolean {
    return this.client.secured !== null;
  }

  setRequestHeader(name: string, value: string | null): void {
    this.requestEdits.set(name, value);
  }

  setResponseHeader(name: string, value: string | null): void {
    this.responseEdits.set(name, value);
  }
}
