import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import type { Outcome } from '../endpoint/outcome.ts';
import type { HashKey } from './hash-key.ts';

/**
 * Chooses which endpoint serves the next request. One object per pool and worker; called by the pool only, never concurrently.
 * Never returns an endpoint outside `set.available`, and a tried one only when every available one was tried. Uses `effectiveWeight`.
 */
export interface Scheduler {
  /** What `pick` wants the hash of. Absent: it does not look at it, and engines spare themselves the hashing. */
  readonly hashOn?: HashKey;
  /** A new set, off the request path: tables over members are built here. Called before the first `pick`. */
  update(set: EndpointSet): void;
  /**
   * The next endpoint, or null when none is available. `hash` is what the request's `hashOn` hashes to, 1…2³¹−1; 0 when the request has nothing of
   * the kind. Here and in `onAnswer` a caller that knows the time hands it in as `nowMs`: a look at the clock costs as much as a pick.
   */
  pick(hash: number, tried: Tried, nowMs?: number): Endpoint | null;
  /** The picked endpoint was taken; its `begin` has been called. */
  onAcquire?(endpoint: Endpoint): void;
  /** The response head is here or will never be: `latencyMs` after the attempt began. Called once per acquire, before the body. */
  onAnswer?(endpoint: Endpoint, outcome: Outcome, latencyMs: number, nowMs?: number): void;
  /** The attempt is over, body included. */
  onRelease?(endpoint: Endpoint, outcome: Outcome, latencyMs: number): void;
  /** What the scheduler would compare for this endpoint now; lower is better. For the API and explain; never on the request path. */
  score?(endpoint: Endpoint): number;
}

/** What a scheduler is made with. */
export interface SchedulerContext {
  readonly clock: Clock;
  readonly random: Random;
  /** This worker's number, 0…workers−1, and how many there are: each starts at another place. */
  readonly worker: number;
  readonly workers: number;
}
