import { applyDelta, type EndpointDelta } from '../endpoint/delta.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { type EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import { Outcome } from '../endpoint/outcome.ts';
import {
  HEDGE_OUTCOMES,
  type HedgeOutcome,
  POOL_COUNTERS,
  PoolCounter,
  type PoolWords,
} from '../endpoint/pool-words.ts';
import type { SlotTable } from '../endpoint/slots.ts';
import { selectAvailable } from '../health/availability.ts';
import { Ejection } from '../health/ejection.ts';
import { applySlowStart } from '../health/slow-start.ts';
import { Trials } from '../health/trials.ts';
import { schedulers } from '../scheduling/catalog.ts';
import type { HashKey } from '../scheduling/hash-key.ts';
import type { Scheduler, SchedulerContext } from '../scheduling/scheduler.ts';
import { Affinity } from './affinity.ts';
import { type Decision, decisionOf } from './explanation.ts';
import { Hedging } from './hedging.ts';
import type { PoolOptions } from './options.ts';
import { type PendingPlace, PendingQueue, type PoolWaiter } from './pending-queue.ts';
import { retryDelayMs, retryMask } from './retry.ts';

/** Why `acquire` returned null. */
export const Refusal = { EMPTY: 0, FULL: 1 } as const;
export type Refusal = (typeof Refusal)[keyof typeof Refusal];

/** What a pool is made with, besides its options. */
export interface PoolContext extends SchedulerContext {
  /** This thread's row in shared memory. */
  readonly row: number;
  readonly table: SlotTable;
  /** Signs affinity cookies where the document names no secret. */
  readonly affinityKey?: Uint8Array;
  /** An endpoint was taken out for failing live traffic. */
  readonly onEjected: (pool: string, endpoint: Endpoint, cause: string, untilMs: number) => void;
  /** It would have been, were its cause not in `report`. */
  readonly onReported?: (pool: string, endpoint: Endpoint, cause: string) => void;
  /** One decision in `decisionEvery`. */
  readonly onDecision?: (decision: Decision) => void;
  /** An endpoint left the pool and this thread has nothing in flight on it any more. */
  readonly onGone: (pool: string, endpoint: Endpoint) => void;
}

/** Endpoints that are looked at for room before a linear search. */
const FULL_PICKS = 4;
/** How often effective weights follow a slow start. */
const SLOW_START_STEP_MS = 1000;

/**
 * A named group of endpoints that serve the same traffic, as one worker sees it. Engines acquire and release; whoever acquires, releases
 * once. Everything here runs on the request path except `configure`, `apply` and `tick`.
 */
export class Pool {
  readonly name: string;
  readonly words: PoolWords;
  options: PoolOptions;
  /** Why the last `acquire` returned null. */
  refusal: Refusal = Refusal.EMPTY;
  /** Health is not believed: fewer than the panic share of the endpoints are fit. */
  panic = false;
  /** What `acquire` wants the hash of; null when the scheduler does not hash. */
  hashOn: HashKey | null = null;
  /** One decision in so many is told; 0 = none. */
  decisionEvery = 0;
  /** Null where clients are not kept at their endpoints. */
  affinity: Affinity | null = null;
  /** `retry.on` as bits; 0 when retries are off. */
  retryOn = 0;
  /** Null where no request is sent a second time for being slow. */
  hedging: Hedging | null = null;
  readonly #context: PoolContext;
  readonly #members = new Map<number, Endpoint>();
  readonly #queue: PendingQueue;
  /** Endpoints passed over by the search for one with room. */
  readonly #passed = new Tried();
  readonly #trials = new Trials();
  #leaving: Endpoint[] = [];
  /** A change came in part: endpoints that it removes are still in `set`. */
  #isChanging = false;
  #scheduler: Scheduler;
  #ejection: Ejection | null;
  #set: EndpointSet = { version: 0, all: [], available: [] };
  #generation: number;
  #activeLimit = 0;
  #slowStartedMs = 0;
  #untold = 0;
  readonly #counterBase: number;

  constructor(name: string, options: PoolOptions, words: PoolWords, context: PoolContext) {
    this.name = name;
    this.words = words;
    this.options = options;
    this.#context = context;
    this.#counterBase = context.row * POOL_COUNTERS;
    this.#queue = new PendingQueue(words, context.row);
    this.#generation = words.generation;
    this.#scheduler = schedulers.create(options.scheduler, context);
    this.#ejection = this.#makeEjection();
    this.affinity = this.#makeAffinity();
    this.hedging = options.hedging === null ? null : new Hedging(options.hedging);
    this.#derive();
    this.#scheduler.update(this.#set);
  }

  get set(): EndpointSet {
    return this.#set;
  }

  /** Whether the endpoint is a member still. */
  has(endpoint: Endpoint): boolean {
    return this.#members.get(endpoint.slot) === endpoint;
  }

  get scheduler(): Scheduler {
    return this.#scheduler;
  }

  /** Whether nothing of it is left: no member, nothing in flight on those that left. */
  get isEmpty(): boolean {
    return this.#members.size === 0 && this.#leaving.length === 0;
  }

  /** Takes new options; what they do not change keeps its state. */
  configure(options: PoolOptions): void {
    const before = this.options;
    this.options = options;
    if (JSON.stringify(before.scheduler) !== JSON.stringify(options.scheduler)) {
      this.#scheduler = schedulers.create(options.scheduler, this.#context);
    }
    if (JSON.stringify(before.affinity) !== JSON.stringify(options.affinity)) this.affinity = this.#makeAffinity();
    if (JSON.stringify(before.hedging) !== JSON.stringify(options.hedging))
      this.hedging = options.hedging === null ? null : new Hedging(options.hedging);
    if (JSON.stringify(before.ejection) !== JSON.stringify(options.ejection)) this.#ejection = this.#makeEjection();
    this.#derive();
    if (options.slowStart === null) for (const endpoint of this.#set.all) endpoint.effectiveWeight = endpoint.weight;
    this.#refilter();
  }

  /** Takes one part of a change of members. Requests see nothing of it before its last part. */
  apply(delta: EndpointDelta): void {
    for (const endpoint of applyDelta(delta, this.#members, this.#context.table, this.#context.row)) {
      this.#leaving.push(endpoint);
    }
    this.#isChanging = !delta.last;
    if (this.#isChanging) return;
    this.#set = { version: delta.version, all: [...this.#members.values()], available: [] };
    for (const endpoint of this.#set.all) endpoint.isBackup = endpoint.spec.backup;
    this.#slowStartedMs = 0;
    this.#refilter();
    this.#releaseGone();
  }

  /**
   * The endpoint for one attempt, or null: see `refusal`. An endpoint in `tried` comes only when nothing else is left. `hash` is that of the request's
   * `hashOn`, 1…2³¹−1; 0 when the request has nothing of the kind. `isRepeatable`: when the attempt fails the request can be sent again.
   */
  acquire(hash: number, tried: Tried, nowMs: number, isRepeatable = true): Endpoint | null {
    if (this.words.generation !== this.#generation) this.#refilter();
    if (this.#trials.isOpen && tried.size === 0) {
      const ejected = this.#trials.take(nowMs, isRepeatable);
      if (ejected !== null) return this.#begin(ejected, nowMs);
    }
    let endpoint = this.#scheduler.pick(hash, tried, nowMs);
    if (endpoint === null) {
      this.refusal = Refusal.EMPTY;
      return null;
    }
    if (this.#activeLimit > 0 && endpoint.active >= this.#activeLimit) {
      endpoint = this.#pickWithRoom(endpoint, hash, tried, nowMs);
      if (endpoint === null) {
        this.refusal = Refusal.FULL;
        return null;
      }
    }
    if (this.decisionEvery > 0 && ++this.#untold >= this.decisionEvery) this.#tell(endpoint, hash);
    return this.#begin(endpoint, nowMs);
  }

  #tell(picked: Endpoint, hash: number): void {
    this.#untold = 0;
    this.#context.onDecision?.(decisionOf(this.name, this.options, this.#set, this.#scheduler, picked, hash));
  }

  /** Takes the endpoint that a client is bound to; null when it is at its limit or was tried: `acquire` gives another then. */
  acquireBound(endpoint: Endpoint, tried: Tried, nowMs: number): Endpoint | null {
    if (tried.size > 0 || (this.#activeLimit > 0 && endpoint.active >= this.#activeLimit)) return null;
    return this.#begin(endpoint, nowMs);
  }

  /** Brings what is available up to date, for whoever looks before `acquire`. */
  refresh(): void {
    if (this.words.generation !== this.#generation) this.#refilter();
  }

  #begin(endpoint: Endpoint, nowMs: number): Endpoint {
    endpoint.begin(nowMs);
    this.#scheduler.onAcquire?.(endpoint);
    return endpoint;
  }

  /**
   * Another endpoint for a request that waits too long for `slow`; null when there is none: never a full one, never while others wait for an
   * endpoint or health is not believed, never past the budget. Counts why not. Only where `hedging` is not null.
   */
  acquireHedge(slow: Endpoint, hash: number, tried: Tried, nowMs: number): Endpoint | null {
    if (this.words.generation !== this.#generation) this.#refilter();
    const endpoint =
      this.panic || this.words.counter(PoolCounter.PENDING) > 0 ? null : this.#pickBeside(slow, hash, tried, nowMs);
    if (endpoint === null) this.countHedge('no-endpoint');
    else if (!(this.hedging as Hedging).tryTake()) this.countHedge('over-budget');
    else return this.#begin(endpoint, nowMs);
    return null;
  }

  #pickBeside(slow: Endpoint, hash: number, tried: Tried, nowMs: number): Endpoint | null {
    const passed = this.#passed;
    passed.clear();
    for (let i = 0; i < tried.size; i++) passed.add(tried.at(i));
    passed.add(slow);
    const endpoint = this.#scheduler.pick(hash, passed, nowMs);
    if (endpoint === null || passed.has(endpoint)) return null;
    return this.#activeLimit > 0 && endpoint.active >= this.#activeLimit ? null : endpoint;
  }

  countHedge(outcome: HedgeOutcome): void {
    this.words.counters[this.#counterBase + PoolCounter.HEDGES + HEDGE_OUTCOMES.indexOf(outcome)]++;
  }

  /** One request came to this pool; the retry budget grows with them. */
  countRequest(): void {
    this.words.counters[this.#counterBase + PoolCounter.REQUESTS]++;
    if (this.hedging !== null) this.hedging.countRequest();
  }

  /** The attempt has a response head, or will never have one. Called once per acquire, before `release`. */
  answered(endpoint: Endpoint, outcome: Outcome, startedMs: number, latencyMs: number): void {
    endpoint.answered(startedMs);
    const nowMs = startedMs + latencyMs;
    if (this.#trials.isHeld) this.#trials.end(endpoint, outcome, startedMs);
    this.#scheduler.onAnswer?.(endpoint, outcome, latencyMs, nowMs);
    this.#ejection?.onAnswer(endpoint, outcome, nowMs);
    if (this.hedging !== null) this.hedging.observe(outcome, latencyMs);
  }

  /** The attempt is over. `latencyMs` is the time to its response head, or to its failure. */
  release(endpoint: Endpoint, outcome: Outcome, latencyMs: number): void {
    endpoint.end(outcome, latencyMs);
    this.#scheduler.onRelease?.(endpoint, outcome, latencyMs);
    if (this.isQueued) this.serveQueue();
  }

  /**
   * Of a connection that is relayed: the endpoint took it, and nothing is asked of it yet. `startedMs` is that of `acquire`. A trial has passed then:
   * bytes may never come, or only after hours.
   */
  connected(endpoint: Endpoint, startedMs: number): void {
    endpoint.answered(startedMs);
    if (this.#trials.isHeld) this.#trials.end(endpoint, Outcome.OK, startedMs);
  }

  /** After `connected`: the client spoke first. `answered` with this `nowMs` follows. */
  asked(endpoint: Endpoint, nowMs: number): void {
    endpoint.asked(nowMs);
  }

  /** In place of `answered` and `release`: the attempt says nothing about the endpoint. */
  cancel(endpoint: Endpoint, startedMs: number): void {
    endpoint.cancel(startedMs);
    if (this.#trials.isHeld) this.#trials.end(endpoint, Outcome.CLIENT_GONE, startedMs);
    if (this.isQueued) this.serveQueue();
  }

  /** In place of `answered` and `release`: the request was answered elsewhere first. Neither a failure nor a success; the scheduler learns how long it took at least. */
  abandon(endpoint: Endpoint, startedMs: number, nowMs: number): void {
    this.#scheduler.onAnswer?.(endpoint, Outcome.CLIENT_GONE, nowMs - startedMs, nowMs);
    this.hedging?.observe(Outcome.CLIENT_GONE, nowMs - startedMs);
    this.cancel(endpoint, startedMs);
  }

  /** How long retry number `retry`, from 1, waits where an endpoint was reached. */
  retryDelayMs(retry: number): number {
    return retryDelayMs(retry, this.#context.random);
  }

  /** Whether another attempt is within the budget; counts it when it is. `reason` is an index into RETRY_REASONS. */
  takeRetry(reason: number): boolean {
    if (!this.words.tryTakeRetry()) return false;
    this.countRetry(reason);
    return true;
  }

  countRetry(reason: number): void {
    this.words.counters[this.#counterBase + PoolCounter.RETRIES + reason]++;
  }

  /** A place in the queue, or null when the queue is full. `again`: it failed somewhere, and waits for an endpoint that it has not tried. */
  enqueue(waiter: PoolWaiter, again = false): PendingPlace | null {
    return this.#queue.enter(waiter, again, this.options.limits.pending);
  }

  /** Gives up a place: the client left or its time is over. */
  leaveQueue(place: PendingPlace): void {
    this.#queue.leave(place);
  }

  /** Called at every wheel tick: whoever waits for a limit looks again, slow starts go on, endpoints that left are given back. */
  tick(nowMs: number): void {
    if (this.isQueued) this.serveQueue();
    if (this.hedging !== null) this.hedging.tick(nowMs);
    if (this.#leaving.length > 0 && !this.#isChanging) this.#releaseGone();
    if (this.options.slowStart !== null && nowMs - this.#slowStartedMs >= SLOW_START_STEP_MS)
      this.#stepSlowStart(nowMs);
    if (this.words.generation !== this.#generation) this.#refilter();
  }

  /** This thread's event loop came late by more than a tick or two: what fails now is not held against endpoints. */
  hold(nowMs: number): void {
    this.#ejection?.hold(nowMs);
  }

  /** Whether anybody waits in this thread. */
  get isQueued(): boolean {
    return this.#queue.length > 0;
  }

  /** Lets those who wait try again, in their order, before anybody who comes now. */
  serveQueue(): void {
    this.#queue.serve();
  }

  /** The full ones are passed over as tried ones are, so that the scheduler's own next one comes. */
  #pickWithRoom(full: Endpoint, hash: number, tried: Tried, nowMs: number): Endpoint | null {
    const passed = this.#passed;
    passed.clear();
    for (let i = 0; i < tried.size; i++) passed.add(tried.at(i));
    passed.add(full);
    for (let i = 0; i < FULL_PICKS; i++) {
      const endpoint = this.#scheduler.pick(hash, passed, nowMs);
      if (endpoint === null || passed.has(endpoint)) break;
      if (endpoint.active < this.#activeLimit) return endpoint;
      passed.add(endpoint);
    }
    for (const endpoint of this.#set.available) {
      if (endpoint.active < this.#activeLimit && !tried.has(endpoint)) return endpoint;
    }
    return null;
  }

  #refilter(): void {
    this.#generation = this.words.generation;
    const selection = selectAvailable(this.#set.all, { panicThreshold: this.options.panic ?? 0 });
    this.panic = selection.panic;
    this.#set = { version: this.#set.version, all: this.#set.all, available: selection.available };
    if (this.options.slowStart !== null)
      applySlowStart(this.#set.available, this.#context.clock.now(), this.options.slowStart);
    this.#ejection?.update(this.#set.all);
    this.#trials.update(this.#set.all);
    this.affinity?.update(this.#set.all, this.#set.available);
    this.#scheduler.update(this.#set);
  }

  #stepSlowStart(nowMs: number): void {
    this.#slowStartedMs = nowMs;
    if (applySlowStart(this.#set.available, nowMs, this.options.slowStart as number)) this.#scheduler.update(this.#set);
  }

  #releaseGone(): void {
    this.#leaving = this.#leaving.filter((endpoint) => {
      if (endpoint.activeHere > 0) return true;
      this.#context.onGone(this.name, endpoint);
      return false;
    });
  }

  #derive(): void {
    this.hashOn = this.#scheduler.hashOn ?? null;
    this.retryOn = this.options.retry === null ? 0 : retryMask(this.options.retry.on);
    this.#activeLimit = this.options.limits.active ?? 0;
  }

  #makeAffinity(): Affinity | null {
    const { affinity } = this.options;
    return affinity === null
      ? null
      : new Affinity(this.name, affinity, this.#context.affinityKey ?? new Uint8Array(32));
  }

  #makeEjection(): Ejection | null {
    const { ejection } = this.options;
    if (ejection === null) return null;
    const { clock, random, onEjected, onReported } = this.#context;
    return new Ejection(ejection, {
      words: this.words,
      clock,
      random,
      onEjected: (endpoint, cause, untilMs) => onEjected(this.name, endpoint, cause, untilMs),
      onReported: (endpoint, cause) => onReported?.(this.name, endpoint, cause),
    });
  }
}
