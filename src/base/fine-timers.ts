import type { Clock } from './clock.ts';

/** Something that is due to the millisecond. An owner keeps one per purpose and arms it again and again without allocating. */
export class FineTimer {
  readonly onDue: () => void;
  dueMs = 0;
  /** Its index in the heap, -1 while it is not armed. */
  place = -1;

  constructor(onDue: () => void) {
    this.onDue = onDue;
  }
}

/**
 * Timers of a thread for the few waits that a wheel tick is too coarse for: a hedge after some milliseconds, a back-off before a retry. A binary heap before
 * one timer of Node's, which runs only while something is armed. What is due is called behind the reads of its turn: after a stall of our own the
 * answers lie in the sockets, and nobody is to be taken for slow before they are read.
 */
export class FineTimers {
  readonly #clock: Clock;
  readonly #heap: FineTimer[] = [];
  #timeout: NodeJS.Timeout | null = null;
  #timeoutMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Arms `timer` to be due in `delayMs`, whether or not it was armed before. Late by two milliseconds at most, never early. */
  arm(timer: FineTimer, delayMs: number): void {
    this.disarm(timer);
    const nowMs = this.#clock.now();
    timer.dueMs = nowMs + delayMs;
    this.#up(timer, this.#heap.length);
    if (this.#timeout === null || timer.dueMs < this.#timeoutMs) this.#wait(timer.dueMs, nowMs);
  }

  disarm(timer: FineTimer): void {
    const { place } = timer;
    if (place < 0) return;
    timer.place = -1;
    const last = this.#heap.pop() as FineTimer;
    if (last === timer) return;
    if (place > 0 && last.dueMs < this.#heap[(place - 1) >> 1].dueMs) this.#up(last, place);
    else this.#down(last, place);
  }

  /** Forgets all of them. */
  close(): void {
    if (this.#timeout !== null) clearTimeout(this.#timeout);
    this.#timeout = null;
    for (const timer of this.#heap) timer.place = -1;
    this.#heap.length = 0;
  }

  #wait(dueMs: number, nowMs: number): void {
    if (this.#timeout !== null) clearTimeout(this.#timeout);
    this.#timeoutMs = dueMs;
    this.#timeout = setTimeout(this.#afterReads, Math.max(1, Math.ceil(dueMs - nowMs)));
  }

  readonly #afterReads = (): void => {
    setImmediate(this.#call);
  };

  readonly #call = (): void => {
    this.#timeout = null;
    const nowMs = this.#clock.now();
    for (let first = this.#heap[0]; first !== undefined && first.dueMs <= nowMs; first = this.#heap[0]) {
      this.disarm(first);
      first.onDue();
    }
    // Who was called may have armed one, and so set the timer, too.
    if (this.#heap.length > 0 && this.#timeout === null) this.#wait(this.#heap[0].dueMs, nowMs);
  };

  #up(timer: FineTimer, from: number): void {
    const heap = this.#heap;
    let place = from;
    while (place > 0) {
      const parent = heap[(place - 1) >> 1];
      if (parent.dueMs <= timer.dueMs) break;
      heap[place] = parent;
      parent.place = place;
      place = (place - 1) >> 1;
    }
    heap[place] = timer;
    timer.place = place;
  }

  #down(timer: FineTimer, from: number): void {
    const heap = this.#heap;
    let place = from;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1].dueMs < heap[child].dueMs) child++;
      if (heap[child].dueMs >= timer.dueMs) break;
      heap[place] = heap[child];
      heap[place].place = place;
      place = child;
    }
    heap[place] = timer;
    timer.place = place;
  }
}
