import type { Clock } from '../../base/clock.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Tried } from '../../endpoint/endpoint-set.ts';
import type { PendingPlace, PoolWaiter } from '../../pool/pending-queue.ts';
import { type Pool, Refusal } from '../../pool/pool.ts';
import { retryReason } from '../../pool/retry.ts';

/** Who looks for an endpoint. Each `start` and each `again` is answered once, at once or after `onQueued`, unless `leave` is called. */
export interface Searcher {
  onEndpoint(endpoint: Endpoint, nowMs: number): void;
  onNoEndpoint(reason: 'no-endpoint' | 'limit'): void;
  /** All endpoints are at their limit: it is this one's turn later. */
  onQueued(): void;
}

/** Finds an endpoint for a client's connection, with a wait in the pool's queue where all are full, and another one when that failed. */
export class EndpointSearch implements PoolWaiter {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #searcher: Searcher;
  readonly #hash: number;
  readonly #tried = new Tried();
  #place: PendingPlace | null = null;

  /** `hash`: of the client, where the pool's scheduler hashes; else 0. */
  constructor(pool: Pool, hash: number, clock: Clock, searcher: Searcher) {
    this.#pool = pool;
    this.#clock = clock;
    this.#searcher = searcher;
    this.#hash = hash;
  }

  start(): void {
    const pool = this.#pool;
    const nowMs = this.#clock.now();
    const endpoint = pool.acquire(this.#hash, this.#tried, nowMs);
    if (endpoint !== null) return this.#searcher.onEndpoint(endpoint, nowMs);
    if (pool.refusal === Refusal.EMPTY) return this.#searcher.onNoEndpoint('no-endpoint');
    this.#place = pool.enqueue(this, this.#tried.size > 0);
    if (this.#place === null) this.#searcher.onNoEndpoint('limit');
    else this.#searcher.onQueued();
  }

  onTurn(): boolean {
    const pool = this.#pool;
    const nowMs = this.#clock.now();
    const endpoint = pool.acquire(this.#hash, this.#tried, nowMs);
    if (endpoint === null && pool.refusal === Refusal.FULL) return false;
    // The pool takes the place back once this returns true.
    this.#place = null;
    if (endpoint === null) this.#searcher.onNoEndpoint('no-endpoint');
    else this.#searcher.onEndpoint(endpoint, nowMs);
    return true;
  }

  /** Whether another endpoint may be tried after so many, the last of which failed so (RetryOn). Counts it when it may. */
  mayRetry(attempts: number, bit: number): boolean {
    const pool = this.#pool;
    const isAllowed = (pool.retryOn & bit) !== 0 && attempts <= (pool.options.retry?.attempts ?? 0);
    return isAllowed && pool.takeRetry(retryReason(bit));
  }

  /** Looks for another endpoint than this one. */
  again(failed: Endpoint): void {
    this.#tried.add(failed);
    this.start();
  }

  /** Gives up its turn, if it waits for one. */
  leave(): void {
    if (this.#place !== null) this.#pool.leaveQueue(this.#place);
    this.#place = null;
  }
}
