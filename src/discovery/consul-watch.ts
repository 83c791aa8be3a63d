import { hash } from 'node:crypto';
import { Backoff } from '../base/backoff.ts';
import { OperationError } from '../base/errors.ts';
import { jittered } from '../base/random.ts';
import { cleanSet, fingerprint } from './clean-set.ts';
import { readConsulAnswer } from './consul-answer.ts';
import type { ConsulResponse, ConsulTransport } from './consul-transport.ts';
import type { RegistryContext, RegistryEndpoint, RegistrySink, ServiceRef, Suspicion } from './registry.ts';
import type { RegistryContact } from './registry-contact.ts';
import { TokenBucket } from './token-bucket.ts';

/** A service that has no socket of its own to wait on is asked this often. */
const POLL_MS = 10_000;

/** A follower that has not heard of the leader for longer is not believed when it takes endpoints away. */
const MAX_CONTACT_MS = 30_000;

/** What every watch of one registry shares. */
export interface WatchShared {
  readonly transport: ConsulTransport;
  readonly contact: RegistryContact;
  readonly context: RegistryContext;
  /** How long a query may wait for a change, in ms. */
  readonly waitMs: number;
  readonly stale: boolean;
  /** The registry's own datacenter; '' for the agent's. */
  readonly datacenter: string;
  /** The first answer is suspicious. */
  readonly isFresh: boolean;
}

/**
 * Keeps asking Consul for one service and tells its sinks. Made and ended by ConsulRegistry; the pools of one service share it. Every good
 * answer is told, also an unchanged one (as the very same list, for "still true"); an error never takes endpoints away.
 */
export class ConsulWatch {
  readonly service: ServiceRef;
  readonly lane: number;
  readonly sinks = new Set<RegistrySink>();
  readonly #shared: WatchShared;
  readonly #path: string;
  readonly #bucket: TokenBucket;
  readonly #backoff: Backoff;
  #isPolling = false;
  #closed = false;
  /** The index to ask with; 0 is answered at once. */
  #index = 0;
  /** The index of the last good answer. */
  #told = 0;
  /** The connection or the registry failed since the last good answer. */
  #reconnecting: boolean;
  #current: readonly RegistryEndpoint[] | null = null;
  #suspicion: Suspicion | null = null;
  #bodyHash = '';
  #fingerprint = '';
  #failure: OperationError | null = null;
  /** How long to wait before the next request, in ms. */
  #delayMs = 0;
  #wake: (() => void) | null = null;
  #request: AbortController | null = null;

  constructor(service: ServiceRef, lane: number, shared: WatchShared) {
    this.service = service;
    this.lane = lane;
    this.#shared = shared;
    this.#reconnecting = shared.isFresh;
    const query = new URLSearchParams();
    const datacenter = service.datacenter || shared.datacenter;
    if (datacenter !== '') query.set('dc', datacenter);
    for (const tag of service.tags) query.append('tag', tag);
    if (shared.stale) query.set('stale', '');
    this.#path = `/v1/health/service/${encodeURIComponent(service.name)}?${query}`;
    // Ten changes at once, then five a second: single deregistrations in a row are seen one by one, and a storm of changes costs little.
    this.#bucket = new TokenBucket(10, 200, shared.context.clock);
    this.#backoff = new Backoff(250, 30_000, shared.context.random);
  }

  /** Begins to ask, `delayMs` from now. Called once. */
  start(delayMs: number): void {
    this.#delayMs = delayMs;
    void this.#run();
  }

  /** A further pool of the same service: it is told at once what is known. */
  add(sink: RegistrySink): void {
    this.sinks.add(sink);
    if (this.#current !== null) sink.replace({ endpoints: this.#current, suspicion: this.#suspicion });
    if (this.#failure !== null) sink.unavailable(this.#failure);
  }

  /** Without a socket to wait on, asks now and then instead. */
  set isPolling(isPolling: boolean) {
    if (this.#isPolling === isPolling) return;
    this.#isPolling = isPolling;
    this.#index = 0;
    this.#interrupt();
  }

  /** Asks at once instead of waiting for a change. */
  refresh(): void {
    this.#index = 0;
    this.#interrupt();
  }

  /** The registry is away: what is known stays. */
  lost(error: OperationError): void {
    this.#fail(error);
  }

  /** The registry is back: asks anew, `delayMs` from now. */
  cameBack(delayMs: number): void {
    this.#reconnecting = true;
    this.#index = 0;
    this.#delayMs = delayMs;
    this.#backoff.reset();
    this.#interrupt();
  }

  close(): void {
    this.#closed = true;
    this.sinks.clear();
    this.#interrupt();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const delayMs = this.#shared.contact.isUp ? this.#delayMs : POLL_MS;
      this.#delayMs = 0;
      await this.#pause(delayMs);
      // An interruption may have brought a delay of its own, and while the registry is away one asker is enough.
      if (this.#closed || this.#delayMs > 0 || !this.#shared.contact.isUp) continue;
      await this.#pause(this.#bucket.take());
      if (!this.#closed) await this.#ask();
    }
  }

  async #ask(): Promise<void> {
    const { transport, waitMs } = this.#shared;
    const index = this.#isPolling ? 0 : this.#index;
    const request = new AbortController();
    this.#request = request;
    try {
      const response = await transport.request({
        method: 'GET',
        path: index === 0 ? this.#path : `${this.#path}&index=${index}&wait=${waitMs}ms`,
        lane: this.lane,
        // The server adds up to a sixteenth so that not all polls end together.
        timeoutMs: index === 0 ? 10_000 : (waitMs * 17) / 16 + 5000,
        signal: request.signal,
      });
      this.#request = null;
      if (!request.signal.aborted) this.#take(response, index);
    } catch (error) {
      this.#request = null;
      if (request.signal.aborted || this.#closed) return;
      this.#fail(error as OperationError);
      this.#delayMs = this.#backoff.next();
      this.#shared.contact.doubt();
    }
  }

  #take(response: ConsulResponse, asked: number): void {
    const wasReconnecting = this.#reconnecting;
    this.#shared.contact.heard();
    const told = Number(response.headers['x-consul-index'] ?? Number.NaN);
    const failure = this.#failureIn(response, told) ?? this.#read(response.body);
    if (failure !== null) {
      this.#fail(failure);
      this.#delayMs = this.#backoff.next();
      return;
    }
    const wentBack = told < this.#told;
    this.#suspicion = wasReconnecting
      ? 'after-reconnect'
      : wentBack
        ? 'index-reset'
        : suspicionIn(response, this.#current!);
    // A lower index means that the server lost its past: with it, or any, the next request would wait in vain. 0 would not wait at all.
    this.#index = wentBack ? 0 : Math.max(1, told);
    const isNews = told !== this.#told;
    this.#told = told;
    this.#reconnecting = false;
    this.#failure = null;
    this.#backoff.reset();
    this.#delayMs = this.#isPolling ? jittered(this.#shared.context.random, POLL_MS, 0.2) : 0;
    // Something on the way answers polls at once instead of letting them wait.
    if (!this.#isPolling && asked !== 0 && !isNews && this.#bucket.isLow) this.#delayMs = 1000;
    this.#tell();
  }

  #tell(): void {
    const set = { endpoints: this.#current!, suspicion: this.#suspicion };
    for (const sink of [...this.sinks]) sink.replace(set);
  }

  #failureIn({ status, body }: ConsulResponse, told: number): OperationError | null {
    const { name } = this.service;
    if (status !== 200) {
      const why = `${status}: ${body.toString('utf8', 0, 200).trim() || 'no reason given'}`;
      if (status === 401 || status === 403)
        return new OperationError(
          'registry-denied',
          `Consul does not let us read the service ${name} (${why}); the registry's token needs service:read and node:read`,
        );
      const retryable = status >= 500 || status === 429;
      return new OperationError('registry-error', `Consul cannot tell of the service ${name} (${why})`, { retryable });
    }
    if (Number.isInteger(told) && told >= 0) return null;
    return new OperationError(
      'registry-error',
      `what answers for the service ${name} is not Consul: no X-Consul-Index`,
      {
        retryable: true,
      },
    );
  }

  /** Reads a body into `#current`; keeps the very list where nothing changed. */
  #read(body: Buffer): OperationError | null {
    const bodyHash = hash('sha1', body, 'base64');
    if (this.#current !== null && bodyHash === this.#bodyHash) return null;
    let answer: ReturnType<typeof readConsulAnswer>;
    try {
      answer = readConsulAnswer(JSON.parse(body.toString()));
    } catch (error) {
      return new OperationError('registry-error', `Consul's answer for ${this.service.name} cannot be read: ${error}`, {
        retryable: true,
        cause: error,
      });
    }
    const { endpoints, dropped, firstFault } = cleanSet(answer.endpoints.filter(this.#hasTags));
    const leftOut = dropped + answer.unreadable;
    if (leftOut > 0)
      this.#shared.context.log('warn', 'records of the registry left out', {
        registry: this.#shared.context.name,
        service: this.service.name,
        leftOut,
        firstFault: firstFault ?? 'a record is no service',
      });
    this.#bodyHash = bodyHash;
    const print = fingerprint(endpoints);
    if (this.#current !== null && print === this.#fingerprint) return null;
    this.#fingerprint = print;
    this.#current = endpoints;
    return null;
  }

  /** Servers before 1.3 look at the first tag alone; Consul compares without case. */
  readonly #hasTags = (endpoint: RegistryEndpoint): boolean => {
    if (this.service.tags.length === 0) return true;
    const tags = new Set(endpoint.tags.map((tag) => tag.toLowerCase()));
    return this.service.tags.every((tag) => tags.has(tag.toLowerCase()));
  };

  #fail(error: OperationError): void {
    this.#index = 0;
    this.#reconnecting = true;
    const isNews = this.#failure?.code !== error.code || this.#failure.message !== error.message;
    this.#failure = error;
    if (isNews) for (const sink of [...this.sinks]) sink.unavailable(error);
  }

  #interrupt(): void {
    this.#request?.abort();
    this.#wake?.();
  }

  #pause(ms: number): Promise<void> | void {
    if (ms <= 0) return;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }
}

function suspicionIn({ headers }: ConsulResponse, endpoints: readonly RegistryEndpoint[]): Suspicion | null {
  if (headers['x-consul-knownleader'] === 'false') return 'stale-server';
  if (Number(headers['x-consul-lastcontact'] ?? 0) > MAX_CONTACT_MS) return 'stale-server';
  // A token that lost its rights is told of no endpoints, with 200; newer servers say so.
  if (endpoints.length === 0 && headers['x-consul-results-filtered-by-acls'] === 'true') return 'emptied';
  return null;
}
