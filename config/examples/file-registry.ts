import { readFile } from 'node:fs/promises';
import type { Kind } from 'evenkeel/part';
import type { Registry, RegistryContext, RegistrySink, ServiceRef } from 'evenkeel/registry';
import { z } from 'zod';

// A registry of one's own: services from a JSON file, `{ "orders": ["127.0.0.1:9001"] }`, which is read again and again. In a document:
//   registries: { file: { kind: ./file-registry.ts, path: services.json } }
const options = z.object({
  path: z.string().min(1).describe('the JSON file'),
  everyMs: z.int().min(50).default(1000).describe('time between two looks, in ms'),
});

export const fileRegistry: Kind<Registry, RegistryContext> = {
  kind: 'file',
  summary: 'services from a JSON file that is read again and again',
  options,
  create({ path, everyMs }: z.infer<typeof options>) {
    const sinks = new Map<RegistrySink, ServiceRef>();
    let timer: NodeJS.Timeout | undefined;

    async function look(): Promise<void> {
      try {
        const services: Record<string, string[]> = JSON.parse(await readFile(path, 'utf8'));
        for (const [sink, { name }] of sinks)
          sink.replace({ endpoints: (services[name] ?? []).map(endpointAt), suspicion: null });
      } catch (error) {
        // What was delivered last stays: an error never removes endpoints.
        const { message } = error as Error;
        const told = Object.assign(new Error(message), { code: 'unreadable', retryable: true });
        for (const sink of sinks.keys()) sink.unavailable(told);
      }
    }

    return {
      async start() {
        timer = setInterval(look, everyMs);
        await look();
      },
      subscribe(service, sink) {
        sinks.set(sink, service);
        if (timer !== undefined) void look();
        return { close: () => sinks.delete(sink) };
      },
      async close() {
        clearInterval(timer);
        sinks.clear();
      },
    };
  },
};

function endpointAt(address: string) {
  const [host, port] = address.split(':');
  const plain = { weight: 1, zone: '', version: '', backup: false, status: 'up' as const, generation: '' };
  return { ...plain, host, port: Number(port), tags: [], metadata: {} };
}
