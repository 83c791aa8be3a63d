import { Backoff } from '../base/backoff.ts';
import { OperationError } from '../base/errors.ts';
import { jittered } from '../base/random.ts';
import type { Answered, HttpAsker } from '../stores/http-asker.ts';
import { type EurekaAnswer, type EurekaInstance, hashOf, readEurekaAnswer } from './eureka-instance.ts';
import type { RegistryContext, Suspicion } from './registry.ts';

/** Everything is fetched anew this often: renewals are told of in no delta, and nothing wrong stays for ever. */
const FULL_MS = 300_000;

/** A registry that is away is asked at least this often: it is one small request. */
const RETRY_MAX_MS = 5000;

/** What a good answer changed. */
export interface EurekaNews {
  /** Applications with a changed instance; null when all have to be looked at. */
  readonly changed: ReadonlySet<string> | null;
  readonly suspicion: Suspicion | null;
}

export interface EurekaPollEvents {
  /** After every good answer, also one without news. */
  told(news: EurekaNews): void;
  /** After every poll that failed. */
  failed(error: OperationError): void;
}

export interface EurekaPollOptions {
  readonly asker: HttpAsker;
  /** Between two polls, in ms; changed by up to a fifth, so that many clients do not ask together. */
  readonly intervalMs: number;
  readonly context: RegistryContext;
  readonly events: EurekaPollEvents;
}

/**
 * Keeps a copy of all that a Eureka server knows: fetched whole at first, then by its deltas of the last minutes, each proven by the hash over the whole; where that
 * does not fit, whole again. Made and ended by EurekaRegistry, one for all its services. No timer runs before `start` and after `close`.
 */
export class EurekaPoll {
  /** By application in upper case, then by instance. */
  readonly apps = new Map<string, Map<string, EurekaInstance>>();
  /** The server's clock at the last whole answer, in ms since 1970. */
  fetchedAt = 0;
  readonly #options: EurekaPollOptions;
  readonly #backoff: Backoff;
  #timer: NodeJS.Timeout | null = null;
  #asking: AbortController | null = null;
  #closed = false;
  #fullDueMs = Number.NEGATIVE_INFINITY;
  /** The server said that it tells no deltas. */
  #noDelta = false;
  /** Something failed since the last good answer. */
  #reconnecting = false;
  #address: string | null = null;

  constructor(options: EurekaPollOptions) {
    this.#options = options;
    this.#backoff = new Backoff(250, RETRY_MAX_MS, options.context.random);
  }

  start(): void {
    this.#schedule(0);
  }

  /** Asks for everything now. */
  refresh(): void {
    this.#fullDueMs = Number.NEGATIVE_INFINITY;
    if (this.#asking === null) this.#schedule(0);
  }

  close(): void {
    this.#closed = true;
    this.#asking?.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#closed ? null : setTimeout(this.#poll, ms);
  }

  readonly #poll = async (): Promise<void> => {
    this.#timer = null;
    const asking = new AbortController();
    this.#asking = asking;
    const { intervalMs, context, events } = this.#options;
    let waitMs = jittered(context.random, intervalMs, 0.2);
    try {
      const news = await this.#ask(asking.signal);
      if (this.#closed) return;
      this.#backoff.reset();
      events.told(news);
    } catch (error) {
      if (this.#closed) return;
      this.#reconnecting = true;
      this.#fullDueMs = Number.NEGATIVE_INFINITY;
      waitMs = this.#backoff.next();
      events.failed(error as OperationError);
    }
    this.#asking = null;
    this.#schedule(this.#reconnecting || this.#fullDueMs !== Number.NEGATIVE_INFINITY ? waitMs : 0);
  };

  async #ask(signal: AbortSignal): Promise<EurekaNews> {
    const { clock } = this.#options.context;
    if (this.#noDelta || clock.now() >= this.#fullDueMs) return this.#whole(signal, false);
    const answered = await this.#get('/apps/delta', signal);
    // Another server has another past: its deltas do not continue what we know.
    if (answered.address !== this.#address) return this.#whole(signal, false);
    if (answered.status !== 200) {
      this.#noDelta = answered.status === 403 || answered.status === 404;
      return this.#whole(signal, false);
    }
    const { instances, hash } = this.#read(answered);
    const changed = this.#apply(instances);
    if (hash === hashOf(this.#everything())) return { changed, suspicion: null };
    return this.#whole(signal, true);
  }

  /** `isMismatch`: after a delta that did not fit. */
  async #whole(signal: AbortSignal, isMismatch: boolean): Promise<EurekaNews> {
    const answered = await this.#get('/apps', signal);
    const { asker, context } = this.#options;
    if (answered.status !== 200) {
      // A server that still copies from its peers answers 403.
      asker.skip();
      throw refusal(answered);
    }
    const { instances, unreadable } = this.#read(answered);
    if (unreadable > 0)
      context.log('warn', 'records of the registry left out', { registry: context.name, leftOut: unreadable });
    const isOther = this.#reconnecting || (this.#address !== null && answered.address !== this.#address);
    const lacks = this.#replaceAll(instances);
    this.fetchedAt = Date.parse(String(answered.headers.date)) || Date.now();
    this.#address = answered.address;
    this.#reconnecting = false;
    this.#fullDueMs = context.clock.now() + jittered(context.random, FULL_MS, 0.2);
    // Gone without a word of it in the deltas: a server that began anew looks like that.
    const suspicion = isOther ? 'after-reconnect' : isMismatch && lacks ? 'index-reset' : null;
    return { changed: null, suspicion };
  }

  #get(path: string, signal: AbortSignal): Promise<Answered> {
    return this.#options.asker.ask({ method: 'GET', path, timeoutMs: 10_000, signal });
  }

  #read({ body, address }: Answered): EurekaAnswer {
    try {
      return readEurekaAnswer(JSON.parse(body.toString()));
    } catch (cause) {
      const text = `what answers at ${address} is not Eureka: ${(cause as Error).message}`;
      throw new OperationError('registry-error', text, { retryable: true, cause });
    }
  }

  /** Applications that are not as they were. The same change is told for minutes. */
  #apply(instances: readonly EurekaInstance[]): Set<string> {
    const changed = new Set<string>();
    for (const instance of instances) {
      const known = this.apps.get(instance.app)?.get(instance.id);
      if (instance.isDeleted ? known === undefined : known !== undefined && isSame(known, instance)) continue;
      changed.add(instance.app);
      if (instance.isDeleted) this.#drop(instance);
      else this.#put(instance);
    }
    return changed;
  }

  /** Whether something that was known is not there any more. */
  #replaceAll(instances: readonly EurekaInstance[]): boolean {
    const before = [...this.#everything()];
    this.apps.clear();
    for (const instance of instances) this.#put(instance);
    return before.some(({ app, id }) => this.apps.get(app)?.has(id) !== true);
  }

  #put(instance: EurekaInstance): void {
    let app = this.apps.get(instance.app);
    if (app === undefined) {
      app = new Map();
      this.apps.set(instance.app, app);
    }
    app.set(instance.id, instance);
  }

  #drop({ app, id }: EurekaInstance): void {
    const instances = this.apps.get(app);
    instances?.delete(id);
    if (instances?.size === 0) this.apps.delete(app);
  }

  *#everything(): Generator<EurekaInstance> {
    for (const app of this.apps.values()) yield* app.values();
  }
}

/** But for its lease, which every answer moves on. */
function isSame(one: EurekaInstance, other: EurekaInstance): boolean {
  return JSON.stringify({ ...one, leaseEnd: 0 }) === JSON.stringify({ ...other, leaseEnd: 0 });
}

function refusal({ status, body, address }: Answered): OperationError {
  const why = `${status}: ${body.toString('utf8', 0, 200).trim() || 'no reason given'}`;
  if (status === 401 || status === 403)
    return new OperationError('registry-denied', `Eureka at ${address} does not let us read (${why})`);
  return new OperationError('registry-error', `Eureka at ${address} cannot tell of its services (${why})`, {
    retryable: true,
  });
}
