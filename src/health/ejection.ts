import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { duration, orOff, share } from '../base/literals.ts';
import { jittered, type Random } from '../base/random.ts';
import { DOWN_BY_CHOICE, Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { isFailure, Outcome } from '../endpoint/outcome.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import { SuccessWindow } from './success-window.ts';

/** Options of `pools.NAME.ejection`. */
export const ejectionOptions = z.strictObject({
  consecutiveFailures: orOff(z.int().min(1).max(1_000_000))
    .prefault(5)
    .describe('failures in a row, over all workers, that eject an endpoint'),
  successRate: orOff(share())
    .prefault(0.8)
    .describe(
      'an endpoint of which a smaller share of requests succeeds is ejected; judged per worker, from 20 requests on',
    ),
  window: duration().prefault('30s').describe('how far back successRate looks'),
  base: duration().prefault('10s').describe('length of a first ejection; the n-th in a row lasts n times as long'),
  max: duration().prefault('300s').describe('longest ejection'),
  maxEjected: share()
    .prefault('50%')
    .describe('at most this share of a pool is ejected at a time, though always one may be'),
});
export type EjectionOptions = z.output<typeof ejectionOptions>;

/** Why an endpoint was ejected: the `cause` label of `evenkeel_ejections_total`. */
export const EJECTION_CAUSES = ['consecutive-failures', 'success-rate'] as const;
export type EjectionCause = (typeof EJECTION_CAUSES)[number];

export interface EjectionContext {
  readonly clock: Clock;
  readonly random: Random;
  /** Shared words of the pool. */
  readonly words: PoolWords;
  /** Called on the worker that ejected, after the fact. `untilMs` is of the clock. */
  readonly onEjected: (endpoint: Endpoint, cause: EjectionCause, untilMs: number) => void;
}

/** Requests in the window below which a success rate says nothing. */
const LEAST_VOLUME = 20;
const LENGTH_JITTER = 0.1;

/**
 * Takes endpoints out that fail live traffic. One per pool and worker: the pool calls `onAnswer` for every answer and `update` for every
 * new set. Never ejects the last endpoint that is available nor more than the cap, over all workers; does nothing while the pool's
 * words are frozen. `EjectionRestorer` on main ends what is begun here.
 *
 * Places among the ejected are counted exactly: a place belongs to the thread whose atomic OR changed the EJECTED bit, and is given back by
 * the thread whose atomic AND cleared it.
 */
export class Ejection {
  readonly #options: EjectionOptions;
  readonly #context: EjectionContext;
  #members: readonly Endpoint[] = [];
  readonly #windows = new Map<Endpoint, SuccessWindow>();

  constructor(options: EjectionOptions, context: EjectionContext) {
    this.#options = options;
    this.#context = context;
  }

  /** `members` is the whole pool, available or not. */
  update(members: readonly Endpoint[]): void {
    this.#members = members;
    const all = new Set(members);
    for (const endpoint of this.#windows.keys()) if (!all.has(endpoint)) this.#windows.delete(endpoint);
  }

  /** Once per attempt, when its response head is here or will never be. A client that left says nothing. Hot path. */
  onAnswer(endpoint: Endpoint, outcome: Outcome, nowMs?: number): void {
    if (outcome === Outcome.CLIENT_GONE || this.#context.words.frozen) return;
    const failed = isFailure(outcome);
    if (failed) endpoint.failuresInRow++;
    // Read before write: the word shares its cache line with others', and in good times it is 0 already.
    else if (endpoint.failuresInRow !== 0) endpoint.failuresInRow = 0;
    const { consecutiveFailures, successRate } = this.#options;
    const succeedsTooSeldom =
      successRate !== null && this.#rate(endpoint, failed, nowMs ?? this.#context.clock.now()) < successRate;
    if (!failed || endpoint.down !== 0) return;
    if (consecutiveFailures !== null && endpoint.failuresInRow >= consecutiveFailures)
      this.#eject(endpoint, 'consecutive-failures');
    else if (succeedsTooSeldom) this.#eject(endpoint, 'success-rate');
  }

  /** Counts one answer. The success rate after a failure; 1 after a success, which cannot have lowered it, and with too few requests. */
  #rate(endpoint: Endpoint, failed: boolean, nowMs: number): number {
    let window = this.#windows.get(endpoint);
    if (window === undefined) {
      window = new SuccessWindow(this.#options.window);
      this.#windows.set(endpoint, window);
    }
    if (window.epochMs !== endpoint.ejectedUntilMs) {
      // Ejected since, by whichever worker: what came before was paid for.
      window.clear();
      window.epochMs = endpoint.ejectedUntilMs;
    }
    window.add(!failed, nowMs);
    return failed && window.volume >= LEAST_VOLUME ? window.successRate : 1;
  }

  #eject(endpoint: Endpoint, cause: EjectionCause): void {
    const { clock, words, onEjected } = this.#context;
    const { members, available } = this.#census();
    if (available < 2) return;
    if (!words.tryTakeEjection(Math.max(1, Math.floor(this.#options.maxEjected * members)))) return;
    const untilMs = clock.now() + this.#lengthMs(endpoint);
    // Before the bit: main ends an ejection as soon as it sees the bit with a time that is over.
    endpoint.ejectedUntilMs = untilMs;
    const before = endpoint.setDown(Down.EJECTED);
    if ((before & Down.EJECTED) !== 0) return words.returnEjection();
    // Meanwhile it may have left the pool, or another worker may have ejected the only other one: each sets, then looks, so one of them sees it.
    if (before !== 0 || this.#census().available === 0) return this.#takeBack(endpoint);
    endpoint.ejections++;
    words.bumpGeneration();
    onEjected(endpoint, cause, untilMs);
  }

  #takeBack(endpoint: Endpoint): void {
    if ((endpoint.setDown(0, Down.EJECTED) & Down.EJECTED) !== 0) this.#context.words.returnEjection();
    // Another worker may have filtered while the bit was set.
    this.#context.words.bumpGeneration();
  }

  #lengthMs(endpoint: Endpoint): number {
    const { base, max } = this.#options;
    const length = Math.min(max, base * (endpoint.ejections + 1));
    return Math.min(max, jittered(this.#context.random, length, LENGTH_JITTER));
  }

  /** Members that nobody took out by choice, and those of them that nothing speaks against. */
  #census(): { members: number; available: number } {
    let members = 0;
    let available = 0;
    for (const endpoint of this.#members) {
      const down = endpoint.down;
      if ((down & DOWN_BY_CHOICE) !== 0 || endpoint.weight <= 0) continue;
      members++;
      if (down === 0) available++;
    }
    return { members, available };
  }
}
