/** Tells an endpoint which attempt of a request it sees, from the second on: an evenkeel behind us then makes none of its own. */
export const ATTEMPT_HEADER = 'x-evenkeel-attempt';

/** How many attempts were made before this one, by what a proxy says that is believed. */
export function earlierAttemptsOf(value: unknown): number {
  return typeof value === 'string' && /^[1-9]\d?$/.test(value) ? Number(value) - 1 : 0;
}
