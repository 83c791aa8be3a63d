import http from 'node:http';
import https from 'node:https';
import Consul from 'consul';
import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { duration } from '../base/literals.ts';
import { type ClientTls, clientTls, readClientTls } from '../stores/client-tls.ts';
import { ConsulRegistration } from './consul-registration.ts';
import { ConsulTransport } from './consul-transport.ts';
import { ConsulWatch, type WatchShared } from './consul-watch.ts';
import type {
  Registered,
  Registration,
  Registry,
  RegistryContext,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { RegistryContact } from './registry-contact.ts';

/** First requests, and requests after an outage, are spread over this time at most. */
const MAX_SPREAD_MS = 2000;

const options = z.object({
  address: z
    .string()
    .refine(isOrigin, { error: 'write it as http://127.0.0.1:8500 or https://consul.internal:8501, without a path' })
    .describe("Consul's HTTP API: http://127.0.0.1:8500 or https://consul.internal:8501")
    .prefault('http://127.0.0.1:8500'),
  token: z.string().describe('ACL token; needs service:read and node:read').prefault(''),
  datacenter: z.string().describe("datacenter to ask; empty for the agent's own").prefault(''),
  wait: duration()
    .refine((ms) => ms >= 1000 && ms <= 600_000, { error: 'Consul lets a query wait 1s…10m' })
    .describe('how long a query waits at Consul for a change')
    .prefault('55s'),
  stale: z
    .boolean()
    .describe('let every Consul server answer, so that discovery outlives the loss of its leader')
    .prefault(true),
  tls: clientTls.describe('for an https address').prefault({}),
  connections: z
    .number()
    .int()
    .min(2)
    .max(10_000)
    .describe("sockets at most over plain HTTP; keep it below Consul's limits.http_max_conns_per_client (200)")
    .prefault(150),
});

export type ConsulOptions = z.infer<typeof options>;

/**
 * Reads services from Consul, or from whatever speaks its HTTP API: one blocking query per service, shared by the pools of that service.
 * Over plain HTTP each waiting query holds a socket, and Consul refuses more than 200 of one client; so the first services subscribed (140 with the default of
 * 150 connections) are watched and the others polled every 10 s. Over TLS all share HTTP/2 connections and are watched.
 */
export class ConsulRegistry implements Registry {
  readonly #options: ConsulOptions;
  readonly #context: RegistryContext;
  readonly #isFresh: boolean;
  readonly #watches = new Map<string, ConsulWatch>();
  readonly #registrations = new Set<ConsulRegistration>();
  readonly #lanes = new Set<number>();
  readonly #contact: RegistryContact;
  #transport: ConsulTransport | null = null;
  /** For registrations of our own; null until there is one. */
  #consul: Consul | null = null;
  #tls: ClientTls = { verify: true };
  /** Subscriptions made before `start`. */
  #waiting = new Map<RegistrySink, ServiceRef>();
  #subscriptions = new Map<RegistrySink, ConsulWatch>();
  #closed = false;
  #wasSocketPerRequest: boolean | null = null;
  #advised = false;

  /** `isFresh`: the server starts together with us, so that its first answers may lack what is not registered again yet. */
  constructor(options: ConsulOptions, context: RegistryContext, { isFresh = false }: { isFresh?: boolean } = {}) {
    this.#options = options;
    this.#context = context;
    this.#isFresh = isFresh;
    this.#contact = new RegistryContact(
      () => this.#ping(),
      { lost: (error) => this.#lost(error), stillLost: (error) => this.#tell(error), back: () => this.#back() },
      context.clock,
      context.random,
    );
  }

  /** Rejects only when a TLS file cannot be read. */
  async start(): Promise<void> {
    const { address, token, connections, tls } = this.#options;
    this.#tls = await readClientTls(tls);
    if (this.#closed) return;
    this.#transport = new ConsulTransport({ origin: new URL(address).origin, token, connections, tls: this.#tls });
    this.#contact.start();
    const waiting = this.#waiting;
    this.#waiting = new Map();
    for (const [sink, service] of waiting) this.#attach(service, sink, waiting.size);
  }

  /** `sink` is one subscription's own: the same object cannot be subscribed twice. */
  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    if (this.#transport === null) this.#waiting.set(sink, service);
    else this.#attach(service, sink, this.#watches.size);
    return {
      close: () => this.unsubscribe(sink),
      refresh: () => this.refresh(sink),
    };
  }

  /** What the subscription's `refresh` does. */
  refresh(sink: RegistrySink): void {
    this.#subscriptions.get(sink)?.refresh();
  }

  /** What the subscription's `close` does. */
  unsubscribe(sink: RegistrySink): void {
    this.#waiting.delete(sink);
    const watch = this.#subscriptions.get(sink);
    if (watch === undefined) return;
    this.#subscriptions.delete(sink);
    watch.sinks.delete(sink);
    if (watch.sinks.size > 0) return;
    watch.close();
    this.#lanes.delete(watch.lane);
    for (const [key, other] of this.#watches) if (other === watch) this.#watches.delete(key);
    this.#shareConnections();
  }

  async register(self: Registration): Promise<Registered> {
    if (this.#transport === null || this.#closed)
      throw new OperationError('registry-closed', 'the registry does not run');
    this.#consul ??= this.#client();
    const leave = () => void this.#registrations.delete(registration);
    const registration: ConsulRegistration = new ConsulRegistration(
      self,
      this.#transport,
      this.#consul,
      this.#context,
      leave,
    );
    this.#registrations.add(registration);
    try {
      await registration.start();
    } catch (error) {
      leave();
      throw error;
    }
    return registration;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#contact.close();
    for (const watch of this.#watches.values()) watch.close();
    for (const registration of this.#registrations) registration.release();
    this.#watches.clear();
    this.#waiting.clear();
    this.#subscriptions.clear();
    this.#consul?.destroy();
    await this.#transport?.close();
  }

  #client(): Consul {
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = this.#tls;
    const { origin, protocol } = new URL(this.#options.address);
    const common = { keepAlive: true, maxSockets: 2 };
    const agent =
      protocol === 'https:'
        ? new https.Agent({ ...common, ca, cert, key, servername, rejectUnauthorized })
        : new http.Agent(common);
    const defaults = { token: this.#options.token };
    return new Consul({ baseUrl: `${origin}/v1`, agent, defaults, timeout: 5000 } as ConstructorParameters<
      typeof Consul
    >[0]);
  }

  #attach(service: ServiceRef, sink: RegistrySink, crowd: number): void {
    if (this.#closed) return;
    const key = JSON.stringify([service.name, service.tags, service.datacenter ?? '']);
    let watch = this.#watches.get(key);
    const isNew = watch === undefined;
    watch ??= new ConsulWatch(service, this.#takeLane(), this.#shared());
    this.#watches.set(key, watch);
    this.#subscriptions.set(sink, watch);
    if (isNew) {
      this.#shareConnections();
      watch.start(this.#spread(crowd));
    }
    watch.add(sink);
    if (isNew && this.#contact.failure !== null) watch.lost(this.#contact.failure);
  }

  #shared(): WatchShared {
    const { wait, stale, datacenter } = this.#options;
    return {
      transport: this.#transport!,
      contact: this.#contact,
      context: this.#context,
      waitMs: wait,
      stale,
      datacenter,
      isFresh: this.#isFresh,
    };
  }

  #takeLane(): number {
    let lane = 0;
    while (this.#lanes.has(lane)) lane++;
    this.#lanes.add(lane);
    return lane;
  }

  /** Gives every watch a socket to wait on, as far as they go. Some sockets stay free for polls, pings and heartbeats. */
  #shareConnections(): void {
    const isSocketPerRequest = this.#transport!.isSocketPerRequest;
    this.#wasSocketPerRequest = isSocketPerRequest;
    const { connections } = this.#options;
    const limit = isSocketPerRequest ? connections - Math.ceil(connections / 15) : Number.POSITIVE_INFINITY;
    let place = 0;
    for (const watch of this.#watches.values()) watch.isPolling = place++ >= limit;
    if (place <= limit || this.#advised) return;
    this.#advised = true;
    this.#context.log(
      'warn',
      `more services than connections: ${limit} are watched, the others asked every 10 s; use https (HTTP/2), or raise ` +
        "`connections` and with it Consul's limits.http_max_conns_per_client",
      { registry: this.#context.name, connections },
    );
  }

  async #ping(): Promise<void> {
    const signal = AbortSignal.timeout(5000);
    const path = '/v1/status/leader';
    const response = await this.#transport!.request({ method: 'GET', path, lane: 0, timeoutMs: 5000, signal });
    if (this.#wasSocketPerRequest !== this.#transport!.isSocketPerRequest) this.#shareConnections();
    if (response.status < 500) return;
    throw new OperationError('registry-error', `Consul answers ${response.status}`, { retryable: true });
  }

  #lost(error: OperationError): void {
    this.#context.log('warn', 'registry lost; its endpoints stay in use', {
      registry: this.#context.name,
      error: error.message,
    });
    this.#tell(error);
  }

  #tell(error: OperationError): void {
    for (const watch of this.#watches.values()) watch.lost(error);
  }

  #back(): void {
    this.#context.log('info', 'registry is back', { registry: this.#context.name });
    for (const watch of this.#watches.values()) watch.cameBack(this.#spread(this.#watches.size));
  }

  /** A share of the time over which `crowd` requests are spread. */
  #spread(crowd: number): number {
    return this.#context.random() * Math.min(MAX_SPREAD_MS, crowd * 4);
  }
}

function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  return (
    url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.search === '' && url.username === ''
  );
}

export const consulRegistry: Kind<Registry, RegistryContext> = {
  kind: 'consul',
  summary: 'services in Consul, by blocking queries over its HTTP API',
  options,
  create: (settings: ConsulOptions, context) => new ConsulRegistry(settings, context),
};
