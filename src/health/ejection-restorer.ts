import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import { Trial } from '../endpoint/trial.ts';
import type { EjectionCause, EjectionOptions } from './ejection-options.ts';
import { ejectionLengthMs } from './ejector.ts';

export interface EjectionRestorerContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly words: PoolWords;
  /** Called when an ejection ended because its trial passed. */
  readonly onRestored: (endpoint: Endpoint) => void;
  /** The trial failed: it is out for longer. */
  readonly onEjected: (endpoint: Endpoint, cause: EjectionCause, untilMs: number) => void;
}

const LEAK_LOOK_MS = 1000;

/**
 * Ends ejections. One per pool, on main, the only thread that does (so that it happens although a worker stalls or dies). When the time of one is over
 * a single request finds out whether the endpoint is well: a worker takes the permit, and main restores or ejects for longer by what it found. Main calls `sweep` about
 * every 100 ms, `remove` for every endpoint that leaves, and `release` when another process takes the address over.
 */
export class EjectionRestorer {
  #options: EjectionOptions | null;
  readonly #context: EjectionRestorerContext;
  /** Endpoints that were ejected lately: since when they are clean, or until when the present ejection lasts. */
  readonly #cleanSinceMs = new Map<Endpoint, number>();
  /** After a worker's death: when to look whether it took a place with it, Infinity for never. */
  #leakDueMs = Number.POSITIVE_INFINITY;
  /** Places without a bit at the last look. */
  #surplus = 0;

  /** `options` is null where ejection is off. */
  constructor(options: EjectionOptions | null, context: EjectionRestorerContext) {
    this.#options = options;
    this.#context = context;
  }

  /**
   * Takes new options; running ejections keep their length. With null every one ends at the next sweep, now and later: a worker may eject until it has
   * heard that nobody should.
   */
  configure(options: EjectionOptions | null): void {
    this.#options = options;
  }

  /** Ends what is over. For every `base` without a further ejection the next one is shorter by one `base`. Plain reads unless something is due. */
  sweep(members: Iterable<Endpoint>): void {
    const now = this.#context.clock.now();
    if (now >= this.#leakDueMs) this.#lookForLeak(members, now);
    if (this.#context.words.ejected > 0)
      for (const endpoint of members) if ((endpoint.down & Down.EJECTED) !== 0) this.#sweepEjected(endpoint, now);
    const base = this.#options?.base ?? 0;
    for (const [endpoint, sinceMs] of this.#cleanSinceMs) {
      if (now - sinceMs < base) continue;
      if (endpoint.ejections > 0) endpoint.ejections--;
      if (endpoint.ejections > 0) this.#cleanSinceMs.set(endpoint, sinceMs + base);
      else this.#cleanSinceMs.delete(endpoint);
    }
  }

  /** Ends an ejection at once; false when there was none. */
  release(endpoint: Endpoint): boolean {
    if ((endpoint.down & Down.EJECTED) === 0) return false;
    // One failure more ejects again; set first, for workers use the endpoint as soon as the bit is gone.
    endpoint.failuresInRow = Math.max(0, (this.#options?.consecutiveFailures ?? 0) - 1);
    if (!this.#clear(endpoint)) return false;
    this.#cleanSinceMs.set(endpoint, this.#context.clock.now());
    // What it did before it was ejected is no longer true of it: it is taken for the pool's median, like a newcomer.
    endpoint.setLatency(Number.NaN, 0);
    endpoint.readySinceMs = this.#context.clock.now();
    this.#context.words.bumpGeneration();
    return true;
  }

  /**
   * The endpoint leaves the pool: its place is given back. It is marked as leaving before, so that a worker that does not know yet and
   * ejects it at this moment sees that in the bits before its own and takes its place back itself.
   */
  remove(endpoint: Endpoint): void {
    endpoint.setDown(Down.LEAVING);
    this.#clear(endpoint);
    this.#cleanSinceMs.delete(endpoint);
  }

  #sweepEjected(endpoint: Endpoint, now: number): void {
    const options = this.#options;
    if (options === null) return void this.release(endpoint);
    this.#cleanSinceMs.delete(endpoint);
    switch (endpoint.trial) {
      case Trial.NONE:
        if (endpoint.ejectedUntilMs <= now) this.#open(endpoint);
        break;
      case Trial.PASSED:
        if (this.release(endpoint)) this.#context.onRestored(endpoint);
        break;
      case Trial.FAILED:
        this.#prolong(endpoint, options, now);
        break;
    }
  }

  #open(endpoint: Endpoint): void {
    endpoint.trial = Trial.OPEN;
    this.#context.words.bumpGeneration();
  }

  #prolong(endpoint: Endpoint, options: EjectionOptions, now: number): void {
    const untilMs = now + ejectionLengthMs(options, endpoint.ejections, this.#context.random);
    endpoint.ejectedUntilMs = untilMs;
    endpoint.ejections++;
    endpoint.trial = Trial.NONE;
    this.#context.words.bumpGeneration();
    this.#context.onEjected(endpoint, 'trial', untilMs);
  }

  /** A worker died: the permits it held are open again. */
  workerGone(row: number, members: Iterable<Endpoint>): void {
    for (const endpoint of members) endpoint.endTrial(Trial.OPEN, row);
    this.#surplus = 0;
    this.#leakDueMs = this.#context.clock.now() + LEAK_LOOK_MS;
  }

  /** A worker that was killed between taking a place and setting its bit took the place with it. Two looks must agree: another may be in between just now. */
  #lookForLeak(members: Iterable<Endpoint>, now: number): void {
    const { words } = this.#context;
    const { ejected } = words;
    let surplus = ejected;
    for (const endpoint of members) if ((endpoint.down & Down.EJECTED) !== 0) surplus--;
    const isCertain = surplus > 0 && surplus === this.#surplus;
    const isOver = surplus <= 0 || (isCertain && words.correctEjections(ejected, ejected - surplus));
    this.#surplus = surplus;
    this.#leakDueMs = isOver ? Number.POSITIVE_INFINITY : now + LEAK_LOOK_MS;
  }

  #clear(endpoint: Endpoint): boolean {
    endpoint.trial = Trial.NONE;
    const cleared = (endpoint.setDown(0, Down.EJECTED) & Down.EJECTED) !== 0;
    if (cleared) this.#context.words.returnEjection();
    return cleared;
  }
}
