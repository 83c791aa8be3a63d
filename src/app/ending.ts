import { OperationError } from '../base/errors.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import type { DocumentOptions } from './document.ts';
import { PATIENCE_MS } from './hand-over.ts';
import { type ReloadParts, within } from './reload.ts';
import type { RunningState } from './running-state.ts';
import type { Turns } from './turns.ts';

/** What a drain waits at most for a reload or a restart of workers that is under way. */
const HAND_OVER_MS = 2000;
/** Time for the workers to cut what is left. */
const CUT_MS = 500;
/** What was answered by the admin API as a successor took over has reached its client by then. */
const FAREWELL_MS = 1000;

export interface EndingParts extends Pick<ReloadParts, 'log' | 'workers' | 'listeners' | 'registrations'> {
  readonly events: EventLog;
  readonly state: RunningState;
  readonly turns: Turns;
  readonly runtime: () => DocumentOptions['runtime'];
  /** Resolves when the process whose place this one took is gone; null when there was none. */
  readonly predecessorGone: () => Promise<void> | null;
}

/** How the process ends, on main: who has nothing left, and whether another process serves in our place. `drain` is called once. */
export class Ending {
  readonly #parts: EndingParts;
  #hasBegun = false;
  #isSucceeded = false;
  /** Rows of the threads with nothing left. */
  readonly #drained = new Set<number>();
  #onDrained: () => void = () => {};

  constructor(parts: EndingParts) {
    this.#parts = parts;
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Another process serves in our place. */
  get isSucceeded(): boolean {
    return this.#isSucceeded;
  }

  succeeded(): void {
    this.#isSucceeded = true;
  }

  /** Throws an OperationError: for acts that make no sense any more. */
  refuseActs(): void {
    if (this.#isSucceeded) throw new OperationError('succeeded', 'another process has taken over');
    if (this.#hasBegun) throw new OperationError('draining', 'this process is shutting down');
  }

  /** How long `drain` takes at most, in ms. */
  get timeMs(): number {
    const { announce, drain } = this.#parts.runtime();
    return announce + HAND_OVER_MS + drain + CUT_MS + FAREWELL_MS;
  }

  /** Not ready, then no new connections, then none at all; at the deadline what is left is cut. Resolves when nothing runs any more. */
  async drain(reason: string): Promise<void> {
    const { events, state, turns, workers } = this.#parts;
    const { announce, drain } = this.#parts.runtime();
    this.#hasBegun = true;
    state.draining(reason);
    events.publish({ type: 'draining', reason });
    await this.leaveRegistries();
    if (announce > 0 && !this.#isSucceeded) await new Promise((resolve) => setTimeout(resolve, announce));
    // A hand-over of sockets that is under way ends first.
    await within(
      turns.take(async () => {}),
      HAND_OVER_MS,
    );
    workers.ending();
    await this.#drainWorkers(drain);
  }

  async #drainWorkers(drainMs: number): Promise<void> {
    const { log, workers, listeners, predecessorGone } = this.#parts;
    const done = new Promise<void>((resolve) => {
      this.#onDrained = resolve;
    });
    // Nobody waits for a process that has a successor.
    workers.broadcast({ kind: 'drain', patienceMs: this.#isSucceeded ? PATIENCE_MS : 0 });
    // Where the only worker has just died, nobody else will say so.
    this.#tellWhenDrained();
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      log.warn({ connections: listeners.connections }, 'the drain deadline is over: cutting what is left');
      deadline.resolve();
    }, drainMs);
    // What the process before this one says to our successor, it says through us.
    const isAlone = this.#isSucceeded ? predecessorGone() : null;
    await Promise.race([Promise.all([done, isAlone]), deadline.promise]);
    clearTimeout(timer);
    // Workers say when they have cut: a thread that is ended before closes its sockets with FIN, and a cut body would look whole.
    this.cut();
    await within(done, CUT_MS);
    if (this.#isSucceeded) await within(deadline.promise, FAREWELL_MS);
  }

  /** A successor is registered under the same IDs: what this process took back would be the successor's. */
  async leaveRegistries(): Promise<void> {
    if (this.#isSucceeded) this.#parts.registrations.abandon();
    else await this.#parts.registrations.leave();
  }

  /** Ends every connection now. */
  cut(): void {
    this.#parts.workers.broadcast({ kind: 'cut' });
  }

  /** A thread has nothing left. */
  threadDrained(row: number): void {
    this.#drained.add(row);
    this.#tellWhenDrained();
  }

  threadGone(row: number): void {
    this.#drained.delete(row);
    this.#tellWhenDrained();
  }

  #tellWhenDrained(): void {
    if (this.#parts.workers.rows().every((row) => this.#drained.has(row))) this.#onDrained();
  }
}
