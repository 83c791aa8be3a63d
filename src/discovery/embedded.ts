import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { formatHostPort, hostPort } from '../base/literals.ts';
import { ConsulRegistry } from './consul.ts';
import { RegistryServer } from './embedded/server.ts';
import type {
  Registered,
  Registration,
  Registry,
  RegistryContext,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';

const options = z.object({
  bind: hostPort()
    .describe(
      "where services register, by Consul's HTTP API; it knows no passwords, so keep it where only they reach it",
    )
    .prefault('127.0.0.1:8501'),
  data: z.string().describe('directory that keeps what is registered over restarts').prefault('./data'),
});

type EmbeddedOptions = z.infer<typeof options>;

/** Our server speaks HTTP/1.1 on loopback and has no limit of connections a client: every service gets a socket to wait on. */
const CONNECTIONS = 10_000;

/** The built-in registry: a server in this process, read over loopback by the same client as Consul, so that there is one way in. */
export class EmbeddedRegistry implements Registry {
  readonly door: RegistryServer;
  readonly #context: RegistryContext;
  readonly #waiting = new Map<RegistrySink, ServiceRef>();
  #client: ConsulRegistry | null = null;

  constructor(settings: EmbeddedOptions, context: RegistryContext) {
    this.door = new RegistryServer(settings, context);
    this.#context = context;
  }

  /** Where it listens, as `host:port`; only between `start` and `close`. */
  get address(): string {
    const { host, port } = this.door.address;
    return formatHostPort(host, port);
  }

  /** Rejects with an OperationError when the port is busy or the directory cannot be used. */
  async start(): Promise<void> {
    await this.door.start();
    const { host, port } = this.door.address;
    const loopback = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
    const client = new ConsulRegistry(
      {
        address: `http://${formatHostPort(loopback, port)}`,
        token: '',
        datacenter: '',
        wait: 55_000,
        stale: true,
        tls: { verify: true },
        connections: CONNECTIONS,
      },
      this.#context,
      { isFresh: true },
    );
    this.#client = client;
    for (const [sink, service] of this.#waiting) client.subscribe(service, sink);
    this.#waiting.clear();
    await client.start();
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    if (this.#client !== null) return this.#client.subscribe(service, sink);
    this.#waiting.set(sink, service);
    return {
      close: () => {
        this.#waiting.delete(sink);
        this.#client?.unsubscribe(sink);
      },
      refresh: () => this.#client?.refresh(sink),
    };
  }

  async register(self: Registration): Promise<Registered> {
    if (this.#client === null) throw new Error('register before start');
    return this.#client.register(self);
  }

  async close(): Promise<void> {
    this.#waiting.clear();
    await this.#client?.close();
    await this.door.close();
  }
}

export const embeddedRegistry: Kind<Registry, RegistryContext> = {
  kind: 'embedded',
  summary: "a registry inside this process that services register with, by Consul's HTTP API",
  options,
  create: (settings: EmbeddedOptions, context) => new EmbeddedRegistry(settings, context),
};
