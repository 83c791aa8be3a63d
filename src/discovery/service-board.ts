import { OperationError } from '../base/errors.ts';
import { cleanSet, fingerprint } from './clean-set.ts';
import type {
  RegistryContext,
  RegistryEndpoint,
  RegistrySet,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';

/** What a registry knows of a service at present. May throw an OperationError: of this service nothing can be told. */
export type Look = (service: ServiceRef) => readonly RegistryEndpoint[];

interface Entry {
  readonly service: ServiceRef;
  readonly sinks: Set<RegistrySink>;
  /** Told last: the very list as long as nothing changed; null before the first answer. */
  set: RegistrySet | null;
  fingerprint: string;
  failure: OperationError | null;
}

const every = () => true;

/**
 * The subscriptions of a registry that reads many services with one question (a watched namespace, a file, a polled document): tells each sink what
 * concerns it, as whole sets, the very same list when nothing changed, each failure once. Pools of one service share an entry. Timers and connections are
 * the registry's own.
 */
export class ServiceBoard {
  readonly #look: Look;
  readonly #context: RegistryContext;
  readonly #entries = new Map<string, Entry>();
  #closed = false;

  constructor(look: Look, context: RegistryContext) {
    this.#look = look;
    this.#context = context;
  }

  /** Services somebody wants, each once or more often. */
  get services(): ServiceRef[] {
    return [...this.#entries.values()].map(({ service }) => service);
  }

  /** Adds a sink, which is told at once what its service's other sinks know. `onLast` is called when nobody wants the service any more. */
  subscribe(service: ServiceRef, sink: RegistrySink, refresh: () => void, onLast?: () => void): Subscription {
    if (this.#closed) return { close() {} };
    const key = JSON.stringify([service.name, service.tags, service.datacenter ?? '']);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { service, sinks: new Set(), set: null, fingerprint: '', failure: null };
      this.#entries.set(key, entry);
    }
    const { sinks } = entry;
    sinks.add(sink);
    if (entry.set !== null) sink.replace(entry.set);
    if (entry.failure !== null) sink.unavailable(entry.failure);
    return {
      refresh,
      close: () => {
        if (!sinks.delete(sink) || sinks.size > 0) return;
        if (this.#entries.get(key)?.sinks === sinks) this.#entries.delete(key);
        onLast?.();
      },
    };
  }

  /** The registry answered for these services: reads those that may have changed, and says of all that they hold. */
  tell(concerns: (service: ServiceRef) => boolean = every, mayDiffer: (service: ServiceRef) => boolean = every): void {
    for (const entry of [...this.#entries.values()]) {
      if (!concerns(entry.service)) continue;
      const wasAway = entry.failure !== null && entry.set !== null;
      const isSame = entry.set !== null && entry.failure === null && !mayDiffer(entry.service);
      const endpoints = isSame ? entry.set!.endpoints : this.#read(entry);
      if (endpoints === null) continue;
      entry.failure = null;
      entry.set = { endpoints, suspicion: wasAway ? 'after-reconnect' : null };
      for (const sink of [...entry.sinks]) sink.replace(entry.set);
      // To those who come later it is no news.
      if (wasAway) entry.set = { endpoints, suspicion: null };
    }
  }

  /** These services cannot be asked for at present. */
  fail(error: OperationError, concerns: (service: ServiceRef) => boolean = every): void {
    for (const entry of [...this.#entries.values()]) if (concerns(entry.service)) this.#failEntry(entry, error);
  }

  close(): void {
    this.#closed = true;
    this.#entries.clear();
  }

  #failEntry(entry: Entry, error: OperationError): void {
    const isNews = entry.failure?.code !== error.code || entry.failure.message !== error.message;
    entry.failure = error;
    if (isNews) for (const sink of [...entry.sinks]) sink.unavailable(error);
  }

  /** The very list of before where nothing changed; null when the service cannot be read. */
  #read(entry: Entry): readonly RegistryEndpoint[] | null {
    const { service } = entry;
    let told: readonly RegistryEndpoint[];
    try {
      told = this.#look(service);
    } catch (error) {
      if (!(error instanceof OperationError)) throw error;
      this.#failEntry(entry, error);
      return null;
    }
    const tagged =
      service.tags.length === 0 ? told : told.filter(({ tags }) => service.tags.every((tag) => tags.includes(tag)));
    const { endpoints, dropped, firstFault } = cleanSet(tagged);
    if (dropped > 0)
      this.#context.log('warn', 'records of the registry left out', {
        registry: this.#context.name,
        service: service.name,
        leftOut: dropped,
        firstFault,
      });
    const print = fingerprint(endpoints);
    if (entry.set !== null && print === entry.fingerprint) return entry.set.endpoints;
    entry.fingerprint = print;
    return endpoints;
  }
}
