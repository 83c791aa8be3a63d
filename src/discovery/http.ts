import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { duration, size } from '../base/literals.ts';
import { type ClientTls, clientTls, readClientTls } from '../stores/client-tls.ts';
import { HttpPoll } from './http-poll.ts';
import type {
  Registry,
  RegistryContext,
  RegistryEndpoint,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { ServiceBoard } from './service-board.ts';
import { readServiceAnswer, type ServiceDocument } from './service-document.ts';

/** Where the service's name goes. */
const SERVICE = '{service}';

const options = z.object({
  url: z
    .string()
    .refine((text) => /^https?:$/.test(URL.parse(text.replaceAll(SERVICE, 'x'))?.protocol ?? ''), {
      error:
        'write it as https://inventory.internal/services.json; {service} in it is replaced by the name of the service',
    })
    .describe(
      'what is asked: for all services, or for each with {service} in it; answers as a file, or a list for {service}',
    ),
  interval: duration()
    .refine((ms) => ms >= 100, { error: 'at least 100ms' })
    .describe('between two questions')
    .prefault('10s'),
  timeout: duration()
    .refine((ms) => ms >= 1, { error: 'longer than 0' })
    .describe('to the whole answer')
    .prefault('5s'),
  token: z.string().describe('sent as `authorization: Bearer`').prefault(''),
  authorization: z.string().describe('the whole authorization header, in place of token').prefault(''),
  maxSize: size().describe('a longer answer is refused').prefault('16MiB'),
  tls: clientTls.describe('for an https address').prefault({}),
});

export type HttpOptions = z.infer<typeof options>;

/** What one address answered last. */
interface Source {
  readonly poll: HttpPoll;
  document: ServiceDocument | null;
  failure: OperationError | null;
}

/** Services by polling: one address that tells of all, or one for each service. An answer that is no 200 (or 304) takes nothing away. */
export class HttpRegistry implements Registry {
  readonly #options: HttpOptions;
  readonly #context: RegistryContext;
  readonly #board: ServiceBoard;
  readonly #sources = new Map<string, Source>();
  #tls: ClientTls | null = null;
  #closed = false;

  constructor(options: HttpOptions, context: RegistryContext) {
    this.#options = options;
    this.#context = context;
    this.#board = new ServiceBoard((service) => this.#look(service), context);
  }

  /** Rejects only when a TLS file cannot be read. */
  async start(): Promise<void> {
    const tls = await readClientTls(this.#options.tls);
    if (this.#closed) return;
    this.#tls = tls;
    for (const service of this.#board.services) this.#want(service);
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    const refresh = () => this.#sources.get(this.#urlOf(service))?.poll.refresh();
    const subscription = this.#board.subscribe(service, sink, refresh, () => this.#drop());
    if (this.#tls !== null) this.#want(service);
    return subscription;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#board.close();
    await Promise.all([...this.#sources.values()].map(({ poll }) => poll.close()));
    this.#sources.clear();
  }

  #urlOf({ name }: ServiceRef): string {
    return this.#options.url.replaceAll(SERVICE, encodeURIComponent(name));
  }

  #want(service: ServiceRef): void {
    if (this.#closed) return;
    const url = this.#urlOf(service);
    const known = this.#sources.get(url);
    const isThis = (other: ServiceRef) => other === service;
    if (known === undefined) this.#ask(url);
    else if (known.failure !== null) this.#board.fail(known.failure, isThis);
    else if (known.document !== null) this.#board.tell(isThis);
  }

  #ask(url: string): void {
    const { interval: intervalMs, timeout: timeoutMs, token, authorization, maxSize } = this.#options;
    const { random, log, name } = this.#context;
    const isOurs = (service: ServiceRef) => this.#urlOf(service) === url;
    const poll = new HttpPoll({
      url,
      intervalMs,
      timeoutMs,
      maxSize,
      authorization: authorization || (token === '' ? '' : `Bearer ${token}`),
      tls: this.#tls!,
      random,
      onText: (text) => {
        const document = readServiceAnswer(text, url);
        const { unreadable: leftOut, firstFault } = document;
        if (leftOut > 0) log('warn', 'records of the registry left out', { registry: name, url, leftOut, firstFault });
        source.document = document;
        source.failure = null;
        this.#board.tell(isOurs);
      },
      onSame: () => {
        source.failure = null;
        this.#board.tell(isOurs, () => false);
      },
      onFailed: (error) => {
        source.failure = error;
        this.#board.fail(error, isOurs);
      },
    });
    const source: Source = { poll, document: null, failure: null };
    this.#sources.set(url, source);
    poll.start();
  }

  #drop(): void {
    const wanted = new Set(this.#board.services.map((service) => this.#urlOf(service)));
    for (const [url, { poll }] of this.#sources) {
      if (wanted.has(url)) continue;
      void poll.close();
      this.#sources.delete(url);
    }
  }

  #look(service: ServiceRef): readonly RegistryEndpoint[] {
    const { services, list } = this.#sources.get(this.#urlOf(service))!.document!;
    if (list === null) return services.get(service.name) ?? [];
    if (this.#options.url.includes(SERVICE)) return list;
    const message = `${this.#options.url} answers a list without saying of which service; write {service} in the url, or answer { services }`;
    throw new OperationError('registry-service', message);
  }
}

export const httpRegistry: Kind<Registry, RegistryContext> = {
  kind: 'http',
  summary: 'services told by an HTTP server of your own, polled',
  options,
  create: (settings: HttpOptions, context) => new HttpRegistry(settings, context),
};
