import { z } from 'zod';
import { duration, hostPort, parseHostPort } from '../base/literals.ts';
import { weight } from '../discovery/static-endpoint.ts';

const entry = z.strictObject({
  registry: z.string().describe('name of an entry of registries whose kind takes registrations'),
  service: z.string().min(1).describe('the name to be found under'),
  address: hostPort()
    .refine((text) => parseHostPort(text)?.port !== 0, { error: 'others need a port of 1…65535' })
    .describe('where others reach this listener; default: its first bind, which must then be one address')
    .optional(),
  id: z.string().min(1).describe('unique in the registry; default: service-host-port').optional(),
  weight: weight().describe('share of the traffic of whoever balances over several evenkeels').prefault(1),
  tags: z.array(z.string()).describe('free words').prefault([]),
  metadata: z.record(z.string(), z.string()).describe('free names and values').prefault({}),
  ttl: duration()
    .refine((ms) => ms >= 1000 && ms <= 3_600_000, { error: 'a registry waits 1s…1h for a sign of life' })
    .describe('without a sign of life for so long the registry takes it for dead; three are sent in that time')
    .prefault('15s'),
});

/** One registry in which a listener is to be found, as the document says it; `address` and `id` are filled in when it is bound. */
export type RegisterOptions = z.output<typeof entry>;

/** Schema of a listener's `register:`; the output is a list. */
export const registerOptions = z.union([entry.transform((one): RegisterOptions[] => [one]), z.array(entry).min(1)]);
