import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { duration } from '../base/literals.ts';

/** Options every kind of probe has besides its own. */
export const probeOptions = z.object({
  interval: duration().prefault('5s').describe('between two checks of an endpoint, changed by up to 20 % at random'),
  timeout: duration().prefault('2s').describe('a check that takes longer has failed'),
  rise: z.int().min(1).max(1000).prefault(2).describe('passed checks in a row that bring an endpoint back'),
  fall: z.int().min(1).max(1000).prefault(3).describe('failed checks in a row that take an endpoint out'),
  whileIdle: z
    .boolean()
    .prefault(false)
    .describe('checks only who is unfit or had no good answer to a request since the last time'),
});
export type ProbeOptions = z.output<typeof probeOptions>;

/** The kind with the common options added to its own. The catalog applies it, so that a kind declares only what is its own. */
export function withProbeOptions<Part, Context>(kind: Kind<Part, Context>): Kind<Part, Context> {
  return { ...kind, options: kind.options.extend(probeOptions.shape) };
}
