import { z } from 'zod';
import { Backoff } from '../base/backoff.ts';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { clientTls, readClientTls } from '../stores/client-tls.ts';
import { EtcdClient } from '../stores/etcd/etcd-client.ts';
import type { EtcdChange, EtcdStream } from '../stores/etcd/etcd-stream.ts';
import { EtcdRegistration } from './etcd-registration.ts';
import { EtcdWatch } from './etcd-watch.ts';
import { type RecordFormat, writeRecord } from './record-json.ts';
import type {
  Registered,
  Registration,
  Registry,
  RegistryContext,
  RegistrySink,
  ServiceRef,
  Subscription,
  Suspicion,
} from './registry.ts';
import { RegistryContact } from './registry-contact.ts';
import { isServicePath, servicePath } from './service-path.ts';
import { ServiceWatches } from './service-watches.ts';

/** A watch says nothing while nothing changes: whether etcd lives is asked apart, this often. */
const PING_MS = 4000;

/** How long etcd may take to answer. */
const TIMEOUT_MS = 3000;

const FORMATS: Readonly<Record<'auto' | 'json' | 'grpc' | 'plain', readonly RecordFormat[] | null>> = {
  auto: null,
  json: ['nerve', 'curator'],
  grpc: ['grpc'],
  plain: ['plain'],
};

const options = z.object({
  address: z
    .string()
    .refine((text) => originsOf(text).every(isOrigin), {
      error: 'write it as http://127.0.0.1:2379, or several with commas between, each without a path',
    })
    .describe("the servers' client addresses, as http://etcd1:2379,http://etcd2:2379; the first that answers serves")
    .prefault('http://127.0.0.1:2379'),
  path: z
    .string()
    .refine((path) => isServicePath(path) && sharedPrefix(path).length > 1 && path.endsWith('/'), {
      error: 'write it as /services/{service}/: one watch of what stands before {service} covers all services',
    })
    .describe("what a service's keys begin with; what stands before {service} is watched")
    .prefault('/services/{service}/'),
  format: z
    .enum(['auto', 'json', 'grpc', 'plain'])
    .describe(
      "how endpoints are written: JSON with host and port, gRPC naming's JSON, host:port; auto tells them apart",
    )
    .prefault('auto'),
  user: z.string().describe('who we are to etcd; empty for nobody').prefault(''),
  password: z.string().describe('of that user').prefault(''),
  tls: clientTls.describe('for https addresses').prefault({}),
});

export type EtcdOptions = z.infer<typeof options>;

/**
 * Reads services from etcd 3.4 and later, by one watch over all of them: the keys below a service's path are its endpoints. Where that watch breaks (a lost
 * connection, a compaction, a restore from a backup) every service is read anew at the revision from which a new watch goes on.
 */
export class EtcdRegistry implements Registry {
  readonly #options: EtcdOptions;
  readonly #context: RegistryContext;
  readonly #watches: ServiceWatches<EtcdWatch>;
  readonly #registrations = new Set<EtcdRegistration>();
  readonly #contact: RegistryContact;
  readonly #backoff: Backoff;
  #client: EtcdClient | null = null;
  #stream: EtcdStream | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  /** Watches begun; only the last one counts. */
  #attempts = 0;
  #isFollowing = false;
  /** The watch broke since the services were read last. */
  #hasGap = false;
  #revision = 0;
  #storeId = '';

  constructor(settings: EtcdOptions, context: RegistryContext) {
    this.#options = settings;
    this.#context = context;
    this.#backoff = new Backoff(250, 5000, context.random);
    this.#watches = new ServiceWatches((service) => this.#makeWatch(service), context.random);
    this.#contact = new RegistryContact(
      () => this.#ping(),
      { lost: (error) => this.#lost(error), stillLost: (error) => this.#tell(error), back: () => this.#back() },
      context.clock,
      context.random,
      PING_MS,
    );
  }

  /** Rejects only when a TLS file cannot be read. */
  async start(): Promise<void> {
    const { address, user, password, tls } = this.#options;
    const read = await readClientTls(tls);
    if (this.#closed) return;
    const origins = originsOf(address);
    this.#client = new EtcdClient({ origins, user, password, tls: read, timeoutMs: TIMEOUT_MS });
    this.#contact.start();
    this.#watches.open();
    void this.#follow();
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    return this.#watches.subscribe(service, sink);
  }

  async register(self: Registration): Promise<Registered> {
    if (this.#client === null || this.#closed) throw new OperationError('registry-closed', 'the registry does not run');
    const { format } = this.#options;
    const wanted = format === 'auto' || format === 'json' ? 'nerve' : format;
    const path = servicePath(this.#options.path, { name: self.service, tags: [] });
    const value = writeRecord(self, wanted, Date.now());
    const own = { key: path + self.id, value, ttlMs: self.ttlMs };
    const leave = () => void this.#registrations.delete(registration);
    const registration: EtcdRegistration = new EtcdRegistration(own, this.#client, this.#context, leave);
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
    this.#stop();
    for (const registration of this.#registrations) registration.release();
    this.#watches.close();
    await this.#client?.close();
  }

  #makeWatch(service: ServiceRef): EtcdWatch {
    const { path, format } = this.#options;
    return new EtcdWatch(service, servicePath(path, service), {
      client: this.#client!,
      contact: this.#contact,
      context: this.#context,
      formats: FORMATS[format],
      isFollowing: () => this.#isFollowing,
    });
  }

  /** Begins a watch behind the newest revision there is. Only when it stands the services are read, so that nothing falls between. */
  async #follow(): Promise<void> {
    const attempt = ++this.#attempts;
    this.#stop();
    const prefix = sharedPrefix(this.#options.path);
    try {
      const { revision, clusterId } = await this.#client!.range(prefix, { isPrefix: true, limit: 1, keysOnly: true });
      if (this.#closed || attempt !== this.#attempts) return;
      // A store that was set back, or is another one, may lack what was registered since.
      const wasReset = this.#revision > 0 && (revision < this.#revision || clusterId !== this.#storeId);
      const suspicion = wasReset ? 'index-reset' : this.#hasGap ? 'after-reconnect' : null;
      this.#revision = revision;
      this.#storeId = clusterId;
      this.#stream = this.#client!.watch(prefix, revision + 1, {
        created: () => this.#created(suspicion),
        changed: (changes) => this.#changed(changes),
        ended: (error, isCompacted) => this.#broke(error, isCompacted),
      });
    } catch (error) {
      if (attempt === this.#attempts) this.#broke(error as OperationError, false);
    }
  }

  #stop(): void {
    this.#isFollowing = false;
    this.#stream?.close();
    this.#stream = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #created(suspicion: Suspicion | null): void {
    this.#isFollowing = true;
    this.#backoff.reset();
    this.#contact.heard();
    for (const watch of this.#watches) watch.connected(suspicion, this.#watches.spread());
  }

  #changed(changes: readonly EtcdChange[]): void {
    this.#contact.heard();
    for (const change of changes) {
      this.#revision = Math.max(this.#revision, change.record.modRevision);
      for (const watch of this.#watches) if (change.record.key.startsWith(watch.prefix)) watch.changed(change);
    }
  }

  #broke(error: OperationError, isCompacted: boolean): void {
    this.#hasGap = true;
    if (this.#closed) return;
    this.#stop();
    const { name, log } = this.#context;
    log('debug', 'the watch ended; beginning anew', { registry: name, error: error.message, isCompacted });
    if (error.code === 'registry-denied') for (const watch of this.#watches) watch.lost(error);
    this.#contact.doubt();
    // While etcd is away, its being back begins the watch.
    if (!this.#contact.isUp) return;
    this.#timer = setTimeout(() => void this.#follow(), isCompacted ? 0 : this.#backoff.next());
  }

  async #ping(): Promise<void> {
    await this.#client!.range(sharedPrefix(this.#options.path), { isPrefix: true, limit: 1, keysOnly: true }).catch(
      (error: OperationError) => {
        // Who refuses is there.
        if (error.code !== 'registry-denied') throw error;
      },
    );
  }

  #lost(error: OperationError): void {
    const { name, log } = this.#context;
    log('warn', 'registry lost; its endpoints stay in use', { registry: name, error: error.message });
    // A server that froze keeps its end of the watch open.
    this.#hasGap = true;
    this.#attempts++;
    this.#stop();
    this.#tell(error);
  }

  #tell(error: OperationError): void {
    for (const watch of this.#watches) watch.lost(error);
  }

  #back(): void {
    this.#context.log('info', 'registry is back', { registry: this.#context.name });
    void this.#follow();
  }
}

function originsOf(text: string): string[] {
  return text.split(',').map((part) => part.trim().replace(/\/$/, ''));
}

function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  return (
    url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.search === '' && url.username === ''
  );
}

/** What all services' keys begin with. */
function sharedPrefix(path: string): string {
  return path.slice(0, path.search(/\{(service|datacenter)\}/));
}

export const etcdRegistry: Kind<Registry, RegistryContext> = {
  kind: 'etcd',
  summary: 'services in etcd, as JSON, as gRPC naming keeps them, or plain host:port, by one watch',
  options,
  create: (settings: EtcdOptions, context) => new EtcdRegistry(settings, context),
};
