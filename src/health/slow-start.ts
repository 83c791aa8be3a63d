/** Never 0: an endpoint without traffic would not warm up. */
const LEAST_SHARE = 0.1;

/**
 * The part of its weight an endpoint gets `sinceMs` after it came into use: grows linearly to 1 over `windowMs`, from a tenth. The pool multiplies it into
 * `effectiveWeight`, unless more than half of the pool is new: then there is nobody else to take the load.
 */
export function slowStartShare(sinceMs: number, windowMs: number): number {
  if (sinceMs >= windowMs) return 1;
  return Math.max(LEAST_SHARE, sinceMs / windowMs);
}
