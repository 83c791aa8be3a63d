import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import type { EjectionCause, EjectionOptions } from '../health/ejection-options.ts';
import { EjectionRestorer } from '../health/ejection-restorer.ts';
import { ejectionCap } from '../health/ejector.ts';
import { OutlierDetector } from '../health/outlier-detector.ts';
import { type EjectionState, ejectionStateOf } from './ejection-state.ts';
import type { MemberEvent } from './member.ts';

export interface PoolEjectionContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly words: PoolWords;
  readonly onEvent: (event: MemberEvent) => void;
}

/**
 * Main's part of a pool's ejection: finds outliers, ends what is over, takes over what the process before had begun. One per pool, also where ejection is off;
 * its membership tells it of members.
 */
export class PoolEjection {
  readonly #context: PoolEjectionContext;
  #options: EjectionOptions | null;
  readonly #restorer: EjectionRestorer;
  #detector: OutlierDetector | null;

  /** `options` is null where ejection is off. */
  constructor(options: EjectionOptions | null, context: PoolEjectionContext) {
    this.#context = context;
    this.#options = options;
    const { clock, random, words, onEvent } = context;
    const onRestored = ({ id }: Endpoint) => onEvent({ kind: 'restored', endpoint: id });
    this.#restorer = new EjectionRestorer(options, { clock, random, words, onRestored, onEjected: this.#onEjected });
    this.#detector = this.#makeDetector();
  }

  /** Ejections that run keep their length; when ejection is switched off they end. */
  configure(options: EjectionOptions | null, members: Iterable<Endpoint>): void {
    this.#options = options;
    this.#detector = this.#makeDetector();
    this.#restorer.configure(options);
    if (options === null) this.#restorer.sweep(members);
  }

  /** Called about every 100 ms. `isLate`: a loop of ours came late lately. */
  sweep(members: readonly Endpoint[], isLate: boolean): void {
    this.#restorer.sweep(members);
    this.#detector?.sweep(members, isLate);
  }

  /** What the process before had ejected, within the cap and never the last one: the set may be another than its. */
  ejectAgain(endpoint: Endpoint, forMs: number, members: readonly Endpoint[]): void {
    const options = this.#options;
    if (options === null || endpoint.down !== 0) return;
    let fit = 0;
    for (const one of members) if (one.down === 0 && one.weight > 0) fit++;
    if (fit < 2 || !this.#context.words.tryTakeEjection(ejectionCap(options, members.length))) return;
    endpoint.ejectedUntilMs = this.#context.clock.now() + forMs;
    endpoint.setDown(Down.EJECTED);
  }

  /** Another process took the address over: what its predecessor did is not held against it. */
  forgive(endpoint: Endpoint): void {
    this.#restorer.release(endpoint);
    endpoint.failuresInRow = 0;
    endpoint.ejections = 0;
  }

  /** The endpoint leaves the pool. */
  remove(endpoint: Endpoint): void {
    this.#restorer.remove(endpoint);
  }

  workerGone(row: number, members: Iterable<Endpoint>): void {
    this.#restorer.workerGone(row, members);
  }

  /** How it stands; null when it is off. */
  state(members: readonly Endpoint[]): EjectionState | null {
    if (this.#options === null || this.#detector === null) return null;
    return ejectionStateOf(members, this.#options, this.#detector.wanted);
  }

  #makeDetector(): OutlierDetector | null {
    if (this.#options === null) return null;
    const { clock, random, words, onEvent } = this.#context;
    const onReported = ({ id }: Endpoint, cause: EjectionCause) =>
      onEvent({ kind: 'would-eject', endpoint: id, cause });
    return new OutlierDetector(this.#options, { clock, random, words, onEjected: this.#onEjected, onReported });
  }

  readonly #onEjected = ({ id }: Endpoint, cause: EjectionCause, untilMs: number): void => {
    const forMs = Math.round(untilMs - this.#context.clock.now());
    this.#context.onEvent({ kind: 'ejected', endpoint: id, cause, forMs });
  };
}
