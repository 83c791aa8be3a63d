import { z } from 'zod';
import { byteLimit, duration } from '../base/literals.ts';

/** `runtime:` in the document: what holds for the whole process. Durations are in ms. */
export const runtimeOptions = z.strictObject({
  workers: z
    .union([z.literal('auto'), z.int().min(1).max(256)])
    .describe('data-plane threads; auto = cores')
    .prefault('auto'),
  connections: z
    .union([z.literal('auto'), z.int().min(1)])
    .describe('ceiling over all workers; auto = (open files allowed - 200) / 2; past it: 503, counted')
    .prefault('auto'),
  startTimeout: duration().describe('serve at the latest then, even without the first registry answer').prefault('10s'),
  announce: duration().describe('between "not ready" and closing the listeners').prefault('0s'),
  upgradeTimeout: duration().describe('an upgrade whose new process is not ready then is given up').prefault('60s'),
  drain: duration().describe('how long running exchanges may go on after the listeners are closed').prefault('30s'),
  memory: byteLimit()
    .describe(
      'heap and buffers of one worker past which it is replaced by a fresh one, without losing a connection; off = never',
    )
    .prefault('off' as never),
  fastPath: z
    .enum(['auto', 'off'])
    .describe(
      'auto = sockets by Node’s own means where this Node has them, a fifth less CPU; off = its documented API only',
    )
    .prefault('auto'),
  watch: z.boolean().describe('reload when the file changes').prefault(false),
  pidFile: z
    .string()
    .min(1)
    .describe("file that holds the number of the process that serves, the successor's after an upgrade; default: none")
    .optional(),
  state: z
    .string()
    .min(1)
    .describe('directory of what outlives a restart: last good sets, health of endpoints; from the working directory')
    .prefault('data'),
});

/** What `app` gets: `workers` and `connections` still say `auto` (the machine decides when it starts, not the document). */
export type RuntimeOptions = z.output<typeof runtimeOptions>;
