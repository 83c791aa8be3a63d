import { quantile } from '../rig/statistics.ts';
import { BIN_MS, type EndpointReport } from './behaviour.ts';
import { LOST, type Records, UNANSWERED } from './load-plan.ts';
import type { Window } from './scenario.ts';

/** A sender that is later than this, one time in a hundred or a thousand, measures itself: nothing is judged by it. */
const LATE_P99_MS = 1;
const LATE_P999_MS = 5;
const ENDPOINTS_LATE_P99_MS = 1;

/** Fair is who had this part of an even share during this time. */
const FAIR_PART = 0.75;
const FAIR_OVER_MS = 1000;

/** What one proxy did in one window. Latencies count from the moment a request was meant to be sent; a request without an answer counts as Infinity. */
export interface Summary {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly errors: number;
  /** Count by status; `lost` for a connection that ended, `unanswered`. */
  readonly errorsBy: Readonly<Record<string, number>>;
  /** Part of all attempts that reached the marked endpoints; NaN when none is marked. */
  readonly share: number;
  /** After how many ms each marked endpoint had its fair share for a second; Infinity: never in this window. NaN when not asked for. */
  readonly fairAgainMs: number;
  /** Good answers, as a part of what the endpoints can serve; NaN when they can serve everything. */
  readonly goodput: number;
  /** Requests that took more than a second: what a timeout had to end. */
  readonly overSecond: number;
  /** How late requests were sent. */
  readonly lateP99Ms: number;
  readonly lateP999Ms: number;
  /** Whether the machine had time for the measurement. */
  readonly isSound: boolean;
}

/** `beganMs` is when the load began, monotonic. */
export function summarise(window: Window, beganMs: number, records: Records, report: EndpointReport): Summary {
  const fromMs = beganMs + window.fromMs;
  const toMs = beganMs + window.toMs;
  const latencies: number[] = [];
  const lateness: number[] = [];
  const errorsBy: Record<string, number> = {};
  let good = 0;
  let requests = 0;
  for (let i = 0; i < records.count; i++) {
    if (records.meantMs(i) < fromMs || records.meantMs(i) >= toMs) continue;
    requests++;
    lateness.push(records.lateMs(i));
    const status = records.status(i);
    const isGood = status >= 200 && status < 400;
    if (isGood) good++;
    else errorsBy[wordOf(status)] = (errorsBy[wordOf(status)] ?? 0) + 1;
    // Whoever is refused under overload is not served slowly; everywhere else an error is part of what clients see.
    if (isGood || window.capacity === 0) latencies.push(records.latencyMs(i));
  }
  latencies.sort((a, b) => a - b);
  const lateP99Ms = quantile(lateness, 0.99);
  const lateP999Ms = quantile(lateness, 0.999);
  return {
    requests,
    p50Ms: atRank(latencies, 0.5),
    p99Ms: atRank(latencies, 0.99),
    p999Ms: atRank(latencies, 0.999),
    errors: requests - good,
    errorsBy,
    share: shareOf(window.marked, report, fromMs, toMs),
    fairAgainMs: window.timesFairness ? fairAgain(window.marked, report, fromMs, toMs) : Number.NaN,
    goodput: window.capacity === 0 ? Number.NaN : good / ((window.capacity * (window.toMs - window.fromMs)) / 1000),
    overSecond: latencies.filter((ms) => ms > 1000).length,
    lateP99Ms,
    lateP999Ms,
    isSound: lateP99Ms <= LATE_P99_MS && lateP999Ms <= LATE_P999_MS && report.latenessP99Ms <= ENDPOINTS_LATE_P99_MS,
  };
}

function wordOf(status: number): string {
  if (status === LOST) return 'lost';
  return status === UNANSWERED ? 'unanswered' : String(status);
}

/** The value of which `share` of the sorted values are no more: one that was measured, so that Infinity stays what it is. */
function atRank(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

/** Arrivals at an endpoint between two times. */
function arrivalsIn(report: EndpointReport, endpoint: number, fromMs: number, toMs: number): number {
  const first = Math.round((fromMs - report.sinceMs) / BIN_MS);
  const last = Math.round((toMs - report.sinceMs) / BIN_MS);
  let sum = 0;
  for (let bin = first; bin < last; bin++) sum += report.arrivals[endpoint][bin] ?? 0;
  return sum;
}

function shareOf(marked: readonly number[], report: EndpointReport, fromMs: number, toMs: number): number {
  if (marked.length === 0) return Number.NaN;
  let all = 0;
  let theirs = 0;
  for (let endpoint = 0; endpoint < report.arrivals.length; endpoint++) {
    const count = arrivalsIn(report, endpoint, fromMs, toMs);
    all += count;
    if (marked.includes(endpoint)) theirs += count;
  }
  return theirs / all;
}

function fairAgain(marked: readonly number[], report: EndpointReport, fromMs: number, toMs: number): number {
  const fair = (FAIR_PART * marked.length) / report.arrivals.length;
  for (let endMs = fromMs + FAIR_OVER_MS; endMs <= toMs; endMs += BIN_MS) {
    if (shareOf(marked, report, endMs - FAIR_OVER_MS, endMs) >= fair) return Math.round(endMs - fromMs);
  }
  return Number.POSITIVE_INFINITY;
}
