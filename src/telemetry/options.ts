import { z } from 'zod';
import { orOff } from '../base/literals.ts';

/** `log:` in the document. */
export const logOptions = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .describe('least important line that is written')
    .prefault('info'),
  format: z.enum(['json', 'pretty']).describe('of the log of events; the access log is JSON').prefault('json'),
  access: orOff(z.string().min(1)).describe('where access lines go: off, stdout or a file').prefault('stdout'),
  decisions: orOff(
    z
      .string()
      .regex(/^1\/[1-9]\d{0,8}$/, { error: 'write one in how many as 1/1000' })
      .transform((text) => Number(text.slice(2))),
  )
    .describe('which part of the decisions is logged, with the scores of the candidates: off or 1/1000')
    .prefault('off'),
  sample: orOff(z.int().min(1).max(1_000_000))
    .describe(
      'one request in so many is kept in memory (the last 1 000), to tell what another document would do with them',
    )
    .prefault(100),
  query: z.boolean().describe('whether the path in access lines keeps its query').prefault(false),
});

/** `access` is null when off, `stdout`, or the path of a file. */
export type LogOptions = z.output<typeof logOptions>;
