import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { WheelTimer } from '../../base/timer-wheel.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Tried } from '../../endpoint/endpoint-set.ts';
import { Outcome } from '../../endpoint/outcome.ts';
import { Refusal } from '../../pool/pool.ts';
import { RetryOn, retryReason } from '../../pool/retry.ts';
import { METHOD_LABELS } from '../../routing/route-cells.ts';
import { sessionStatusOf } from '../../routing/session-status.ts';
import { unmapped } from '../../wire/proxy-protocol.ts';
import { hashOfClient } from '../client-hash.ts';
import { isGone } from '../gone-endpoint.ts';
import type { Reason } from '../listener-cells.ts';
import { isLocalError } from '../local-error.ts';
import type { SessionRecord } from '../session-record.ts';
import { noLookup, socketType, type UdpEngine, type UdpSettings } from './engine.ts';

const OTHER_METHOD = METHOD_LABELS.indexOf('other');
/** Datagrams that are kept until the endpoint's first answer, for another endpoint should this one refuse. */
const KEPT_MAX = 8;
/** A client whose last datagram is older than this has got its answer or lost it. */
const AWAITED_MS = 1000;
/** How long an endpoint that never answers may take to refuse (ICMP). */
const REFUSAL_MS = 50;

/**
 * What one client's address and port and one endpoint say to each other, over a socket of their own: an endpoint that refuses (ICMP) is noticed, and
 * what was not answered goes to another one. Made by the engine at the first datagram; over when it is idle, answered in full,
 * refused or cut, or when its endpoint is gone and the client goes on.
 */
export class UdpSession implements SessionRecord {
  readonly protocol = 'udp';
  readonly serverName = '';
  readonly clientAddress: string;
  /** The socket of the address that was asked: answers leave from there. */
  readonly #vip: Socket;
  reason: Reason | '' = '';
  endpointId = '';
  bytesIn = 0;
  bytesOut = 0;
  attempts = 0;
  readonly queueMs = 0;
  readonly connectMs = -1;
  responseMs = -1;
  totalMs = 0;
  readonly #engine: UdpEngine;
  readonly #settings: UdpSettings;
  readonly #from: RemoteInfo;
  readonly #onEnd: () => void;
  readonly #timer: WheelTimer;
  readonly #tried = new Tried();
  readonly #arrivalMs: number;
  #endpoint: Endpoint | null = null;
  #upstream: Socket | null = null;
  #isConnected = false;
  /** Unanswered so far, or not sent yet. */
  #kept: Buffer[] = [];
  #startedMs = 0;
  #touchedMs = 0;
  #askedMs = 0;
  /** Since when a datagram finds the endpoint gone; 0 while it is not. */
  #goneSinceMs = 0;
  #sent = 0;
  #answers = 0;
  #isSettled = false;
  #latencyMs = 0;
  #isOver = false;

  constructor(engine: UdpEngine, settings: UdpSettings, vip: Socket, from: RemoteInfo, onEnd: () => void) {
    this.#engine = engine;
    this.#settings = settings;
    this.#vip = vip;
    this.#from = from;
    this.#onEnd = onEnd;
    this.clientAddress = unmapped(from.address);
    this.#arrivalMs = engine.context.clock.now();
    this.#timer = new WheelTimer(() => this.#onTimer());
  }

  get listenerName(): string {
    return this.#settings.listenerName;
  }

  get routeName(): string {
    return this.#settings.route.name;
  }

  get poolName(): string {
    return this.#settings.route.pool.name;
  }

  /** Whether an answer may still be on its way. */
  get isAwaiting(): boolean {
    const { replies } = this.#settings;
    if (replies !== null) return this.#answers < this.#sent * replies;
    return this.#engine.context.clock.now() - this.#askedMs < AWAITED_MS;
  }

  /** Asked when a datagram has come: whether the endpoint is not for it, and its answers to those before have come or are given up. */
  isStranded(nowMs: number): boolean {
    if (this.#endpoint === null || !isGone(this.#settings.route.pool, this.#endpoint)) {
      this.#goneSinceMs = 0;
      return false;
    }
    if (this.#goneSinceMs === 0) this.#goneSinceMs = nowMs;
    return !this.isAwaiting || nowMs - Math.min(this.#askedMs, this.#goneSinceMs) >= AWAITED_MS;
  }

  onClientBytes(bytes: Buffer, nowMs: number): void {
    this.bytesIn += bytes.length;
    this.#touchedMs = nowMs;
    this.#askedMs = nowMs;
    this.#sent++;
    if (this.#answers === 0) {
      // A full one is as lost as on the way.
      if (this.#kept.length === KEPT_MAX) this.#kept.shift();
      this.#kept.push(bytes);
    }
    if (this.#endpoint === null) this.#begin(nowMs);
    else if (this.#isConnected) this.#send(bytes);
  }

  #begin(nowMs: number): void {
    this.#settings.route.pool.countRequest();
    this.#engine.context.wheel.arm(this.#timer, this.#settings.idleMs);
    this.#acquire(nowMs);
  }

  #acquire(nowMs: number): void {
    const { pool } = this.#settings.route;
    const hash = pool.hashOn === null ? 0 : hashOfClient(pool.hashOn, this.clientAddress);
    let endpoint = pool.acquire(hash, this.#tried, nowMs);
    if (endpoint === null && pool.refusal === Refusal.FULL && this.#engine.makeRoom())
      endpoint = pool.acquire(hash, this.#tried, nowMs);
    if (endpoint === null) return this.#refuse(pool.refusal === Refusal.EMPTY ? 'no-endpoint' : 'limit');
    this.attempts++;
    this.#endpoint = endpoint;
    this.endpointId = endpoint.id;
    this.#startedMs = nowMs;
    this.#isSettled = false;
    this.#isConnected = false;
    const { host, port } = endpoint.spec;
    const upstream = createSocket({ type: socketType(host), lookup: noLookup as never });
    this.#upstream = upstream;
    upstream.on('message', (bytes) => this.#onAnswer(bytes));
    upstream.on('error', (error) => this.#onError(upstream, error));
    // Node's types do not say so: a callback gets the error, and no event tells of it then.
    upstream.connect(port, host, (error?: Error) =>
      error === undefined ? this.#onConnected(upstream) : this.#onError(upstream, error),
    );
  }

  #onConnected(upstream: Socket): void {
    if (this.#upstream !== upstream) return;
    this.#isConnected = true;
    for (const bytes of this.#kept) this.#send(bytes);
    if (this.#settings.replies !== 0) return;
    this.#engine.context.wheel.arm(this.#timer, REFUSAL_MS);
    if (this.#settings.perPacket) this.#engine.spare.add(this);
  }

  /** Everything was sent to where nobody answers, and was not refused. The engine calls it early when it needs the place. */
  onSent(): void {
    if (!this.#isSettled) this.#settle(Outcome.OK, 0);
    if (this.#settings.perPacket) this.end('');
    else this.#armIdle();
  }

  #send(bytes: Buffer): void {
    this.#upstream?.send(bytes);
  }

  #onAnswer(bytes: Buffer): void {
    const { cells, context } = this.#engine;
    const nowMs = context.clock.now();
    this.#touchedMs = nowMs;
    this.#answers++;
    this.bytesOut += bytes.length;
    cells.bytesOut(context.row, bytes.length);
    this.#kept = [];
    if (!this.#isSettled) {
      this.responseMs = nowMs - this.#startedMs;
      this.#settle(Outcome.OK, this.responseMs);
    }
    this.#vip.send(bytes, this.#from.port, this.#from.address);
    const { replies } = this.#settings;
    if (replies !== null && replies > 0 && this.#answers >= this.#sent * replies) this.end('');
  }

  /** ICMP says that nobody is there, or there is no way to it: another endpoint gets what was not answered. */
  #onError(upstream: Socket, error: Error): void {
    if (this.#upstream !== upstream || this.#isOver) return;
    const { pool } = this.#settings.route;
    const failed = this.#endpoint as Endpoint;
    if (!this.#isSettled && isLocalError(error)) {
      this.#letGo();
      pool.cancel(failed, this.#startedMs);
      return this.#refuse('limit');
    }
    this.#release(Outcome.CONNECT_FAILED);
    const isAllowed = (pool.retryOn & RetryOn.CONNECT) !== 0 && this.attempts <= (pool.options.retry?.attempts ?? 0);
    if (this.#answers > 0 || !isAllowed || !pool.takeRetry(retryReason(RetryOn.CONNECT)))
      return this.#refuse('connect-failed');
    this.#tried.add(failed);
    this.#acquire(this.#engine.context.clock.now());
  }

  #settle(outcome: Outcome, latencyMs: number): void {
    this.#isSettled = true;
    this.#latencyMs = latencyMs;
    this.#settings.route.pool.answered(this.#endpoint as Endpoint, outcome, this.#startedMs, latencyMs);
  }

  #release(outcome: Outcome): void {
    const endpoint = this.#endpoint;
    if (endpoint === null) return;
    const elapsedMs = this.#engine.context.clock.now() - this.#startedMs;
    if (!this.#isSettled) this.#settle(outcome, elapsedMs);
    this.#letGo();
    this.#settings.route.pool.release(endpoint, outcome, this.#latencyMs);
  }

  #letGo(): void {
    this.#engine.spare.delete(this);
    this.#endpoint = null;
    this.#upstream?.close();
    this.#upstream = null;
  }

  #refuse(reason: Reason): void {
    this.#engine.rejected(reason);
    this.end(reason);
  }

  #idleLeftMs(): number {
    return this.#touchedMs + this.#settings.idleMs - this.#engine.context.clock.now();
  }

  #armIdle(): void {
    this.#engine.context.wheel.arm(this.#timer, this.#idleLeftMs());
  }

  #onTimer(): void {
    const { replies, perPacket } = this.#settings;
    if (replies === 0 && this.#isConnected && (perPacket || !this.#isSettled)) return this.onSent();
    if (this.#idleLeftMs() > 0) return this.#armIdle();
    const isUnanswered = replies !== null && replies > 0 && this.#answers === 0;
    if (isUnanswered) this.#release(Outcome.TIMED_OUT);
    this.end(isUnanswered ? 'response-timeout' : '');
  }

  /** Over: counts and tells. Called once that matters. */
  end(reason: Reason | ''): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { context, access } = this.#engine;
    context.wheel.disarm(this.#timer);
    // That nothing came says nothing where nobody knows whether anything should.
    this.#release(this.#isSettled || this.#settings.replies === 0 ? Outcome.OK : Outcome.CLIENT_GONE);
    this.#kept = [];
    this.reason = reason;
    this.totalMs = context.clock.now() - this.#arrivalMs;
    this.#settings.route.cells.count(context.row, OTHER_METHOD, sessionStatusOf(reason), this.totalMs);
    access?.recordSession(this);
    this.#onEnd();
  }
}
