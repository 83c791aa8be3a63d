import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Clock } from '../base/clock.ts';
import { duration } from '../base/literals.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import { Outcome } from '../endpoint/outcome.ts';
import { LatencyEstimates } from './latency-estimates.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';
import { WeightedDraw } from './weighted-draw.ts';

/** Up to this many endpoints all are looked at: of so few, two drawn ones would miss the best too often. */
const LOOK_AT_ALL = 3;
/**
 * Winners that are remembered, of which one is looked at again by each pick. Of 500 endpoints whose speeds follow a zipf two drawn ones are seldom good: p50 is
 * 70 ms and p99 823 without, 6 and 521 with eight (simulated).
 */
const REMEMBERED = 8;
/** A remembered one takes over from whom the draw chose when its product of latency and load is smaller by this; at 2 luck among equals bends their shares. */
const MUCH_BETTER = 4;
/** Latencies closer than this are level, and only the load is compared: or a difference of 1 % would take all the traffic of an idle pool. */
const LEVEL_RATIO = 1.25;
/** A loser that idles is sounded out when its estimate is 5 times its own length old (so at most a sixth of its time goes into that) … */
const SOUNDING_AGE_RATIO = 5;
/** … but neither more often nor more seldom than this. */
const SOUNDING_MIN_MS = 100;
const SOUNDING_MAX_MS = 1000;
/** Soundings of slow endpoints are at most this share of the picks: half a percent stays out of a p99. */
const SOUNDING_SHARE = 1 / 200;
/** Soundings saved up in quiet times. */
const SOUNDING_SAVINGS = 2;

/**
 * The endpoint that will probably answer soonest. Two are drawn by weight; if their latencies differ, the lower product of
 * latency and load wins, load being 1 + active × mean weight / weight; if they are level, the first drawn keeps the request unless the
 * other would be no worse off even after taking it. So level endpoints share by weight at any load. (Latency × (active + 1) / weight
 * alone gives an idle pool wholly to the heaviest endpoint, and with even draws starves it in a large pool.) A winner of an earlier pick takes it from either
 * when it is much better.
 *
 * Latency is `LatencyEstimates`' or the age of what waits for an answer, whichever is more: a stall shows before anything returns.
 * Who looks slow gets no traffic, so nothing would tell that it is well again: single requests sound it out.
 */
class ResponseTime implements Scheduler {
  readonly #clock: Clock;
  readonly #draw: WeightedDraw;
  readonly #estimates: LatencyEstimates;
  /** Winners of earlier picks; null where there was none yet. */
  readonly #remembered: (Endpoint | null)[] = new Array(REMEMBERED).fill(null);
  #place = 0;
  #soundings = SOUNDING_SAVINGS;
  #sounded: Endpoint | null = null;

  constructor(options: { readonly decay: number }, context: SchedulerContext) {
    this.#clock = context.clock;
    this.#draw = new WeightedDraw(context.random);
    this.#estimates = new LatencyEstimates(options.decay);
  }

  update(set: EndpointSet): void {
    this.#draw.update(set.available);
    this.#remembered.fill(null);
    this.#estimates.update(set, this.#clock.now());
  }

  pick(_hash: number, tried: Tried, nowMs?: number): Endpoint | null {
    const members = this.#draw.members;
    if (members.length < 2) return members.length === 0 ? null : members[0];
    const now = nowMs ?? this.#clock.now();
    this.#estimates.refresh(now);
    if (this.#soundings < SOUNDING_SAVINGS) this.#soundings += SOUNDING_SHARE;
    const first = this.#draw.drawUntried(tried);
    if (members.length <= LOOK_AT_ALL) return this.#bestOfAll(first, tried, now);
    const other = this.#draw.drawOther(first, tried);
    if (other < 0) return members[first];
    const better = this.#better(members[first], members[other], now);
    return better === this.#sounded ? better : this.#orRemembered(better, tried, now);
  }

  onAnswer(endpoint: Endpoint, outcome: Outcome, latencyMs: number, nowMs?: number): void {
    this.#estimates.observe(endpoint, outcome, latencyMs, nowMs ?? this.#clock.now());
    if (endpoint !== this.#sounded) return;
    this.#sounded = null;
    // A sounding that was answered as others would have cost nobody anything: the next may follow at once.
    if (outcome === Outcome.OK && latencyMs < 2 * this.#estimates.medianMs && this.#soundings < SOUNDING_SAVINGS)
      this.#soundings += 1;
  }

  /** Probable milliseconds to the response head at the present load. */
  score(endpoint: Endpoint): number {
    return this.#estimates.latencyMs(endpoint, this.#clock.now()) * this.#load(endpoint, endpoint.active);
  }

  #bestOfAll(first: number, tried: Tried, now: number): Endpoint {
    const members = this.#draw.members;
    let best = members[first];
    const skipTried = tried.size > 0;
    for (let i = 0; i < members.length; i++) {
      if (i === first || (skipTried && tried.has(members[i]))) continue;
      best = this.#better(best, members[i], now);
      if (best === this.#sounded) break;
    }
    return best;
  }

  /** The endpoint in the next place, where it is much better than `drawn`; the better of the two stays in the place. */
  #orRemembered(drawn: Endpoint, tried: Tried, now: number): Endpoint {
    const place = this.#place;
    this.#place = place + 1 < REMEMBERED ? place + 1 : 0;
    const known = this.#remembered[place];
    if (known === null || known === drawn) this.#remembered[place] = drawn;
    if (known === null || known === drawn || (tried.size > 0 && tried.has(known))) return drawn;
    const drawnMs = this.#estimates.latencyMs(drawn, now) * this.#load(drawn, drawn.active);
    const knownMs = this.#estimates.latencyMs(known, now) * this.#load(known, known.active);
    if (drawnMs <= knownMs) this.#remembered[place] = drawn;
    return knownMs * MUCH_BETTER < drawnMs ? known : drawn;
  }

  /** Which of two takes the request; `first` was drawn first. */
  #better(first: Endpoint, other: Endpoint, now: number): Endpoint {
    const firstMs = this.#estimates.latencyMs(first, now);
    const otherMs = this.#estimates.latencyMs(other, now);
    const firstActive = first.active;
    const otherActive = other.active;
    if (firstMs <= otherMs * LEVEL_RATIO && otherMs <= firstMs * LEVEL_RATIO)
      return (otherActive + 1) / other.effectiveWeight <= firstActive / first.effectiveWeight ? other : first;
    const otherWins = otherMs * this.#load(other, otherActive) < firstMs * this.#load(first, firstActive);
    const loser = otherWins ? first : other;
    if (this.#soundings >= 1 && this.#mustSound(loser, otherWins ? firstMs : otherMs, now)) return loser;
    return otherWins ? other : first;
  }

  #load(endpoint: Endpoint, active: number): number {
    return 1 + (active * this.#draw.meanWeight) / endpoint.effectiveWeight;
  }

  #mustSound(loser: Endpoint, latencyMs: number, now: number): boolean {
    if (loser.active > 0) return false;
    const age = now - loser.latencyStampMs;
    if (age < SOUNDING_MIN_MS || (age < SOUNDING_MAX_MS && age < latencyMs * SOUNDING_AGE_RATIO)) return false;
    this.#soundings -= 1;
    this.#sounded = loser;
    return true;
  }
}

const options = z.object({
  decay: duration()
    .prefault('10s')
    .describe(
      'how long the latency of an idle endpoint is remembered: the time in which its distance to the pool’s median falls to 37 %',
    ),
});

export const responseTime: Kind<Scheduler, SchedulerContext> = {
  kind: 'response-time',
  summary: 'the endpoint that will probably answer soonest: measured latency × load; failures are penalised',
  options,
  create: (settings: z.output<typeof options>, context) => new ResponseTime(settings, context),
};
