import { z } from 'zod';
import { hostPort, orOff } from '../base/literals.ts';

/** `admin:` in the document. That a token is needed beyond loopback is a cross-check of the whole document. */
export const adminOptions = z.strictObject({
  bind: orOff(hostPort()).describe('address of the admin API and the dashboard').prefault('127.0.0.1:9900'),
  token: z.string().describe('bearer token; required when bound beyond loopback; empty = none asked for').prefault(''),
  endpointSeries: z
    .int()
    .min(0)
    .max(100_000)
    .describe('endpoints with series of their own in /metrics; beyond, they are summed per pool')
    .prefault(1000),
});

/** `bind` is null when the admin API is off; `token` is '' when none is asked for. */
export type AdminOptions = z.output<typeof adminOptions>;
