import type { Clock } from '../base/clock.ts';

/** Limits how often something happens: `burst` at once, then one every `refillMs`. */
export class TokenBucket {
  readonly #burst: number;
  readonly #refillMs: number;
  readonly #clock: Clock;
  #tokens: number;
  #filledMs: number;

  constructor(burst: number, refillMs: number, clock: Clock) {
    this.#burst = burst;
    this.#refillMs = refillMs;
    this.#clock = clock;
    this.#tokens = burst;
    this.#filledMs = clock.now();
  }

  /** Whether the burst is used up. */
  get isLow(): boolean {
    return this.#tokens < 1;
  }

  /** Takes a token and returns how many ms the taker must wait before it uses it; 0 when it need not. */
  take(): number {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledMs) / this.#refillMs);
    this.#filledMs = now;
    this.#tokens--;
    return this.#tokens >= 0 ? 0 : -this.#tokens * this.#refillMs;
  }
}
