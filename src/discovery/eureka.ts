import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { duration } from '../base/literals.ts';
import { clientTls, readClientTls } from '../stores/client-tls.ts';
import { HttpAsker } from '../stores/http-asker.ts';
import { storeAddresses } from '../stores/store-addresses.ts';
import { cleanSet, fingerprint } from './clean-set.ts';
import { type EurekaInstance, toEndpoint } from './eureka-instance.ts';
import { type EurekaNews, EurekaPoll } from './eureka-poll.ts';
import { EurekaRegistration } from './eureka-registration.ts';
import type {
  Registered,
  Registration,
  Registry,
  RegistryContext,
  RegistryEndpoint,
  RegistrySink,
  ServiceRef,
  Subscription,
  Suspicion,
} from './registry.ts';

const options = z.object({
  address: storeAddresses('http://127.0.0.1:8761/eureka').describe(
    'a server or a list of them, asked in turn, each with its path: /eureka, or /eureka/v2 of Netflix',
  ),
  username: z.string().describe('for basic authentication').prefault(''),
  password: z.string().describe('for basic authentication').prefault(''),
  interval: duration()
    .refine((ms) => ms >= 100 && ms <= 60_000, { error: 'ask every 100ms…60s' })
    .describe('between two questions, changed by up to a fifth')
    .prefault('5s'),
  by: z
    .enum(['app', 'vip', 'secure-vip'])
    .describe("what a pool's `service` names: an application or one of its VIP addresses")
    .prefault('app'),
  prefer: z.enum(['ip', 'name']).describe('what endpoints are reached by').prefault('ip'),
  port: z
    .enum(['auto', 'plain', 'secure'])
    .describe('which port; auto: the plain one, or the secure one where only that is switched on')
    .prefault('auto'),
  tls: clientTls.describe('for https addresses').prefault({}),
});

export type EurekaOptions = z.infer<typeof options>;

/** What the pools of one service share. */
interface Watch {
  readonly service: ServiceRef;
  readonly sinks: Set<RegistrySink>;
  endpoints: readonly RegistryEndpoint[] | null;
  fingerprint: string;
  suspicion: Suspicion | null;
}

/** Reads services from Eureka, Netflix's or Spring Cloud's: one poll for all of them, by deltas. An error never takes endpoints away. */
export class EurekaRegistry implements Registry {
  readonly #options: EurekaOptions;
  readonly #context: RegistryContext;
  readonly #watches = new Map<string, Watch>();
  readonly #registrations = new Set<EurekaRegistration>();
  #asker: HttpAsker | null = null;
  #poll: EurekaPoll | null = null;
  /** Whether there was a good answer. */
  #isFilled = false;
  #failure: OperationError | null = null;
  #closed = false;

  constructor(options: EurekaOptions, context: RegistryContext) {
    this.#options = options;
    this.#context = context;
  }

  /** Rejects only when a TLS file cannot be read. */
  async start(): Promise<void> {
    const { address: addresses, username, password, interval: intervalMs, tls } = this.#options;
    const asker = new HttpAsker({ addresses, username, password, tls: await readClientTls(tls) });
    if (this.#closed) return;
    const events = { told: this.#told, failed: this.#failed };
    this.#asker = asker;
    this.#poll = new EurekaPoll({ asker, intervalMs, context: this.#context, events });
    this.#poll.start();
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    const key = JSON.stringify([service.name, service.tags]);
    let watch = this.#watches.get(key);
    if (watch === undefined) {
      watch = { service, sinks: new Set(), endpoints: null, fingerprint: '', suspicion: null };
      this.#watches.set(key, watch);
      // While the registry is away only what is known to be there is told: the rest may be there by now.
      if (this.#isFilled && this.#instancesOf(service.name).length + (this.#failure === null ? 1 : 0) > 0)
        this.#refill(watch, null);
    }
    watch.sinks.add(sink);
    if (watch.endpoints !== null) sink.replace({ endpoints: watch.endpoints, suspicion: watch.suspicion });
    if (this.#failure !== null) sink.unavailable(this.#failure);
    const joined = watch;
    return {
      close: () => {
        joined.sinks.delete(sink);
        if (joined.sinks.size === 0 && this.#watches.get(key) === joined) this.#watches.delete(key);
      },
      refresh: () => this.#poll?.refresh(),
    };
  }

  async register(self: Registration): Promise<Registered> {
    if (this.#asker === null || this.#closed) throw new OperationError('registry-closed', 'the registry does not run');
    const registration = new EurekaRegistration(self, this.#asker, this.#context);
    this.#registrations.add(registration);
    try {
      await registration.start();
    } catch (error) {
      this.#registrations.delete(registration);
      throw error;
    }
    return {
      deregister: () => {
        this.#registrations.delete(registration);
        return registration.deregister();
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#poll?.close();
    for (const registration of this.#registrations) registration.stop();
    this.#watches.clear();
    this.#registrations.clear();
    await this.#asker?.close();
  }

  readonly #told = ({ changed, suspicion }: EurekaNews): void => {
    if (this.#failure !== null) this.#context.log('info', 'registry is back', { registry: this.#context.name });
    this.#failure = null;
    this.#isFilled = true;
    for (const watch of [...this.#watches.values()]) {
      // A VIP may be of any application.
      const isNews = this.#options.by !== 'app' || changed?.has(watch.service.name.toUpperCase()) !== false;
      if (watch.endpoints === null || (isNews && changed?.size !== 0)) this.#refill(watch, suspicion);
      else watch.suspicion = suspicion;
      const set = { endpoints: watch.endpoints!, suspicion: watch.suspicion };
      for (const sink of [...watch.sinks]) sink.replace(set);
    }
  };

  readonly #failed = (error: OperationError): void => {
    const before = this.#failure;
    this.#failure = error;
    if (before?.code === error.code && before.message === error.message) return;
    const { log, name } = this.#context;
    if (before === null)
      log('warn', 'registry lost; its endpoints stay in use', { registry: name, error: error.message });
    for (const { sinks } of [...this.#watches.values()]) for (const sink of [...sinks]) sink.unavailable(error);
  };

  /** Keeps the very list where nothing changed. */
  #refill(watch: Watch, suspicion: Suspicion | null): void {
    const { service } = watch;
    const records = this.#instancesOf(service.name).map((one) => toEndpoint(one, this.#choice, this.#poll!.fetchedAt));
    const wanted = records.filter(({ tags }) => service.tags.every((tag) => tags.includes(tag)));
    const { endpoints, dropped, firstFault } = cleanSet(wanted);
    if (dropped > 0)
      this.#context.log('warn', 'records of the registry left out', {
        registry: this.#context.name,
        service: service.name,
        leftOut: dropped,
        firstFault,
      });
    const print = fingerprint(endpoints);
    watch.suspicion = suspicion;
    if (watch.endpoints !== null && print === watch.fingerprint) return;
    watch.endpoints = endpoints;
    watch.fingerprint = print;
  }

  get #choice() {
    const { prefer, port, by } = this.#options;
    return { prefer, port: by === 'secure-vip' && port === 'auto' ? ('secure' as const) : port };
  }

  #instancesOf(name: string): EurekaInstance[] {
    const { apps } = this.#poll!;
    const { by } = this.#options;
    if (by === 'app') return [...(apps.get(name.toUpperCase())?.values() ?? [])];
    const all = [...apps.values()].flatMap((app) => [...app.values()]);
    return all.filter(({ vips, secureVips }) => (by === 'vip' ? vips : secureVips).includes(name));
  }
}

export const eurekaRegistry: Kind<Registry, RegistryContext> = {
  kind: 'eureka',
  summary: 'applications in Eureka, Netflix or Spring Cloud, by polls of its deltas',
  options,
  create: (settings: EurekaOptions, context) => new EurekaRegistry(settings, context),
};
