import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { duration } from '../base/literals.ts';
import { type ClientTls, clientTls, readClientTls } from '../stores/client-tls.ts';
import { HttpAsker } from '../stores/http-asker.ts';
import { NacosHttp } from '../stores/nacos/nacos-http.ts';
import { NacosToken } from '../stores/nacos/nacos-token.ts';
import { storeAddresses } from '../stores/store-addresses.ts';
import type { NacosLink, NacosLinkEvents, NacosWanted } from './nacos-link.ts';
import { NacosPoll } from './nacos-poll.ts';
import { NacosPush } from './nacos-push.ts';
import { type NacosShared, NacosWatch } from './nacos-watch.ts';
import type {
  Registered,
  Registration,
  Registry,
  RegistryContext,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { ServiceWatches } from './service-watches.ts';

/** Nacos 2 serves gRPC on the port this far above that of HTTP. */
const GRPC_OFFSET = 1000;

const options = z.object({
  address: storeAddresses('http://127.0.0.1:8848/nacos').describe('a server or a list of them, each with its path'),
  transport: z
    .enum(['auto', 'grpc', 'http'])
    .describe('grpc: pushes, Nacos 2 and later; http: polls; auto: polls only where no gRPC gets through')
    .prefault('auto'),
  grpcPort: z.int().min(0).max(65_535).describe("port of gRPC; 0: a thousand above the address's").prefault(0),
  username: z.string().describe('who logs in; empty for nobody').prefault(''),
  password: z.string().describe('the password of that user').prefault(''),
  namespace: z.string().describe('ID of the namespace').prefault('public'),
  group: z
    .string()
    .min(1)
    .describe('group of services whose name carries none as GROUP@@name')
    .prefault('DEFAULT_GROUP'),
  clusters: z
    .array(z.string())
    .describe("only endpoints of these clusters; all when empty; a pool's datacenter is one")
    .prefault([]),
  interval: duration()
    .refine((ms) => ms >= 100 && ms <= 60_000, { error: 'ask every 100ms…60s' })
    .describe('between two rounds of polls over HTTP, changed by up to a fifth')
    .prefault('5s'),
  tls: clientTls.describe('for https addresses').prefault({}),
});

export type NacosOptions = z.infer<typeof options>;

/** Reads services from Nacos: by pushes over one gRPC connection, or where there is none by polls over HTTP. An error never takes endpoints away. */
export class NacosRegistry implements Registry {
  readonly #options: NacosOptions;
  readonly #context: RegistryContext;
  readonly #watches: ServiceWatches<NacosWatch>;
  readonly #selves = new Set<Registration>();
  readonly #wanted: NacosWanted;
  #asker: HttpAsker | null = null;
  #http: NacosHttp | null = null;
  #token: NacosToken | null = null;
  #tls: ClientTls = { verify: true };
  #link: NacosLink | null = null;
  #failure: OperationError | null = null;
  /** The server answered, whichever way. */
  #wasReached = false;
  /** The link at hand is the one to stay with: it has reached the server. */
  #isSettled = false;
  #isTrying = false;
  #closed = false;

  constructor(settings: NacosOptions, context: RegistryContext) {
    this.#options = settings;
    this.#context = context;
    const { namespace, group, clusters } = settings;
    const shared: NacosShared = {
      context,
      group,
      clusters,
      failure: () => this.#failure,
      ask: (watch) => this.#link?.ask(watch),
      leave: (watch) => this.#link?.leave(watch),
    };
    this.#watches = new ServiceWatches((service) => new NacosWatch(service, shared), context.random);
    this.#wanted = { watches: this.#watches, selves: this.#selves, namespace, group };
  }

  /** Rejects only when a TLS file cannot be read. */
  async start(): Promise<void> {
    const { address: addresses, username, password, transport, tls } = this.#options;
    this.#tls = await readClientTls(tls);
    if (this.#closed) return;
    this.#asker = new HttpAsker({ addresses, username: '', password: '', tls: this.#tls });
    this.#token = new NacosToken(this.#asker, { username, password }, this.#context.clock);
    this.#http = new NacosHttp(this.#asker, this.#token);
    this.#watches.open();
    this.#use(transport === 'http' ? this.#poll() : this.#push());
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    return this.#watches.subscribe(service, sink);
  }

  async register(self: Registration): Promise<Registered> {
    if (this.#link === null || this.#closed) throw new OperationError('registry-closed', 'the registry does not run');
    this.#selves.add(self);
    try {
      await this.#link.register(self);
    } catch (error) {
      this.#selves.delete(self);
      throw error;
    }
    return {
      deregister: async () => {
        if (this.#selves.delete(self)) await this.#link?.deregister(self);
      },
      release: () => {
        if (this.#selves.delete(self)) this.#link?.release(self);
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#link?.close();
    this.#link = null;
    this.#watches.close();
    this.#selves.clear();
    await this.#asker?.close();
  }

  #use(link: NacosLink): void {
    this.#link?.close();
    this.#isSettled = false;
    this.#link = link;
    link.start();
  }

  #push(): NacosLink {
    const { address, grpcPort, namespace } = this.#options;
    const origins = address.map((text) => {
      const { protocol, hostname, port } = new URL(text);
      const own = Number(port) || (protocol === 'https:' ? 443 : 80);
      return `${protocol}//${hostname}:${grpcPort === 0 ? own + GRPC_OFFSET : grpcPort}`;
    });
    const grpc = { origins, namespace, tls: this.#tls, token: this.#token!, random: this.#context.random };
    const link: NacosPush = new NacosPush(
      this.#wanted,
      grpc,
      this.#eventsOf(() => link),
      this.#wasReached,
    );
    return link;
  }

  #poll(): NacosLink {
    const { interval: intervalMs } = this.#options;
    const { clock, random } = this.#context;
    const link: NacosPoll = new NacosPoll(
      this.#wanted,
      { http: this.#http!, intervalMs, clock, random },
      this.#eventsOf(() => link),
      this.#wasReached,
    );
    return link;
  }

  /** A link that was left behind tells nothing any more. */
  #eventsOf(own: () => NacosLink): NacosLinkEvents {
    return {
      reached: () => {
        if (this.#link === own()) this.#reached();
      },
      lost: (error) => {
        if (this.#link === own()) this.#lost(error);
      },
    };
  }

  #reached(): void {
    this.#wasReached = true;
    this.#isSettled = true;
    if (this.#failure === null) return;
    this.#failure = null;
    this.#context.log('info', 'registry is back', { registry: this.#context.name });
  }

  #lost(error: OperationError): void {
    if (this.#failure === null)
      this.#context.log('warn', 'registry lost; its endpoints stay in use', {
        registry: this.#context.name,
        error: error.message,
      });
    this.#failure = error;
    for (const watch of this.#watches) watch.fail(error);
    if (this.#options.transport === 'auto') this.#reconsider();
  }

  /** A server that was polled and went away may come back as one that pushes; where gRPC was never reached and HTTP is, polls do. */
  #reconsider(): void {
    if (this.#link instanceof NacosPoll) return this.#use(this.#push());
    if (this.#isSettled || this.#isTrying) return;
    this.#isTrying = true;
    void this.#speaksHttp().then((speaks) => {
      this.#isTrying = false;
      if (!speaks || this.#closed || this.#isSettled) return;
      const { log, name } = this.#context;
      log('info', 'Nacos is reached over HTTP and not over gRPC: its services are polled', { registry: name });
      this.#use(this.#poll());
    });
  }

  async #speaksHttp(): Promise<boolean> {
    try {
      const query = { serviceName: 'evenkeel' };
      const { status } = await this.#http!.ask({ method: 'GET', path: '/v1/ns/instance/list', query, timeoutMs: 3000 });
      return status < 500;
    } catch (error) {
      return (error as OperationError).code === 'registry-denied';
    }
  }
}

export const nacosRegistry: Kind<Registry, RegistryContext> = {
  kind: 'nacos',
  summary: 'services in Nacos, by pushes over gRPC or polls over HTTP',
  options,
  create: (settings: NacosOptions, context) => new NacosRegistry(settings, context),
};
