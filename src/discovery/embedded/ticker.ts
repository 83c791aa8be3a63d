import type { Clock } from '../../base/clock.ts';
import { TimerWheel, type WheelTimer } from '../../base/timer-wheel.ts';

/** Timers are due so much later at most, when the thread is not busy. */
const TICK_MS = 50;
/** Ticks made up for at once. */
const MAX_CATCH_UP = 2000;
/** A standstill this long is one of ours: what clients sent meanwhile is heard before anything is declared overdue. */
const STALL_MS = 1000;

/** The registry's timers: TTLs, check intervals, waiting queries. One interval turns a wheel by the clock; nothing runs before `start`. */
export class Ticker {
  readonly #clock: Clock;
  readonly #wheel = new TimerWheel(TICK_MS);
  #turnedMs: number;
  #interval: NodeJS.Timeout | null = null;
  #stalled = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#turnedMs = clock.now();
  }

  start(): void {
    this.#turnedMs = this.#clock.now();
    this.#interval = setInterval(() => this.#tick(), TICK_MS);
  }

  stop(): void {
    if (this.#interval !== null) clearInterval(this.#interval);
    this.#interval = null;
  }

  /** The delay counts from now, however far the wheel lags behind. */
  arm(timer: WheelTimer, delayMs: number): void {
    this.#wheel.arm(timer, delayMs + this.#clock.now() - this.#turnedMs);
  }

  disarm(timer: WheelTimer): void {
    this.#wheel.disarm(timer);
  }

  #tick(): void {
    const now = this.#clock.now();
    if (now - this.#turnedMs > STALL_MS && !this.#stalled) {
      this.#stalled = true;
      return;
    }
    this.#stalled = false;
    for (let i = 0; i < MAX_CATCH_UP && this.#turnedMs + TICK_MS <= now; i++) {
      this.#turnedMs += TICK_MS;
      this.#wheel.tick();
    }
  }
}
