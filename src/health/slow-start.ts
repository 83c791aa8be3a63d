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
 * Multiplies the share into each endpoint's `effectiveWeight`, measured by the share of the middle one; returns whether one changed. So it is skipped where most of
 * the pool is equally new (nobody is there to carry the rest), and one that joins a pool which has just started itself starts slowly all the same.
 */
export function applySlowStart(available: readonly Endpoint[], nowMs: number, windowMs: number): boolean {
  const middle = middleShare(available, nowMs, windowMs);
  let changed = false;
  for (const endpoint of available) {
    const share = Math.min(1, slowStartShare(nowMs - endpoint.readySinceMs, windowMs) / middle);
    const weight = endpoint.weight * share;
    changed ||= weight !== endpoint.effectiveWeight;
    endpoint.effectiveWeight = weight;
  }
  return changed;
}

/** The share of the middle endpoint by age; of an even number the older one's. */
function middleShare(available: readonly Endpoint[], nowMs: number, windowMs: number): number {
  const fresh: number[] = [];
  for (const { readySinceMs } of available)
    if (nowMs - readySinceMs < windowMs) fresh.push(slowStartShare(nowMs - readySinceMs, windowMs));
  const middle = available.length >> 1;
  return middle < fresh.length ? fresh.sort((a, b) => a - b)[middle] : 1;
}
