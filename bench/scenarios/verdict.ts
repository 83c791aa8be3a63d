import type { Target, Window } from './scenario.ts';
import type { Subject } from './subject.ts';
import type { Summary } from './summary.ts';

/** One proxy in one window. */
export interface Result {
  readonly subject: string;
  readonly proxy: string;
  readonly judged: Subject['judged'];
  readonly summary: Summary;
}

/** One window with everybody who played it. */
export interface WindowReport {
  readonly window: Window;
  readonly results: readonly Result[];
  /** Who took no part, and why. */
  readonly skipped: readonly string[];
}

/** What two runs of the same differ by: a tenth, and a millisecond of p99.9's few requests. */
const NOISE_PART = 1.1;
const NOISE_MS = 1;

/**
 * What a target asks for and what was measured, one line for each part that does not hold. A machine without time for the measurement only adds to it: what holds
 * holds all the more then, and what does not is not judged; nor is a comparison with a peer that was measured so.
 */
export function misses({ window, results }: WindowReport, { subject, judged, summary }: Result): string[] {
  if (judged === null) return [];
  const target: Target = judged === 'plain' ? window.target : window.hedgedTarget;
  const found: string[] = [];
  const atMost = (what: string, value: number, limit: number | undefined) => {
    if (limit !== undefined && !(value <= limit)) found.push(`${what} ${round(value)} > ${round(limit)}`);
  };
  atMost('p99', summary.p99Ms, target.p99Ms);
  atMost('p99.9', summary.p999Ms, target.p999Ms);
  atMost('errors', summary.errors, target.errors);
  atMost('share', summary.share, target.share);
  atMost('fair again after', summary.fairAgainMs, target.fairAgainMs);
  if (target.goodput !== undefined && !(summary.goodput >= target.goodput))
    found.push(`goodput ${round(summary.goodput)} < ${target.goodput}`);
  const peers = results.filter(({ proxy }) => proxy !== 'evenkeel');
  if (target.asBestPeer === true && peers.length > 0) {
    const best = peers.reduce((one, other) => (other.summary.p99Ms < one.summary.p99Ms ? other : one)).summary;
    atMost("p99 (best peer's and noise)", summary.p99Ms, best.p99Ms * NOISE_PART + NOISE_MS);
    atMost("p99.9 (best peer's and noise)", summary.p999Ms, best.p999Ms * NOISE_PART + NOISE_MS);
    if (!best.isSound) found.push('the best peer was measured on a busy machine: not judged');
  }
  const doubt = summary.isSound ? '' : ' (not judged: the machine had no time for the measurement)';
  return found.map((what) => `${window.name}, ${subject}: ${what}${doubt}`);
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
