import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { duration } from '../base/literals.ts';

/** Options of `pools.NAME.damping`. */
export const dampingOptions = z.strictObject({
  changes: z.int().min(2).max(100).prefault(5).describe('times an endpoint goes down …'),
  within: duration().prefault('1m').describe('… in this time make it a flapping one'),
  hold: duration()
    .prefault('30s')
    .describe('a flapping one is held down so long after it went down; twice as long each time'),
  max: duration()
    .prefault('5m')
    .describe('at most so long; after so long without flapping it counts from the beginning'),
});
export type DampingOptions = z.output<typeof dampingOptions>;

interface Record {
  /** When it went down lately, oldest first. */
  readonly downMs: number[];
  heldUntilMs: number;
  holds: number;
}

/**
 * Tells endpoints that go up and down too often, so that they stay down for a while: each coming up draws traffic that the next going down breaks. One per
 * pool, on main; whoever hears of probes and registries tells it when one goes down, and asks before one comes up. Keyed by ID: who leaves and returns
 * goes on where it was.
 */
export class Damping {
  readonly #options: DampingOptions;
  readonly #clock: Clock;
  readonly #records = new Map<string, Record>();

  constructor(options: DampingOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** An endpoint that was up went down. Returns for how long it is held there, in ms; 0 when it is not flapping. */
  wentDown(id: string): number {
    const { changes, within, hold, max } = this.#options;
    const nowMs = this.#clock.now();
    const record = this.#records.get(id) ?? { downMs: [], heldUntilMs: 0, holds: 0 };
    this.#records.set(id, record);
    while (record.downMs.length > 0 && nowMs - record.downMs[0] > within) record.downMs.shift();
    record.downMs.push(nowMs);
    if (record.downMs.length < changes) return 0;
    record.downMs.length = 0;
    const forMs = Math.min(max, hold * 2 ** record.holds);
    record.holds++;
    record.heldUntilMs = nowMs + forMs;
    return forMs;
  }

  /** Whether it must stay down although it is fit again. */
  isHeld(id: string): boolean {
    return (this.#records.get(id)?.heldUntilMs ?? 0) > this.#clock.now();
  }

  /** Ends a hold: there is nobody else. */
  release(id: string): void {
    const record = this.#records.get(id);
    if (record !== undefined) record.heldUntilMs = 0;
  }

  /** Forgets what is long ago. Called now and then. */
  sweep(): void {
    const { within, max } = this.#options;
    const nowMs = this.#clock.now();
    for (const [id, { downMs, heldUntilMs }] of this.#records) {
      const lastMs = Math.max(heldUntilMs, downMs.at(-1) ?? 0);
      if (nowMs - lastMs > Math.max(within, max)) this.#records.delete(id);
    }
  }
}
