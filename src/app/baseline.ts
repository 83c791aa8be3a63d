import type { Traffic, TrafficTally } from './traffic-tally.ts';

/** Traffic from before a trial that it is compared with at most. */
const WINDOW_MS = 30_000;

/** What clients got lately, while no version is on trial: the last window that is over, or the one that runs when it has seen more. */
export class Baseline {
  readonly #tally: TrafficTally;
  #sinceMs: number;
  #last: Traffic = { requests: 0, errors: 0, p99Ms: Number.NaN };

  constructor(tally: TrafficTally, nowMs: number) {
    this.#tally = tally;
    this.#sinceMs = nowMs;
  }

  /** Called again and again, but not during a trial. */
  look(nowMs: number): void {
    if (nowMs - this.#sinceMs < WINDOW_MS) return;
    this.#last = this.#running();
    this.#begin(nowMs);
  }

  get traffic(): Traffic {
    const running = this.#running();
    return running.requests > this.#last.requests ? running : this.#last;
  }

  /** What was counted since the last `look` is no baseline: a trial was part of it. */
  skip(nowMs: number): void {
    this.#running();
    this.#begin(nowMs);
  }

  #running(): Traffic {
    this.#tally.advance();
    return this.#tally.traffic;
  }

  #begin(nowMs: number): void {
    this.#tally.reset();
    this.#sinceMs = nowMs;
  }
}
