import type { Clock } from '../base/clock.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { ThreadState } from './worker-thread.ts';

/** No beat for this long: said aloud, ejection is frozen. */
const STALL_MS = 1000;
/** A loop that came so late within the last second makes all endpoints look slow: what is judged over time holds still. */
const LATE_MS = 500;
/** No beat for this long: the thread is ended. */
const HANG_MS = 10_000;
/** It has not ended so long after that: it never will. */
const STUCK_MS = 2 * HANG_MS;
/** What counts of the time between two looks: main may have been away, or the whole process frozen, and the threads with it. */
const STEP_MS = 500;

/** What is watched of a thread, and what is known of it. */
export interface Watched {
  readonly worker: number;
  readonly row: number;
  state: ThreadState;
  /** Its last beat as of the last look, and how long main has looked and seen no other. */
  beatMs: number;
  quietMs: number;
  /** What of its silence has been acted on. */
  silence: 'none' | 'told' | 'ended' | 'stuck';
  terminate(): unknown;
}

export interface WorkerWatchContext {
  readonly clock: Clock;
  readonly onStalled: (worker: number, forMs: number) => void;
  /** Whether detectors of failing endpoints must hold still. */
  readonly onFrozen: (frozen: boolean) => void;
  /** A thread that was ended lives on. */
  readonly onStuck: (thread: Watched) => void;
}

/** Notices on main by their heartbeats which threads stall or hang; ends those that hang. Each is told once. */
export class WorkerWatch {
  /** A loop came late within the last second, as of the last `look`. */
  isLate = false;
  readonly #heartbeats: Heartbeats;
  readonly #context: WorkerWatchContext;
  #lookedMs: number | null = null;
  #isFrozen = false;

  constructor(heartbeats: Heartbeats, context: WorkerWatchContext) {
    this.#heartbeats = heartbeats;
    this.#context = context;
  }

  /** Called about every 100 ms. */
  look(threads: readonly (Watched | null)[]): void {
    const nowMs = this.#context.clock.now();
    const stepMs = Math.min(nowMs - (this.#lookedMs ?? nowMs), STEP_MS);
    this.#lookedMs = nowMs;
    this.isLate = false;
    let isAnyStalled = false;
    for (const thread of threads) if (thread !== null && this.#isStalled(thread, stepMs)) isAnyStalled = true;
    if (isAnyStalled !== this.#isFrozen) this.#context.onFrozen(isAnyStalled);
    this.#isFrozen = isAnyStalled;
  }

  #isStalled(thread: Watched, stepMs: number): boolean {
    const beatMs = this.#heartbeats.lastBeatMs(thread.row);
    if (beatMs === 0) return false;
    thread.quietMs = beatMs === thread.beatMs ? thread.quietMs + stepMs : 0;
    thread.beatMs = beatMs;
    if (thread.quietMs >= STALL_MS) {
      this.#act(thread);
      return true;
    }
    if (this.#heartbeats.lagMs(thread.row) > LATE_MS) this.isLate = true;
    if (thread.state === 'stalled') thread.state = 'up';
    thread.silence = 'none';
    return false;
  }

  #act(thread: Watched): void {
    const { quietMs, silence } = thread;
    if (thread.state === 'up') thread.state = 'stalled';
    if (silence === 'none') {
      thread.silence = 'told';
      this.#context.onStalled(thread.worker, quietMs);
    } else if (silence === 'told' && quietMs >= HANG_MS) {
      thread.silence = 'ended';
      thread.terminate();
    } else if (silence === 'ended' && quietMs >= STUCK_MS) {
      thread.silence = 'stuck';
      this.#context.onStuck(thread);
    }
  }
}
