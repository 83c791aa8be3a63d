import { Down, downWords } from '../endpoint/down.ts';
import { isFailure, OUTCOME_WORDS, type Outcome } from '../endpoint/outcome.ts';
import type { AdminState, LiveEndpoint } from './live-state.ts';

/** One endpoint of a pool at one moment. Times are ms. */
export interface EndpointState {
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

/** `nowMs` is the clock's. */
export function endpointState(
  { endpoint, adminState, source, downReason }: LiveEndpoint,
  nowMs: number,
): EndpointState {
  const { spec, down } = endpoint;
  const counts = OUTCOME_WORDS.map((_, outcome) => endpoint.outcomes(outcome as Outcome));
  return {
    id: endpoint.id,
    weight: endpoint.weight,
    zone: spec.zone,
    backup: spec.backup,
    source,
    available: down === 0,
    down: downWords(down),
    downReason,
    state: adminState,
    active: endpoint.active,
    latencyMs: Number.isNaN(endpoint.latencyMs) ? null : endpoint.latencyMs,
    requests: counts.reduce((sum, count) => sum + count, 0),
    failures: counts.reduce((sum, count, outcome) => (isFailure(outcome as Outcome) ? sum + count : sum), 0),
    outcomes: Object.fromEntries(OUTCOME_WORDS.map((word, outcome) => [word, counts[outcome]])),
    ejectedForMs: (down & Down.EJECTED) === 0 ? null : Math.max(0, endpoint.ejectedUntilMs - nowMs),
  };
}
