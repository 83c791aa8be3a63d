import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { z } from 'zod';
import { Backoff } from '../base/backoff.ts';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { duration, hostPort, parseHostPort } from '../base/literals.ts';
import { jittered } from '../base/random.ts';
import { cleanSet, fingerprint } from './clean-set.ts';
import { DnsClient, type DnsServer } from './dns-client.ts';
import { type DnsFound, DnsLookup, parseDnsService } from './dns-lookup.ts';
import type {
  Registry,
  RegistryContext,
  RegistryEndpoint,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';

const RESOLV_CONF = '/etc/resolv.conf';

const options = z.object({
  resolvers: z
    .array(
      hostPort().refine((text) => isIP(parseHostPort(text)?.host ?? '') !== 0, {
        error: 'write its address, as 10.0.0.2:53',
      }),
    )
    .describe('DNS servers, asked in turn; by default those of /etc/resolv.conf')
    .prefault([]),
  family: z.enum(['both', 'ipv4', 'ipv6']).describe('addresses that are asked for').prefault('both'),
  timeout: duration()
    .refine((ms) => ms >= 10, { error: 'at least 10ms' })
    .describe('of one server, which the next follows')
    .prefault('2s'),
  ttl: z
    .strictObject({
      min: duration()
        .refine((ms) => ms >= 100, { error: 'at least 100ms' })
        .describe('an answer is used for so long, whatever its TTL')
        .prefault('5s'),
      max: duration().describe('asked again after so long at the latest').prefault('60s'),
    })
    .refine(({ min, max }) => min <= max, { error: 'min is longer than max' })
    .describe('bounds of what the records say')
    .prefault({}),
});

export type DnsOptions = z.infer<typeof options>;

/** Endpoints from DNS: SRV records, or the addresses of a name. Asked when the TTL is over; the last answer stays when no server answers. */
export class DnsRegistry implements Registry {
  readonly #options: DnsOptions;
  readonly #context: RegistryContext;
  readonly #polls = new Map<string, DnsPoll>();
  #client: DnsClient | null = null;
  #closed = false;

  constructor(options: DnsOptions, context: RegistryContext) {
    this.#options = options;
    this.#context = context;
  }

  /** Rejects when no server is named anywhere. */
  async start(): Promise<void> {
    const named = this.#options.resolvers.map((text) => parseHostPort(text)!);
    const servers = named.length > 0 ? named : await systemServers();
    if (this.#closed) return;
    this.#client = new DnsClient(servers, this.#options.timeout);
    for (const poll of this.#polls.values()) poll.start(this.#client);
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    if (this.#closed) return { close() {} };
    const key = JSON.stringify([service.name, service.tags]);
    const poll = this.#polls.get(key) ?? new DnsPoll(service, this.#options, this.#context);
    const isNew = !this.#polls.has(key);
    this.#polls.set(key, poll);
    poll.add(sink);
    if (isNew && this.#client !== null) poll.start(this.#client);
    return {
      refresh: () => poll.refresh(),
      close: () => {
        if (!poll.remove(sink) || this.#polls.get(key) !== poll) return;
        poll.close();
        this.#polls.delete(key);
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const poll of this.#polls.values()) poll.close();
    this.#polls.clear();
    this.#client?.close();
  }
}

/** Keeps asking for one service. */
class DnsPoll {
  readonly #service: ServiceRef;
  readonly #options: DnsOptions;
  readonly #context: RegistryContext;
  readonly #backoff: Backoff;
  readonly #sinks = new Set<RegistrySink>();
  #lookup: DnsLookup | null = null;
  #current: readonly RegistryEndpoint[] | null = null;
  #fingerprint = '';
  #failure: OperationError | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isAsking = false;
  #again = false;
  #closed = false;

  constructor(service: ServiceRef, options: DnsOptions, context: RegistryContext) {
    this.#service = service;
    this.#options = options;
    this.#context = context;
    this.#backoff = new Backoff(500, Math.max(1000, options.ttl.max), context.random);
  }

  add(sink: RegistrySink): void {
    this.#sinks.add(sink);
    if (this.#current !== null) sink.replace({ endpoints: this.#current, suspicion: null });
    if (this.#failure !== null) sink.unavailable(this.#failure);
  }

  /** Whether that was the last. */
  remove(sink: RegistrySink): boolean {
    return this.#sinks.delete(sink) && this.#sinks.size === 0;
  }

  start(client: DnsClient): void {
    const { name } = this.#service;
    const parsed = parseDnsService(name);
    if (parsed === null) {
      const message = `"${name}" is no service of DNS; write _http._tcp.example.com for SRV records, example.com:8080 for addresses`;
      return this.#fail(new OperationError('registry-service', message));
    }
    this.#lookup = new DnsLookup(client, parsed, this.#options.family);
    void this.#ask();
  }

  refresh(): void {
    if (this.#isAsking) this.#again = true;
    else void this.#ask();
  }

  close(): void {
    this.#closed = true;
    this.#sinks.clear();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #ask(): Promise<void> {
    if (this.#lookup === null || this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#isAsking = true;
    this.#again = false;
    let waitMs: number;
    try {
      const found = await this.#lookup.find();
      if (this.#closed) return;
      this.#tell(found);
      this.#backoff.reset();
      const { min, max } = this.#options.ttl;
      // Later rather than sooner: before its TTL is over, a resolver repeats what it said.
      waitMs = Math.min(max, Math.max(min, (found.ttlS ?? 0) * 1000)) * (1 + 0.1 * this.#context.random());
    } catch (error) {
      if (this.#closed) return;
      this.#fail(error as OperationError);
      waitMs = jittered(this.#context.random, this.#options.ttl.min, 0.2) + this.#backoff.next();
    } finally {
      this.#isAsking = false;
    }
    this.#timer = setTimeout(() => void this.#ask(), this.#again ? 0 : waitMs);
  }

  #tell({ endpoints: found, isNothing }: DnsFound): void {
    // DNS knows no tags: nothing carries any.
    const { endpoints, dropped, firstFault } = cleanSet(this.#service.tags.length === 0 ? found : []);
    const print = fingerprint(endpoints);
    const isSame = this.#current !== null && print === this.#fingerprint;
    if (dropped > 0 && !isSame)
      this.#context.log('warn', 'records of the registry left out', {
        registry: this.#context.name,
        service: this.#service.name,
        leftOut: dropped,
        firstFault,
      });
    // A name that is suddenly not there is a zone that did not load as often as a service that ended.
    const isSudden = isNothing && this.#current !== null && this.#current.length > 0;
    const suspicion =
      this.#failure !== null && this.#current !== null ? 'after-reconnect' : isSudden ? 'emptied' : null;
    this.#failure = null;
    this.#fingerprint = print;
    if (!isSame) this.#current = endpoints;
    for (const sink of [...this.#sinks]) sink.replace({ endpoints: this.#current!, suspicion });
  }

  #fail(error: OperationError): void {
    const isNews = this.#failure?.code !== error.code || this.#failure.message !== error.message;
    this.#failure = error;
    if (isNews) for (const sink of [...this.#sinks]) sink.unavailable(error);
  }
}

async function systemServers(): Promise<DnsServer[]> {
  const text = await readFile(RESOLV_CONF, 'utf8').catch(() => '');
  const hosts = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)]
    .map(([, host]) => host)
    .filter((host) => isIP(host) !== 0);
  if (hosts.length === 0)
    throw new OperationError('registry-resolvers', `${RESOLV_CONF} names no DNS server; set resolvers`);
  return hosts.map((host) => ({ host, port: 53 }));
}

export const dnsRegistry: Kind<Registry, RegistryContext> = {
  kind: 'dns',
  summary: 'SRV records or addresses from DNS, asked again when their TTL is over',
  options,
  create: (settings: DnsOptions, context) => new DnsRegistry(settings, context),
};
