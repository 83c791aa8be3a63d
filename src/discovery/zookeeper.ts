import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { duration, formatHostPort, orOff } from '../base/literals.ts';
import { clientTls, readClientTls } from '../stores/client-tls.ts';
import { formatServers, parseConnectString } from '../stores/zookeeper/connect-string.ts';
import { ZookeeperSession } from '../stores/zookeeper/zookeeper-session.ts';
import { writeDubboName } from './dubbo-url.ts';
import { writeRecord } from './record-json.ts';
import type {
  Registered,
  Registration,
  Registry,
  RegistryContext,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { isServicePath, servicePath } from './service-path.ts';
import { ServiceWatches } from './service-watches.ts';
import { type OwnNode, ZookeeperRegistration } from './zookeeper-registration.ts';
import { type ZookeeperFormat, ZookeeperWatch } from './zookeeper-watch.ts';

/** Where each format's own tools keep services. */
const PATHS: Readonly<Record<ZookeeperFormat, string>> = {
  auto: '/services/{service}',
  curator: '/services/{service}',
  nerve: '/nerve/services/{service}/services',
  dubbo: '/dubbo/{service}/providers',
  plain: '/services/{service}',
};

const options = z.object({
  address: z
    .string()
    .refine((text) => parseConnectString(text) !== null, {
      error: 'write it as zk1:2181,zk2:2181 or, with a chroot, zk1:2181,zk2:2181/shop',
    })
    .describe('the servers of the ensemble, as zk1:2181,zk2:2181, and a chroot behind them, as /shop')
    .prefault('127.0.0.1:2181'),
  format: z
    .enum(['auto', 'curator', 'nerve', 'dubbo', 'plain'])
    .describe("how endpoints are written: Curator's or nerve's JSON, Dubbo's URLs, host:port; auto tells them apart")
    .prefault('auto'),
  path: z
    .string()
    .refine(isServicePath, { error: 'write it as /services/{service}' })
    .describe(
      'the node above the endpoints; default /services/{service}, nerve /nerve/services/{service}/services, dubbo /dubbo/{service}/providers',
    )
    .optional(),
  auth: z.string().describe('user:password, sent as digest').prefault(''),
  session: duration()
    .refine((ms) => ms >= 1000 && ms <= 300_000, { error: 'a session lasts 1s…5m without a word' })
    .describe(
      'how long ZooKeeper keeps our session when it does not hear from us; a server silent for two thirds of it is left',
    )
    .prefault('10s'),
  tls: orOff(clientTls).describe('off, or the files of a TLS connection').prefault('off'),
});

export type ZookeeperOptions = z.infer<typeof options>;

/**
 * Reads services from ZooKeeper over one session: the nodes below a service's path are its endpoints. A lost connection is not an expired session: endpoints stay, the session
 * moves to another server with its watches. After an expiry all is read anew.
 */
export class ZookeeperRegistry implements Registry {
  readonly #options: ZookeeperOptions;
  readonly #context: RegistryContext;
  readonly #path: string;
  readonly #watches: ServiceWatches<ZookeeperWatch>;
  readonly #registrations = new Set<ZookeeperRegistration>();
  #session: ZookeeperSession | null = null;
  #closed = false;
  #isLost = false;

  constructor(settings: ZookeeperOptions, context: RegistryContext) {
    this.#options = settings;
    this.#context = context;
    this.#path = settings.path ?? PATHS[settings.format];
    this.#watches = new ServiceWatches((service) => this.#makeWatch(service), context.random);
  }

  /** Rejects only when a TLS file cannot be read. */
  async start(): Promise<void> {
    const { address, session: timeoutMs, auth, tls } = this.#options;
    const read = tls === null ? null : await readClientTls(tls);
    if (this.#closed) return;
    const { clock, random } = this.#context;
    this.#session = new ZookeeperSession(
      { address: parseConnectString(address)!, timeoutMs, auth, tls: read, clock, random },
      {
        connected: (isNew) => this.#connected(isNew),
        disconnected: (error) => this.#disconnected(error),
        lost: (error) => this.#lost(error),
      },
    );
    this.#session.start();
    this.#watches.open();
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    return this.#watches.subscribe(service, sink);
  }

  async register(self: Registration): Promise<Registered> {
    if (this.#session === null || this.#closed)
      throw new OperationError('registry-closed', 'the registry does not run');
    const leave = () => void this.#registrations.delete(registration);
    const registration: ZookeeperRegistration = new ZookeeperRegistration(
      this.#ownNode(self),
      this.#session,
      this.#context,
      leave,
    );
    this.#registrations.add(registration);
    try {
      await registration.start();
    } catch (error) {
      registration.release();
      throw error;
    }
    return registration;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const registration of this.#registrations) registration.release();
    this.#watches.close();
    await this.#session?.close();
  }

  #makeWatch(service: ServiceRef): ZookeeperWatch {
    const shared = { session: this.#session!, context: this.#context, format: this.#options.format };
    return new ZookeeperWatch(service, servicePath(this.#path, service), shared);
  }

  #ownNode(self: Registration): OwnNode {
    const { format, auth } = this.#options;
    const nowMs = Date.now();
    const parent = servicePath(this.#path, { name: self.service, tags: [] });
    const access = auth === '' ? 'open' : 'creator';
    if (format === 'dubbo')
      return { path: `${parent}/${writeDubboName(self, nowMs)}`, data: Buffer.from(self.host), access };
    const data = writeRecord(self, format === 'auto' ? 'curator' : format, nowMs);
    // A slash would lead further down.
    const name = format === 'plain' ? formatHostPort(self.host, self.port) : self.id.replaceAll('/', '_');
    return { path: `${parent}/${name}`, data, access };
  }

  #connected(isNew: boolean): void {
    if (this.#isLost)
      this.#context.log('info', 'registry is back', { registry: this.#context.name, isNewSession: isNew });
    this.#isLost = false;
    for (const watch of this.#watches) watch.connected(isNew, this.#watches.spread());
    for (const registration of this.#registrations) registration.connected();
  }

  #disconnected(error: OperationError): void {
    this.#context.log('debug', 'connection lost', { registry: this.#context.name, error: error.message });
    for (const watch of this.#watches) watch.disconnected();
  }

  #lost(error: OperationError): void {
    this.#isLost = true;
    this.#context.log('warn', 'registry lost; its endpoints stay in use', {
      registry: this.#context.name,
      servers: formatServers(parseConnectString(this.#options.address)!),
      error: error.message,
    });
    for (const watch of this.#watches) watch.lost(error);
  }
}

export const zookeeperRegistry: Kind<Registry, RegistryContext> = {
  kind: 'zookeeper',
  summary: 'services in ZooKeeper, as Curator, nerve, Dubbo or plain host:port keep them',
  options,
  create: (settings: ZookeeperOptions, context) => new ZookeeperRegistry(settings, context),
};
