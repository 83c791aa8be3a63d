import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EjectionOptions } from '../health/ejection-options.ts';
import { ejectionCap, ejectionCensus } from '../health/ejector.ts';

/** How ejection stands in a pool. */
export interface EjectionState {
  /** Out now. */
  readonly ejected: number;
  /** Out now, or failing enough to be. */
  readonly wanted: number;
  /** How many may be out at a time. */
  readonly cap: number;
  /** Why `wanted` is more than `ejected`, for a person; null when it is not. */
  readonly note: string | null;
}

/** For the API and metrics, on main: O(n). `outliers` are those that the detector wants out and may not have. */
export function ejectionStateOf(
  endpoints: readonly Endpoint[],
  options: EjectionOptions,
  outliers: ReadonlyMap<Endpoint, unknown>,
): EjectionState {
  const { consecutiveFailures, report } = options;
  const limit =
    consecutiveFailures === null || report.includes('consecutive-failures') ? Infinity : consecutiveFailures;
  let ejected = 0;
  let refused = 0;
  for (const endpoint of endpoints) {
    if ((endpoint.down & Down.EJECTED) !== 0) ejected++;
    else if (endpoint.down === 0 && (endpoint.failuresInRow >= limit || outliers.has(endpoint))) refused++;
  }
  const { members, available } = ejectionCensus(endpoints);
  const cap = ejectionCap(options, members);
  const wanted = ejected + refused;
  const why = ejected < cap && available < 2 ? 'the last one that is left stays' : `the cap allows ${cap}`;
  return { ejected, wanted, cap, note: refused > 0 ? `would eject ${wanted}, ${why}` : null };
}
