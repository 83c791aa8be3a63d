import { downWords } from '../endpoint/down.ts';
import { isFailure, OUTCOME_WORDS, type Outcome } from '../endpoint/outcome.ts';
import { PoolCounter } from '../endpoint/pool-words.ts';
import type { AdminState, LiveEndpoint, LivePool } from '../telemetry/live-state.ts';

/** One endpoint of a pool at one moment. Times are ms. */
export interface PoolEndpoint {
  /** `address:port` */
  readonly id: string;
  readonly weight: number;
  readonly zone: string;
  readonly backup: boolean;
  /** A registry's name, or `document`. */
  readonly source: string;
  /** Nothing speaks against it. */
  readonly available: boolean;
  /** What does, in words. */
  readonly down: readonly string[];
  readonly downReason: string | null;
  readonly state: AdminState;
  /** Requests in flight. */
  readonly active: number;
  /** The estimate of the time to the response head; null before the first answer. */
  readonly latencyMs: number | null;
  /** Attempts that ended, and those of them that failed. */
  readonly requests: number;
  readonly failures: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** How much longer it stays ejected; null when it is not. */
  readonly ejectedForMs: number | null;
}

/** A pool at one moment: plain data, a copy. */
export interface PoolSnapshot {
  readonly name: string;
  readonly scheduler: string;
  /** Health is not believed, because too few endpoints are fit. */
  readonly panic: boolean;
  /** Requests that came, and those that wait for an endpoint with room. */
  readonly requests: number;
  readonly pending: number;
  readonly endpoints: readonly PoolEndpoint[];
}

export function poolSnapshot({ name, scheduler, panic, words, endpoints }: LivePool, nowMs: number): PoolSnapshot {
  const requests = words.counter(PoolCounter.REQUESTS);
  const pending = words.counter(PoolCounter.PENDING);
  return { name, scheduler, panic, requests, pending, endpoints: endpoints.map((one) => endpointOf(one, nowMs)) };
}

function endpointOf({ endpoint, adminState, source, downReason }: LiveEndpoint, nowMs: number): PoolEndpoint {
  const counts = OUTCOME_WORDS.map((_, outcome) => endpoint.outcomes(outcome as Outcome));
  const isEjected = downWords(endpoint.down).includes('ejected');
  return {
    id: endpoint.id,
    weight: endpoint.weight,
    zone: endpoint.spec.zone,
    backup: endpoint.spec.backup,
    source,
    available: endpoint.down === 0,
    down: downWords(endpoint.down),
    downReason,
    state: adminState,
    active: endpoint.active,
    latencyMs: Number.isNaN(endpoint.latencyMs) ? null : endpoint.latencyMs,
    requests: counts.reduce((sum, count) => sum + count, 0),
    failures: counts.reduce((sum, count, outcome) => (isFailure(outcome as Outcome) ? sum + count : sum), 0),
    outcomes: Object.fromEntries(OUTCOME_WORDS.map((word, outcome) => [word, counts[outcome]])),
    ejectedForMs: isEjected ? Math.max(0, endpoint.ejectedUntilMs - nowMs) : null,
  };
}
