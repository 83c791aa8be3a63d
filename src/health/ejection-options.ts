import { z } from 'zod';
import { duration, orOff, share } from '../base/literals.ts';

/** Why an endpoint was ejected: the `cause` label of `evenkeel_ejections_total`. `trial`: the request that was to bring it back failed. */
export const EJECTION_CAUSES = ['consecutive-failures', 'success-rate', 'latency', 'trial'] as const;
export type EjectionCause = (typeof EJECTION_CAUSES)[number];

/** Options of `pools.NAME.ejection`. */
export const ejectionOptions = z.strictObject({
  consecutiveFailures: orOff(z.int().min(1).max(1_000_000))
    .prefault(5)
    .describe('failures in a row, over all workers, that eject an endpoint'),
  successRate: orOff(share())
    .prefault(0.8)
    .describe('an endpoint of which a smaller share of requests succeeds, over all workers, is ejected'),
  latency: orOff(z.number().min(1.5).max(1000))
    .prefault('off')
    .describe("an endpoint whose median time to the response head is so many times the pool's is ejected: e.g. 3"),
  window: duration()
    .refine((ms) => ms >= 100, { error: 'must be at least 100ms' })
    .prefault('30s')
    .describe('how far back successRate and latency look'),
  volume: z.int().min(1).max(1_000_000).prefault(20).describe('requests in the window below which neither is judged'),
  report: z
    .array(z.enum(['consecutive-failures', 'success-rate', 'latency']))
    .prefault([])
    .describe('causes that are only told (event would-eject, metric), and eject nobody'),
  base: duration().prefault('10s').describe('length of a first ejection; the n-th in a row lasts n times as long'),
  max: duration().prefault('300s').describe('longest ejection'),
  maxEjected: share()
    .prefault('50%')
    .describe('at most this share of a pool is ejected at a time, though always one may be'),
});
export type EjectionOptions = z.output<typeof ejectionOptions>;
