import { type TimerWheel, WheelTimer } from '../../base/timer-wheel.ts';

/** What a connection waits for, one thing at a time. */
export const Wait = { NONE: 0, HELLO: 1, PENDING: 2, CONNECT: 3, FIRST: 4, IDLE: 5, AGE: 6 } as const;
export type Wait = (typeof Wait)[keyof typeof Wait];

/** How long a connection waits for it. One per connection, armed anew for every thing that it waits for. */
export class Deadline {
  readonly #wheel: TimerWheel;
  readonly #timer: WheelTimer;
  #wait: Wait = Wait.NONE;

  /** `onDue` is told what did not come in time. */
  constructor(wheel: TimerWheel, onDue: (wait: Wait) => void) {
    this.#wheel = wheel;
    this.#timer = new WheelTimer(() => {
      const wait = this.#wait;
      this.#wait = Wait.NONE;
      onDue(wait);
    });
  }

  /** Waits for this now; null or 0: for as long as it takes. */
  arm(wait: Wait, ms: number | null): void {
    this.#wait = wait;
    if (ms === null || ms === 0) this.#wheel.disarm(this.#timer);
    else this.#wheel.arm(this.#timer, ms);
  }

  disarm(): void {
    this.#wheel.disarm(this.#timer);
  }
}
