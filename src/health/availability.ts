import { DOWN_BY_CHOICE, Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';

export interface AvailabilityOptions {
  /** With a smaller share of fit endpoints than this the pool panics; 0 = never. */
  readonly panicThreshold: number;
}

export interface Availability {
  /** What a scheduler may pick from, in the order of `all`. */
  readonly available: Endpoint[];
  readonly panic: boolean;
}

/**
 * Which of a pool's endpoints take new work. The pool calls it when its generation or its members change: O(n), never on the request path.
 *
 * Endpoints that a person or they themselves took out (draining, admin, weight 0) are never used. Of the others the fit ones (no down
 * bit) are: primaries, or backups when no primary is fit. When fewer than `panicThreshold` of that tier are fit, or nothing is,
 * the checks are more likely wrong than all the endpoints, and the few that are left would be run over: all are used, backups included. A tier
 * is judged by itself, so that one fit backup behind ten dead primaries takes over and no panic sends traffic to the dead.
 *
 * Endpoints that are leaving are used when there is nothing else: their successors are on the way in the same change.
 */
export function selectAvailable(all: readonly Endpoint[], options: AvailabilityOptions): Availability {
  const candidates: Endpoint[] = [];
  const leaving: Endpoint[] = [];
  const fitPrimaries: Endpoint[] = [];
  const fitBackups: Endpoint[] = [];
  let primaries = 0;
  for (const endpoint of all) {
    const down = endpoint.down;
    if ((down & DOWN_BY_CHOICE) !== 0 || endpoint.weight <= 0) continue;
    if ((down & Down.LEAVING) !== 0) {
      if (down === Down.LEAVING) leaving.push(endpoint);
      continue;
    }
    candidates.push(endpoint);
    if (!endpoint.isBackup) primaries++;
    if (down === 0) (endpoint.isBackup ? fitBackups : fitPrimaries).push(endpoint);
  }
  const usePrimaries = fitPrimaries.length > 0;
  const fit = usePrimaries ? fitPrimaries : fitBackups;
  const tier = usePrimaries ? primaries : candidates.length - primaries;
  const enough = fit.length > 0 ? fit.length >= options.panicThreshold * tier : options.panicThreshold === 0;
  if (enough || candidates.length === 0) return { available: fit.length > 0 ? fit : leaving, panic: false };
  return { available: candidates, panic: true };
}
