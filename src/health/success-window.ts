const BUCKETS = 10;

/**
 * Successes and failures of one endpoint over a sliding window of ten buckets. Fixed buckets and not a moving average: an average of few
 * requests jumps from one extreme to the other. Used by one worker.
 */
export class SuccessWindow {
  readonly #bucketMs: number;
  /** [bucket * 2] successes, [bucket * 2 + 1] failures. */
  readonly #counts = new Uint32Array(BUCKETS * 2);
  /** The owner's note: end of the ejection after which this window began, 0 before any. */
  epochMs = 0;
  /** Number of the newest bucket since the clock's origin. */
  #newest = 0;

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / BUCKETS;
  }

  add(success: boolean, nowMs: number): void {
    this.#turnTo(nowMs);
    this.#counts[(this.#newest % BUCKETS) * 2 + (success ? 0 : 1)]++;
  }

  clear(): void {
    this.#counts.fill(0);
  }

  /** Requests in the window as of the last `add`. */
  get volume(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Successes per request as of the last `add`; NaN without any. */
  get successRate(): number {
    let successes = 0;
    for (let i = 0; i < this.#counts.length; i += 2) successes += this.#counts[i];
    return successes / this.volume;
  }

  #turnTo(nowMs: number): void {
    const bucket = Math.floor(nowMs / this.#bucketMs);
    const behind = bucket - this.#newest;
    if (behind <= 0) return;
    for (let i = 0; i < behind && i < BUCKETS; i++) {
      const place = ((bucket - i) % BUCKETS) * 2;
      this.#counts[place] = 0;
      this.#counts[place + 1] = 0;
    }
    this.#newest = bucket;
  }
}
