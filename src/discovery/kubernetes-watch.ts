import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { jittered, type Random } from '../base/random.ts';
import { type KubernetesApi, KubernetesRefusal } from './kubernetes-api.ts';
import type { KubernetesSlices } from './kubernetes-slices.ts';
import { TokenBucket } from './token-bucket.ts';

/** Slices a page of a list. */
const PAGE = 500;
/** A server that is away, or refuses, is asked at least this often. */
const RETRY_MAX_MS = 10_000;
/** The server ends a watch after this time, so that clients spread over servers anew. */
const WATCH_S = 300;
/** Groups of the API, the newer first: v1 since 1.21, v1beta1 up to 1.24. */
const VERSIONS = ['v1', 'v1beta1'] as const;

export interface KubernetesWatchOptions {
  readonly namespace: string;
  readonly api: KubernetesApi;
  readonly slices: KubernetesSlices;
  readonly clock: Clock;
  readonly random: Random;
  /** What is in `slices` holds now; `services` are those that may have changed, null for all. */
  readonly onTold: (services: ReadonlySet<string> | null) => void;
  readonly onFailed: (error: OperationError) => void;
  /** Slices and endpoints that could not be read: of a list, or of changes told together. */
  readonly onUnreadable: (count: number) => void;
}

/** The server does not remember so far back: everything is listed anew. */
class Expired extends OperationError {
  constructor() {
    super('registry-expired', 'Kubernetes does not remember so far back', { retryable: true });
  }
}

interface WatchEvent {
  readonly type: string;
  readonly object: {
    readonly code?: number;
    readonly message?: string;
    readonly metadata?: { readonly resourceVersion?: string };
  };
}

/**
 * Keeps the EndpointSlices of one namespace up to date: lists them, then watches from the list's version on, as long as it is not closed. A watch
 * that ends goes on where it ended, so that a lost connection loses nothing; 410 Gone, as an answer or as an event, and every failure lists anew. A registry that
 * cannot be asked is `onFailed`, and what is known stays.
 */
export class KubernetesWatch {
  readonly #options: KubernetesWatchOptions;
  readonly #backoff: Backoff;
  /** Watches that end at once must not become a storm. */
  readonly #bucket: TokenBucket;
  readonly #closing = new AbortController();
  #request = new AbortController();
  #group: (typeof VERSIONS)[number] = 'v1';
  /** '' when everything is to be listed anew. */
  #version = '';
  #wake: (() => void) | null = null;

  constructor(options: KubernetesWatchOptions) {
    this.#options = options;
    this.#backoff = new Backoff(500, RETRY_MAX_MS, options.random);
    this.#bucket = new TokenBucket(5, 1000, options.clock);
  }

  start(): void {
    void this.#run();
  }

  /** Lists anew now. */
  refresh(): void {
    this.#version = '';
    this.#request.abort();
    this.#wake?.();
  }

  close(): void {
    this.#closing.abort();
    this.#request.abort();
    this.#wake?.();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await this.#pause(this.#bucket.take());
      if (this.#closing.signal.aborted) return;
      this.#request = new AbortController();
      const { signal } = this.#request;
      try {
        if (this.#version === '') await this.#list(signal);
        else await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) continue;
        if (isGone(error)) this.#version = '';
        else await this.#fail(error as OperationError);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const items: unknown[] = [];
    let next = '';
    let version = '';
    do {
      const page = await this.#page(next, signal);
      items.push(...page.items);
      version = page.metadata.resourceVersion;
      next = page.metadata.continue ?? '';
    } while (next !== '');
    const unreadable = this.#options.slices.replace(items);
    if (unreadable > 0) this.#options.onUnreadable(unreadable);
    this.#version = version;
    this.#backoff.reset();
    this.#options.onTold(null);
  }

  async #page(next: string, signal: AbortSignal): Promise<SliceList> {
    const query = `?limit=${PAGE}${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`;
    try {
      return sliceList(await this.#options.api.get(this.#path + query, signal));
    } catch (error) {
      const older = VERSIONS[VERSIONS.indexOf(this.#group) + 1];
      if (!(error instanceof KubernetesRefusal) || error.status !== 404 || older === undefined) throw error;
      this.#group = older;
      try {
        return await this.#page(next, signal);
      } catch (failure) {
        // After an upgrade of the server it is the newer one again.
        this.#group = VERSIONS[0];
        throw failure;
      }
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const seconds = Math.round(jittered(this.#options.random, WATCH_S, 0.2));
    const query = `?watch=1&allowWatchBookmarks=true&timeoutSeconds=${seconds}&resourceVersion=${encodeURIComponent(this.#version)}`;
    let isOpen = false;
    const watching = {
      opened: () => {
        isOpen = true;
      },
      // What the server still sends when everything is to be listed anew comes too late.
      lines: (lines: readonly string[]) => signal.aborted || this.#take(lines),
    };
    try {
      await this.#options.api.stream(this.#path + query, signal, watching);
      this.#backoff.reset();
    } catch (error) {
      // A connection that worked and was cut is asked for again at once, and nothing is missed: only what fails then is told.
      if (!isOpen || !isCut(error as OperationError)) throw error;
    }
  }

  #take(lines: readonly string[]): void {
    const touched = new Set<string>();
    let unreadable = 0;
    for (const line of lines) {
      const { type, object } = parseEvent(line);
      if (type === 'ERROR') {
        if (touched.size > 0) this.#options.onTold(touched);
        if (object.code === 410) throw new Expired();
        const message = `Kubernetes ends the watch (${object.code}: ${object.message ?? 'no reason given'})`;
        throw new KubernetesRefusal(object.code ?? 500, message, 0);
      }
      if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') {
        const taken = this.#options.slices.take(type, object);
        for (const service of taken.services) touched.add(service);
        unreadable += taken.unreadable;
      }
      this.#version = object.metadata?.resourceVersion || this.#version;
    }
    if (unreadable > 0) this.#options.onUnreadable(unreadable);
    this.#backoff.reset();
    this.#options.onTold(touched);
  }

  async #fail(error: OperationError): Promise<void> {
    // A watch that goes on says nothing until something happens, and never where the server was set back: after a failure only a list shows what holds.
    this.#version = '';
    this.#options.onFailed(error);
    const asked = error instanceof KubernetesRefusal ? error.retryAfterMs : 0;
    await this.#pause(Math.max(asked, this.#backoff.next()));
  }

  get #path(): string {
    return `/apis/discovery.k8s.io/${this.#group}/namespaces/${this.#options.namespace}/endpointslices`;
  }

  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#closing.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }
}

interface SliceList {
  readonly items: readonly unknown[];
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
}

function sliceList(body: unknown): SliceList {
  const list = body as SliceList | null;
  if (Array.isArray(list?.items) && typeof list.metadata?.resourceVersion === 'string') return list;
  throw new OperationError('registry-error', 'what answers is not Kubernetes: no list of EndpointSlices', {
    retryable: true,
  });
}

function parseEvent(line: string): WatchEvent {
  try {
    const event = JSON.parse(line) as WatchEvent;
    if (typeof event.type === 'string' && typeof event.object === 'object' && event.object !== null) return event;
  } catch {
    // As below.
  }
  throw new OperationError('registry-error', `an event of Kubernetes cannot be read: ${line.slice(0, 100)}`, {
    retryable: true,
  });
}

function isCut({ code }: OperationError): boolean {
  return code === 'registry-unreachable' || code === 'registry-timeout';
}

function isGone(error: unknown): boolean {
  return error instanceof Expired || (error instanceof KubernetesRefusal && error.status === 410);
}
