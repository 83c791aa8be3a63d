import type { Traffic, TrafficTally } from './traffic-tally.ts';

/** Errors are judged from so few requests on: five in twenty are no accident. */
const ENOUGH_REQUESTS = 20;
const ENOUGH_ERRORS = 5;
/** Share of errors beyond what there were before. */
const MORE_ERRORS = 0.02;
/** A p99 of fewer is one request's. */
const ENOUGH_FOR_P99 = 200;
const SLOWER_FACTOR = 2;
const SLOWER_BY_MS = 50;

export type Verdict =
  | { readonly kind: 'wait' }
  | { readonly kind: 'good' }
  | { readonly kind: 'bad'; readonly reason: string };

/** Judges one version on trial by what clients get, against what they got before. */
export class Trial {
  readonly #tally: TrafficTally;
  readonly #before: Traffic;
  readonly #endsAtMs: number;

  /** The tally holds what was before; it is begun anew for the trial. Times in ms of one clock. */
  constructor(tally: TrafficTally, nowMs: number, trialMs: number) {
    tally.advance();
    this.#tally = tally;
    this.#before = tally.traffic;
    this.#endsAtMs = nowMs + trialMs;
    tally.reset();
  }

  verdict(nowMs: number): Verdict {
    this.#tally.advance();
    const reason = worse(this.#before, this.#tally.traffic);
    if (reason !== null) return { kind: 'bad', reason };
    return nowMs >= this.#endsAtMs ? { kind: 'good' } : { kind: 'wait' };
  }
}

function worse(before: Traffic, now: Traffic): string | null {
  const share = ({ requests, errors }: Traffic) => (requests === 0 ? 0 : errors / requests);
  const [was, is] = [share(before), share(now)];
  if (now.requests >= ENOUGH_REQUESTS && now.errors >= ENOUGH_ERRORS && is > was + MORE_ERRORS)
    return `${percent(is)} of ${now.requests} requests failed, ${percent(was)} of ${before.requests} before`;
  const canCompare = now.requests >= ENOUGH_FOR_P99 && before.requests >= ENOUGH_FOR_P99;
  if (canCompare && now.p99Ms > SLOWER_FACTOR * before.p99Ms + SLOWER_BY_MS)
    return `the p99 is ${Math.round(now.p99Ms)} ms, ${Math.round(before.p99Ms)} ms before`;
  return null;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
