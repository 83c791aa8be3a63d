import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { duration } from '../base/literals.ts';
import { clientTls, readClientTls } from '../stores/client-tls.ts';
import { HttpAsker } from '../stores/http-asker.ts';
import { storeAddresses } from '../stores/store-addresses.ts';
import { type EurekaInstance, toEndpoint } from './eureka-instance.ts';
import { type EurekaNews, EurekaPoll } from './eureka-poll.ts';
import { EurekaRegistration } from './eureka-registration.ts';
import { EurekaWatch } from './eureka-watch.ts';
import type {
  Registered,
  Registration,
  Registry,
  RegistryContext,
  RegistryEndpoint,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { ServiceWatches } from './service-watches.ts';

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

/** Reads services from Eureka, Netflix's or Spring Cloud's: one poll for all of them, by deltas. An error never takes endpoints away. */
export class EurekaRegistry implements Registry {
  readonly #options: EurekaOptions;
  readonly #context: RegistryContext;
  readonly #watches: ServiceWatches<EurekaWatch>;
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
    this.#watches = new ServiceWatches((service) => new EurekaWatch(service, this.#shared), context.random);
  }

  /** Rejects only when a TLS file cannot be read. */
  async start(): Promise<void> {
    const { address: addresses, username, password, interval: intervalMs, tls } = this.#options;
    const asker = new HttpAsker({ addresses, username, password, tls: await readClientTls(tls) });
    if (this.#closed) return;
    const events = { told: this.#told, failed: this.#failed };
    this.#asker = asker;
    this.#poll = new EurekaPoll({ asker, intervalMs, context: this.#context, events });
    this.#watches.open();
    this.#poll.start();
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    return this.#watches.subscribe(service, sink);
  }

  async register(self: Registration): Promise<Registered> {
    if (this.#asker === null || this.#closed) throw new OperationError('registry-closed', 'the registry does not run');
    const leave = () => void this.#registrations.delete(registration);
    const registration: EurekaRegistration = new EurekaRegistration(self, this.#asker, this.#context, leave);
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
    this.#poll?.close();
    for (const registration of this.#registrations) registration.release();
    this.#watches.close();
    await this.#asker?.close();
  }

  readonly #told = ({ changed, suspicion }: EurekaNews): void => {
    if (this.#failure !== null) this.#context.log('info', 'registry is back', { registry: this.#context.name });
    this.#failure = null;
    this.#isFilled = true;
    for (const watch of this.#watches) {
      // A VIP may be of any application.
      const isNews = this.#options.by !== 'app' || changed?.has(watch.service.toUpperCase()) !== false;
      if (isNews && changed?.size !== 0) watch.tell(suspicion);
      else watch.confirm();
    }
  };

  readonly #failed = (error: OperationError): void => {
    const before = this.#failure;
    this.#failure = error;
    if (before?.code === error.code && before.message === error.message) return;
    const { log, name } = this.#context;
    if (before === null)
      log('warn', 'registry lost; its endpoints stay in use', { registry: name, error: error.message });
    for (const watch of this.#watches) watch.fail(error);
  };

  get #shared() {
    return {
      context: this.#context,
      isFilled: () => this.#isFilled,
      failure: () => this.#failure,
      endpointsOf: this.#endpointsOf,
      refresh: () => this.#poll?.refresh(),
    };
  }

  readonly #endpointsOf = (service: string): RegistryEndpoint[] =>
    this.#instancesOf(service).map((one) => toEndpoint(one, this.#choice, this.#poll!.fetchedAt));

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
