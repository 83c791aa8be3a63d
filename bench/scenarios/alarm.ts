import { Worker } from 'node:worker_threads';
import { monotonicMs } from './monotonic.ts';

/**
 * Wakes its owner at a time, some 0.1 ms late where a timer is one or two: a thread sleeps on a futex, which takes fractions of a millisecond, and no
 * core is kept busy. Holds one time, the earliest that was set; whoever is woken sets the next.
 */
export class Alarm {
  readonly #changes: Int32Array;
  readonly #due: Float64Array;
  readonly #thread: Worker;
  #setMs = Number.POSITIVE_INFINITY;

  private constructor(shared: SharedArrayBuffer, thread: Worker, onDue: () => void) {
    this.#changes = new Int32Array(shared, 0, 1);
    this.#due = new Float64Array(shared, 8, 1);
    this.#thread = thread;
    thread.on('message', () => {
      // A later time may have been called out just before an earlier one was set: that one is still to come.
      if (monotonicMs() >= this.#setMs) this.#setMs = Number.POSITIVE_INFINITY;
      onDue();
    });
  }

  /** `onDue` looks itself at what is due: it may be called without need. */
  static async start(onDue: () => void): Promise<Alarm> {
    const shared = new SharedArrayBuffer(16);
    const thread = new Worker(new URL('./alarm-thread.ts', import.meta.url), { workerData: { shared } });
    await new Promise((resolve, reject) => thread.once('message', resolve).once('error', reject));
    return new Alarm(shared, thread, onDue);
  }

  set(dueMs: number): void {
    if (dueMs >= this.#setMs) return;
    this.#setMs = dueMs;
    this.#due[0] = dueMs;
    Atomics.add(this.#changes, 0, 1);
    Atomics.notify(this.#changes, 0);
  }

  async stop(): Promise<void> {
    Atomics.store(this.#changes, 0, -1);
    Atomics.notify(this.#changes, 0);
    await this.#thread.terminate();
  }
}
