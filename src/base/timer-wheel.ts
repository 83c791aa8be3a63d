/** Slots of a wheel; deadlines further away than one turn wait in their slot for another turn. */
const SLOTS = 512;

/** Something that can be due. Intrusive: an owner keeps one WheelTimer per purpose and arms it again and again without allocating. */
export class WheelTimer {
  readonly onDue: () => void;
  dueTick = 0;
  previous: WheelTimer | null = null;
  next: WheelTimer | null = null;

  constructor(onDue: () => void) {
    this.onDue = onDue;
  }

  get armed(): boolean {
    return this.previous !== null;
  }
}

/**
 * One coarse timer for all timeouts of a thread. `arm` and `disarm` are O(1); a timer is due after its delay, less than two ticks late.
 * The owner of the thread calls `tick()` once every `tickMs`; late calls catch up.
 */
export class TimerWheel {
  readonly tickMs: number;
  readonly #slots: WheelTimer[];
  #tick = 0;

  constructor(tickMs: number) {
    this.tickMs = tickMs;
    this.#slots = Array.from({ length: SLOTS }, () => {
      const head = new WheelTimer(() => {});
      head.previous = head;
      head.next = head;
      return head;
    });
  }

  /** Arms `timer` to be due in `delayMs`, whether or not it was armed before. */
  arm(timer: WheelTimer, delayMs: number): void {
    if (timer.previous !== null) this.disarm(timer);
    const ticks = Math.ceil(delayMs / this.tickMs);
    timer.dueTick = this.#tick + (ticks < 1 ? 1 : ticks) + 1;
    const head = this.#slots[timer.dueTick & (SLOTS - 1)];
    const last = head.previous as WheelTimer;
    last.next = timer;
    timer.previous = last;
    timer.next = head;
    head.previous = timer;
  }

  disarm(timer: WheelTimer): void {
    const previous = timer.previous;
    if (previous === null) return;
    const next = timer.next as WheelTimer;
    previous.next = next;
    next.previous = previous;
    timer.previous = null;
    timer.next = null;
  }

  /** Advances by one tick and calls what is due. A callback may arm and disarm any timer. */
  tick(): void {
    this.#tick++;
    const head = this.#slots[this.#tick & (SLOTS - 1)];
    let timer = head.next as WheelTimer;
    const due: WheelTimer[] = [];
    while (timer !== head) {
      if (timer.dueTick <= this.#tick) due.push(timer);
      timer = timer.next as WheelTimer;
    }
    for (const ready of due) {
      // An earlier callback of this tick may have disarmed or re-armed it.
      if (ready.previous === null || ready.dueTick > this.#tick) continue;
      this.disarm(ready);
      ready.onDue();
    }
  }
}
