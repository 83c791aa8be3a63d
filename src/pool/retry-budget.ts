import { PoolCounter, type PoolWords, RETRY_COST } from '../endpoint/pool-words.ts';

/** Retries a second that are always allowed, so that a quiet pool can retry at all (Finagle's minRetriesPerSec). */
const LEAST_PER_SECOND = 10;
/** How long unused budget is kept (Finagle's ttl). */
const KEEP_SECONDS = 10;

/**
 * Refills a pool's retry budget, on main: a share of the requests that came plus a few per second, kept for ten seconds at most (Finagle's
 * RetryBudget). Workers only take from it, so that a request costs it nothing.
 */
export class RetryBudget {
  readonly #words: PoolWords;
  #requests: number;
  #atMs: number;
  /** Requests a second, decayed over KEEP_SECONDS: decides how much may be kept. */
  #rate = 0;

  constructor(words: PoolWords, nowMs: number) {
    this.#words = words;
    this.#requests = words.counter(PoolCounter.REQUESTS);
    this.#atMs = nowMs;
    const full = LEAST_PER_SECOND * KEEP_SECONDS * RETRY_COST;
    words.refillRetries(full, full);
  }

  /** Called about every 100 ms. `share` is 0…1. */
  refill(share: number, nowMs: number): void {
    const seconds = (nowMs - this.#atMs) / 1000;
    if (seconds <= 0) return;
    const requests = this.#words.counter(PoolCounter.REQUESTS);
    const came = requests - this.#requests;
    this.#requests = requests;
    this.#atMs = nowMs;
    const keep = Math.exp(-seconds / KEEP_SECONDS);
    this.#rate = this.#rate * keep + (came / seconds) * (1 - keep);
    const cap = (LEAST_PER_SECOND + this.#rate * share) * KEEP_SECONDS * RETRY_COST;
    this.#words.refillRetries((came * share + LEAST_PER_SECOND * seconds) * RETRY_COST, cap);
  }
}
