import type { Endpoint } from '../endpoint/endpoint.ts';

/** Never 0: an endpoint without traffic would not warm up. */
const LEAST_SHARE = 0.1;

/**
 * The part of its weight an endpoint gets `sinceMs` after it came into use: grows linearly to 1 over `windowMs`, from a tenth.
 */
export function slowStartShare(sinceMs: number, windowMs: number): number {
  if (sinceMs >= windowMs) return 1;
  return Math.max(LEAST_SHARE, sinceMs / windowMs);
}

/**
 * Multiplies the share into each endpoint's `effectiveWeight`; returns whether one changed. Skipped when most of the pool is new: then nobody is there to
 * carry the rest.
 */
export function applySlowStart(available: readonly Endpoint[], nowMs: number, windowMs: number): boolean {
  const fresh = available.filter((endpoint) => nowMs - endpoint.readySinceMs < windowMs).length;
  const skip = fresh * 2 > available.length;
  let changed = false;
  for (const endpoint of available) {
    const share = skip ? 1 : slowStartShare(nowMs - endpoint.readySinceMs, windowMs);
    const weight = endpoint.weight * share;
    changed ||= weight !== endpoint.effectiveWeight;
    endpoint.effectiveWeight = weight;
  }
  return changed;
}
