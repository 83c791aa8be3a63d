import type { Traffic, TrafficTally } from './traffic-tally.ts';

/** Shares of a proxy's connections that try a version, one after the other: who comes while little is known of it is few. */
const SHARES: readonly number[] = [0.05, 0.25, 1];
/** A share has shown enough with so many requests, but not before it has lasted a while; without traffic it has after so long. */
const STEP_REQUESTS = 100;
const STEP_LEAST_MS = 1000;
const STEP_MS = 4000;
/** With more errors than before, if too few for a verdict, it waits longer: the same few clients are to see the next ones. */
const SUSPECT_MS = 8000;
/** Of the whole trial, both: the last share is to last longest. */
const STEP_PART = 0.2;
const SUSPECT_PART = 0.4;

/** Fewer are an accident. */
const ENOUGH_ERRORS = 5;
/** Share of errors beyond what there were before, and how many standard deviations of chance. */
const MORE_ERRORS = 0.02;
const DEVIATIONS = 3;
/** A p99 of fewer is one request's. */
const ENOUGH_FOR_P99 = 200;
const SLOWER_FACTOR = 2;
const SLOWER_BY_MS = 50;

/** `more`: nothing speaks against it so far; `share` is a larger one from now on. */
export type Verdict = { readonly kind: 'wait' | 'more' | 'good' } | { readonly kind: 'bad'; readonly reason: string };

/** Judges one version on trial by what clients get of it, against what they got before. Times in ms of one clock. */
export class Trial {
  readonly #before: Traffic;
  readonly #tally: Pick<TrafficTally, 'advance' | 'traffic'>;
  readonly #endsAtMs: number;
  readonly #stepMs: number;
  readonly #suspectMs: number;
  #step = 0;
  #stepSinceMs: number;
  /** What had been answered as the step began. */
  #answered = 0;

  /** `tally` counts what the version on trial answers, and nothing so far. */
  constructor(before: Traffic, tally: Pick<TrafficTally, 'advance' | 'traffic'>, nowMs: number, trialMs: number) {
    this.#before = before;
    this.#tally = tally;
    this.#endsAtMs = nowMs + trialMs;
    this.#stepMs = Math.min(STEP_MS, trialMs * STEP_PART);
    this.#suspectMs = Math.min(SUSPECT_MS, trialMs * SUSPECT_PART);
    this.#stepSinceMs = nowMs;
  }

  /** Of the connections, 0…1. */
  get share(): number {
    return SHARES[this.#step];
  }

  verdict(nowMs: number): Verdict {
    this.#tally.advance();
    const now = this.#tally.traffic;
    const reason = worse(this.#before, now);
    if (reason !== null) return { kind: 'bad', reason };
    if (this.share === 1) return { kind: nowMs >= this.#endsAtMs ? 'good' : 'wait' };
    if (!this.#isStepOver(now, nowMs - this.#stepSinceMs)) return { kind: 'wait' };
    this.#step++;
    this.#stepSinceMs = nowMs;
    this.#answered = now.requests;
    return { kind: 'more' };
  }

  #isStepOver(now: Traffic, lastedMs: number): boolean {
    if (errorShare(now) > errorShare(this.#before) + MORE_ERRORS) return lastedMs >= this.#suspectMs;
    return lastedMs >= this.#stepMs || (lastedMs >= STEP_LEAST_MS && now.requests - this.#answered >= STEP_REQUESTS);
  }
}

function errorShare({ requests, errors }: Traffic): number {
  return requests === 0 ? 0 : errors / requests;
}

function worse(before: Traffic, now: Traffic): string | null {
  const [was, is] = [errorShare(before), errorShare(now)];
  const chance = Math.sqrt(now.requests * was * (1 - was));
  const isNoAccident = now.errors >= ENOUGH_ERRORS && now.errors > now.requests * was + DEVIATIONS * chance;
  if (isNoAccident && is > was + MORE_ERRORS)
    return `${percent(is)} of ${now.requests} requests failed, ${percent(was)} of ${before.requests} before`;
  const canCompare = now.requests >= ENOUGH_FOR_P99 && before.requests >= ENOUGH_FOR_P99;
  if (canCompare && now.p99Ms > SLOWER_FACTOR * before.p99Ms + SLOWER_BY_MS)
    return `the p99 is ${Math.round(now.p99Ms)} ms, ${Math.round(before.p99Ms)} ms before`;
  return null;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
