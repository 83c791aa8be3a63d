import type { Clock } from '../base/clock.ts';
import { jittered, type Random } from '../base/random.ts';
import { DOWN_BY_CHOICE, Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import type { EjectionCause, EjectionOptions } from './ejection-options.ts';

export interface EjectionContext {
  readonly clock: Clock;
  readonly random: Random;
  /** Shared words of the pool. */
  readonly words: PoolWords;
  /** Called on the thread that ejected, after the fact. `untilMs` is of the clock. */
  readonly onEjected: (endpoint: Endpoint, cause: EjectionCause, untilMs: number) => void;
  /** A cause of `report` would have ejected it. At most once per endpoint, cause and `base`, on each thread. */
  readonly onReported?: (endpoint: Endpoint, cause: EjectionCause) => void;
}

const LENGTH_JITTER = 0.1;

/**
 * Takes an endpoint out, for whoever found it failing: a worker's `Ejection`, main's `OutlierDetector`. Never the last endpoint that is available nor
 * more than the cap, over all threads; nobody while the pool's words are frozen. `EjectionRestorer` on main ends what is begun here.
 *
 * Places among the ejected are counted exactly: a place belongs to the thread whose atomic OR changed the EJECTED bit, and is given back by
 * the thread whose atomic AND cleared it.
 */
export class Ejector {
  readonly #options: EjectionOptions;
  readonly #context: EjectionContext;
  readonly #reportedMs = new Map<Endpoint, Map<EjectionCause, number>>();

  constructor(options: EjectionOptions, context: EjectionContext) {
    this.#options = options;
    this.#context = context;
  }

  /** `members` is the whole pool, available or not. Returns whether it is out now because of this call. */
  eject(endpoint: Endpoint, cause: EjectionCause, members: readonly Endpoint[]): boolean {
    const { clock, words, onEjected } = this.#context;
    if (words.frozen || endpoint.down !== 0) return false;
    if ((this.#options.report as readonly string[]).includes(cause)) return this.#report(endpoint, cause);
    const { members: usable, available } = ejectionCensus(members);
    if (available < 2 || !words.tryTakeEjection(ejectionCap(this.#options, usable))) return false;
    const untilMs = clock.now() + ejectionLengthMs(this.#options, endpoint.ejections, this.#context.random);
    // Before the bit: main ends an ejection as soon as it sees the bit with a time that is over.
    endpoint.ejectedUntilMs = untilMs;
    const before = endpoint.setDown(Down.EJECTED);
    if ((before & Down.EJECTED) !== 0) {
      words.returnEjection();
      return false;
    }
    // Meanwhile it may have left the pool, or another worker may have ejected the only other one: each sets, then looks, so one of them sees it.
    if (before !== 0 || ejectionCensus(members).available === 0) return this.#takeBack(endpoint);
    endpoint.ejections++;
    words.bumpGeneration();
    onEjected(endpoint, cause, untilMs);
    return true;
  }

  /** Forgets who is not in the pool any more. */
  retain(members: readonly Endpoint[]): void {
    if (this.#reportedMs.size === 0) return;
    const all = new Set(members);
    for (const endpoint of this.#reportedMs.keys()) if (!all.has(endpoint)) this.#reportedMs.delete(endpoint);
  }

  #takeBack(endpoint: Endpoint): false {
    if ((endpoint.setDown(0, Down.EJECTED) & Down.EJECTED) !== 0) this.#context.words.returnEjection();
    // Another worker may have filtered while the bit was set.
    this.#context.words.bumpGeneration();
    return false;
  }

  #report(endpoint: Endpoint, cause: EjectionCause): false {
    const nowMs = this.#context.clock.now();
    const causes = this.#reportedMs.get(endpoint) ?? new Map<EjectionCause, number>();
    this.#reportedMs.set(endpoint, causes);
    if (nowMs - (causes.get(cause) ?? Number.NEGATIVE_INFINITY) < this.#options.base) return false;
    causes.set(cause, nowMs);
    this.#context.onReported?.(endpoint, cause);
    return false;
  }
}

/** How long the next ejection of an endpoint lasts that was ejected `before` times lately. */
export function ejectionLengthMs({ base, max }: EjectionOptions, before: number, random: Random): number {
  return Math.min(max, jittered(random, Math.min(max, base * (before + 1)), LENGTH_JITTER));
}

/** How many of `members` usable endpoints may be ejected at a time. */
export function ejectionCap({ maxEjected }: EjectionOptions, members: number): number {
  return Math.max(1, Math.floor(maxEjected * members));
}

/** Members that nobody took out by choice, and those of them that nothing speaks against. */
export function ejectionCensus(all: readonly Endpoint[]): { members: number; available: number } {
  let members = 0;
  let available = 0;
  for (const endpoint of all) {
    const down = endpoint.down;
    if ((down & DOWN_BY_CHOICE) !== 0 || endpoint.weight <= 0) continue;
    members++;
    if (down === 0) available++;
  }
  return { members, available };
}
