import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { cleanSet } from './clean-set.ts';
import type {
  Registry,
  RegistryContext,
  RegistryEndpoint,
  RegistrySet,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { type StaticEndpoint, staticEndpoint } from './static-endpoint.ts';

const options = z.object({
  services: z
    .record(z.string(), z.array(staticEndpoint))
    .describe('service names and their endpoints, each as in a pool')
    .prefault({}),
});

/** Endpoints written down in the document. Every service is told once and never changes; an unknown one has no endpoints. */
export class StaticRegistry implements Registry {
  readonly #services: Readonly<Record<string, readonly StaticEndpoint[]>>;
  readonly #context: RegistryContext;
  readonly #waiting = new Map<RegistrySink, ServiceRef>();
  #started = false;

  constructor(services: Readonly<Record<string, readonly StaticEndpoint[]>>, context: RegistryContext) {
    this.#services = services;
    this.#context = context;
  }

  async start(): Promise<void> {
    this.#started = true;
    for (const [sink, service] of this.#waiting) sink.replace(this.#setOf(service));
    this.#waiting.clear();
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    if (this.#started) sink.replace(this.#setOf(service));
    else this.#waiting.set(sink, service);
    return { close: () => this.#waiting.delete(sink) };
  }

  async close(): Promise<void> {
    this.#waiting.clear();
  }

  #setOf(service: ServiceRef): RegistrySet {
    const written = Object.hasOwn(this.#services, service.name) ? this.#services[service.name] : [];
    const matching = written.filter(({ tags }) => service.tags.every((tag) => tags.includes(tag)));
    const { endpoints, dropped, firstFault } = cleanSet(matching.map(toRegistryEndpoint));
    if (dropped > 0) this.#context.log('warn', 'endpoints left out', { service: service.name, dropped, firstFault });
    return { endpoints, suspicion: null };
  }
}

/** An endpoint of the document in the vocabulary of registries. Used for a pool's own `endpoints:` too. */
export function toRegistryEndpoint(endpoint: StaticEndpoint): RegistryEndpoint {
  return { ...endpoint, status: 'up', generation: '' };
}

export const staticRegistry: Kind<Registry, RegistryContext> = {
  kind: 'static',
  summary: 'services and endpoints written down in the document',
  options,
  create: ({ services }: z.infer<typeof options>, context) => new StaticRegistry(services, context),
};
