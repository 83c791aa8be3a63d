import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { isFailure, Outcome } from '../endpoint/outcome.ts';
import { Trial } from '../endpoint/trial.ts';

/** A request that may not be sent again is no trial, unless none else came for so long. */
const PATIENCE_MS = 5000;

/**
 * Single requests that find out whether ejected endpoints are well again. One per pool and worker: the pool asks before it picks, and tells how an attempt
 * went. Main opens a trial when an ejection's time is over and judges it: see EjectionRestorer.
 */
export class Trials {
  #open: readonly Endpoint[] = [];
  /** Of this thread: when the request that is one began. */
  readonly #held = new Map<Endpoint, number>();

  /** Whether `take` could give one. Hot path. */
  get isOpen(): boolean {
    return this.#open.length > 0;
  }

  /** Whether this thread has one under way. Hot path. */
  get isHeld(): boolean {
    return this.#held.size > 0;
  }

  /** `members` is the whole pool; called when its generation changes. */
  update(members: readonly Endpoint[]): void {
    this.#open = members.filter(({ down, trial }) => down === Down.EJECTED && trial !== Trial.NONE);
  }

  /** An endpoint this request is the trial of, or null. `isRepeatable`: when the attempt fails the request can be sent again. */
  take(nowMs: number, isRepeatable: boolean): Endpoint | null {
    for (const endpoint of this.#open) {
      if (endpoint.trial !== Trial.OPEN || endpoint.down !== Down.EJECTED) continue;
      if (!isRepeatable && nowMs - endpoint.ejectedUntilMs < PATIENCE_MS) continue;
      if (!endpoint.tryTakeTrial()) continue;
      this.#held.set(endpoint, nowMs);
      return endpoint;
    }
    return null;
  }

  /** An attempt ended, or the connection that is to be relayed stands. Attempts from before the ejection may still end: only the one that is the trial counts. */
  end(endpoint: Endpoint, outcome: Outcome, startedMs: number): void {
    if (this.#held.get(endpoint) !== startedMs) return;
    this.#held.delete(endpoint);
    if (outcome === Outcome.CLIENT_GONE) endpoint.endTrial(Trial.OPEN);
    else endpoint.endTrial(isFailure(outcome) ? Trial.FAILED : Trial.PASSED);
  }
}
