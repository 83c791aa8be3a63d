/** Int32 words from one atomic word to the next: a cache line each, so that workers do not slow each other down. */
const LINE = 16;
const GENERATION = 0;
const EJECTED = 1 * LINE;
const RETRY_TOKENS = 2 * LINE;
const LAG_FROZEN = 3 * LINE;

/** Counters a worker keeps for a pool, in its own row. */
export const POOL_COUNTERS = 16;
/** Indices of a row. Retries are counted by the reason of the retry from RETRIES on, hedges by their outcome from HEDGES on. */
export const PoolCounter = { REQUESTS: 0, PENDING: 1, RETRIES: 2, HEDGES: 10 } as const;

/** Why an attempt was followed by another; the `reason` label of `evenkeel_retries_total`. */
export const RETRY_REASONS = [
  'connect-failure',
  'reset',
  'timeout',
  '502',
  '503',
  '504',
  'stale-connection',
  'status',
] as const;

/** What became of a second attempt beside a first that was slow, or why there was none; the `outcome` label of `evenkeel_hedges_total`. */
export const HEDGE_OUTCOMES = ['won', 'lost', 'failed', 'abandoned', 'over-budget', 'no-endpoint'] as const;
export type HedgeOutcome = (typeof HEDGE_OUTCOMES)[number];
if (PoolCounter.RETRIES + RETRY_REASONS.length > PoolCounter.HEDGES) throw new Error('pool counters overlap');
if (PoolCounter.HEDGES + HEDGE_OUTCOMES.length > POOL_COUNTERS) throw new Error('pool counters overlap');

/** One retry, in the units of the retry budget. */
export const RETRY_COST = 1000;

/** Shared memory of one pool: words that carry an invariant over all workers, and each worker's counters. */
export class PoolWords {
  readonly buffer: SharedArrayBuffer;
  readonly rows: number;
  readonly #words: Int32Array;
  /** [row * POOL_COUNTERS + counter] */
  readonly counters: Float64Array;

  constructor(rows: number, buffer = new SharedArrayBuffer(4 * LINE * 4 + rows * POOL_COUNTERS * 8)) {
    this.buffer = buffer;
    this.rows = rows;
    this.#words = new Int32Array(buffer, 0, 4 * LINE);
    this.counters = new Float64Array(buffer, 4 * LINE * 4, rows * POOL_COUNTERS);
  }

  /** Changes whenever a down bit of an endpoint of this pool changes: a worker that sees another value than it knows filters anew. Read plainly, per request. */
  get generation(): number {
    return this.#words[GENERATION];
  }

  bumpGeneration(): void {
    Atomics.add(this.#words, GENERATION, 1);
  }

  /** Endpoints ejected now. */
  get ejected(): number {
    return Atomics.load(this.#words, EJECTED);
  }

  /** Takes one of `cap` places among the ejected; false when all are taken. Compare-and-swap, so that the cap holds over all workers. */
  tryTakeEjection(cap: number): boolean {
    for (;;) {
      const count = Atomics.load(this.#words, EJECTED);
      if (count >= cap) return false;
      if (Atomics.compareExchange(this.#words, EJECTED, count, count + 1) === count) return true;
    }
  }

  /** Gives a place back: the ejection ended, or the ejected endpoint left the pool. */
  returnEjection(): void {
    Atomics.sub(this.#words, EJECTED, 1);
  }

  /** A thread died between taking a place and setting its bit: the count is put right, unless it moved meanwhile. */
  correctEjections(from: number, to: number): boolean {
    return Atomics.compareExchange(this.#words, EJECTED, from, to) === from;
  }

  /** Takes the cost of one retry; false when the budget is used up. */
  tryTakeRetry(): boolean {
    for (;;) {
      const tokens = Atomics.load(this.#words, RETRY_TOKENS);
      if (tokens < RETRY_COST) return false;
      if (Atomics.compareExchange(this.#words, RETRY_TOKENS, tokens, tokens - RETRY_COST) === tokens) return true;
    }
  }

  /** Retries that the budget allows now. */
  get retriesLeft(): number {
    return Math.floor(this.#words[RETRY_TOKENS] / RETRY_COST);
  }

  /** Adds to the retry budget, up to `cap`. Only main refills. */
  refillRetries(tokens: number, cap: number): void {
    for (;;) {
      const before = Atomics.load(this.#words, RETRY_TOKENS);
      const after = Math.min(cap, before + Math.floor(tokens));
      if (Atomics.compareExchange(this.#words, RETRY_TOKENS, before, after) === before) return;
    }
  }

  /** While true no endpoint is ejected: our own stall made every endpoint look slow. Set by main. */
  get frozen(): boolean {
    return this.#words[LAG_FROZEN] !== 0;
  }

  set frozen(frozen: boolean) {
    Atomics.store(this.#words, LAG_FROZEN, frozen ? 1 : 0);
  }

  /** Sum of a counter over all rows. */
  counter(counter: number): number {
    let sum = 0;
    for (let row = 0; row < this.rows; row++) sum += this.counters[row * POOL_COUNTERS + counter];
    return sum;
  }

  /** Moves a dead worker's counts to row 0; what was pending there is gone. */
  retire(row: number): void {
    this.counters[row * POOL_COUNTERS + PoolCounter.PENDING] = 0;
    for (let i = 0; i < POOL_COUNTERS; i++) {
      this.counters[i] += this.counters[row * POOL_COUNTERS + i];
      this.counters[row * POOL_COUNTERS + i] = 0;
    }
  }
}
