/** How a request left its endpoint. Integers, because one is reported for every request. */
export const Outcome = { OK: 0, CONNECT_FAILED: 1, TIMED_OUT: 2, RESET: 3, SERVER_ERROR: 4, CLIENT_GONE: 5 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** Label values of the outcomes, by number. */
export const OUTCOME_WORDS = ['ok', 'connect-failed', 'timed-out', 'reset', 'server-error', 'client-gone'] as const;

/** Number of outcomes. */
export const OUTCOMES = OUTCOME_WORDS.length;

/** Whether the outcome speaks against the endpoint. A client that left is not the endpoint's fault. */
export function isFailure(outcome: Outcome): boolean {
  return outcome !== Outcome.OK && outcome !== Outcome.CLIENT_GONE;
}
