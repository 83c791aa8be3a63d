import { z } from 'zod';
import type { Catalogs } from '../../src/app/document.ts';
import { Catalog, type Kind } from '../../src/base/catalog.ts';
import { duration, hostPort, orOff, share } from '../../src/base/literals.ts';

function kind(name: string, options: z.ZodObject = z.object({})): Kind<never, never> {
  return { kind: name, summary: `${name} of a test`, options, create: () => undefined as never };
}

const every = {
  interval: duration().describe('between two checks').prefault('5s'),
  timeout: duration().describe('of one check').prefault('2s'),
};

/** Kinds with the shapes of evenkeel's own, for tests of the document itself: they stay the same when a real kind gains an option. */
export const placeholderCatalogs: Catalogs = {
  schedulers: new Catalog('scheduler', [
    kind('response-time', z.object({ decay: duration().describe('how fast old latencies fade').prefault('10s') })),
    kind('least-requests'),
    kind('hash', z.object({ on: z.string().describe('what is hashed') })),
  ]),
  registries: new Catalog('registry', [
    kind(
      'consul',
      z.object({
        address: z.string().describe('of the agent').prefault('http://127.0.0.1:8500'),
        token: z.string().describe('of the ACL').prefault(''),
      }),
    ),
    kind('embedded', z.object({ bind: hostPort().describe('where it listens').prefault('127.0.0.1:8501') })),
  ]),
  probes: new Catalog('probe', [
    kind('http', z.object({ path: z.string().describe('asked for').prefault('/'), ...every })),
    kind('tcp', z.object(every)),
  ]),
  middleware: new Catalog('middleware', [
    kind('headers', z.object({ set: z.record(z.string(), z.string()).describe('headers to set').prefault({}) })),
  ]),
  ejection: z.strictObject({
    consecutiveFailures: orOff(z.int().min(1)).describe('failures in a row').prefault(5),
    maxEjected: share().describe('of the pool').prefault('50%'),
  }) as never,
};
