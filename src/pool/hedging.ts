import { z } from 'zod';
import { FINE_BUCKETS, fineIndex, fineQuantile } from '../base/histogram.ts';
import { duration, parseDuration, share, shown } from '../base/literals.ts';
import { Outcome } from '../endpoint/outcome.ts';

/** When a request is sent a second time: at a quantile (0…1) of the pool's live latency, or after a set time in ms. */
export type HedgeAfter = { readonly quantile: number } | { readonly ms: number };

const after = z
  .string({ error: (issue) => `${shown(issue.input)} is neither a quantile nor a duration; write it as p95 or 50ms` })
  .transform((text, context): HedgeAfter => {
    const quantile = /^p(\d{1,2}(?:\.\d{1,2})?)$/.exec(text);
    if (quantile !== null && Number(quantile[1]) >= 50) return { quantile: Number(quantile[1]) / 100 };
    const ms = parseDuration(text);
    if (ms !== null && ms > 0) return { ms };
    context.issues.push({
      code: 'custom',
      input: text,
      message: `"${text}" is neither a quantile from p50 nor a duration; write it as p95 or 50ms`,
    });
    return z.NEVER;
  }) as unknown as z.ZodType<HedgeAfter, string>;

const options = z.strictObject({
  after: after
    .describe("when the second attempt starts: a quantile of the pool's live time to the response head, or a set time")
    .prefault('p95'),
  budget: share().describe('second attempts as a share of the requests').prefault('5%'),
  min: duration().describe('never sooner than this, whatever the quantile').prefault('2ms'),
  max: duration().describe('never later than this, whatever the quantile').prefault('1s'),
});
export type HedgingOptions = z.output<typeof options>;

/** Schema of `pools.NAME.hedging`: `on` stands for the defaults. */
export const hedgingOptions = z.union([
  z.literal('on').transform(() => options.parse({})),
  z.literal(true).transform(() => options.parse({})),
  options,
]) as unknown as z.ZodType<HedgingOptions, 'on' | true | z.input<typeof options>>;

/** How often the quantile is taken anew; what was observed then counts for this part of it at the next. */
const READ_EVERY_MS = 1000;
const KEPT = 0.9;
/** Answers that make a quantile. */
const LEAST_ANSWERS = 50;
/** Hedges saved up in quiet times. */
const SAVED = 10;

/**
 * When and how often a pool's requests are sent a second time, as one worker sees it: its own answers make the quantile, its own requests the budget, so that
 * both hold over all workers without a shared word. Called by Pool only, and by nobody where hedging is off.
 */
export class Hedging {
  readonly options: HedgingOptions;
  /** How long the first attempt is waited for; Infinity until enough is known. */
  delayMs: number;
  readonly #quantile: number;
  readonly #answers = new Float64Array(FINE_BUCKETS);
  #left = SAVED;
  #readMs = 0;

  constructor(options: HedgingOptions) {
    this.options = options;
    this.#quantile = 'quantile' in options.after ? options.after.quantile : 0;
    this.delayMs = 'ms' in options.after ? options.after.ms : Infinity;
  }

  /** A request came: the budget grows. */
  countRequest(): void {
    if (this.#left < SAVED) this.#left += this.options.budget;
  }

  /** Takes one hedge; false when the budget is used up. */
  tryTake(): boolean {
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  /**
   * An attempt has its response head, or will have none. What did not come to an answer is a lower bound: it counts where it is past the quantile anyway, so that slowness
   * that hedges hide goes on raising it.
   */
  observe(outcome: Outcome, latencyMs: number): void {
    if (this.#quantile > 0 && (outcome === Outcome.OK || latencyMs >= this.delayMs))
      this.#answers[fineIndex(latencyMs)]++;
  }

  /** Called at every wheel tick. */
  tick(nowMs: number): void {
    if (this.#quantile === 0 || nowMs - this.#readMs < READ_EVERY_MS) return;
    this.#readMs = nowMs;
    let answers = 0;
    for (let i = 0; i < FINE_BUCKETS; i++) answers += this.#answers[i];
    const { min, max } = this.options;
    if (answers >= LEAST_ANSWERS)
      this.delayMs = Math.min(max, Math.max(min, fineQuantile(this.#answers, this.#quantile)));
    for (let i = 0; i < FINE_BUCKETS; i++) this.#answers[i] *= KEPT;
  }
}
