import { promises as dns } from 'node:dns';
import { jittered, type Random } from '../base/random.ts';
import { isRefusedAddress } from './clean-set.ts';
import type { RegistryContext } from './registry.ts';

/** Answers of the system's resolver carry no TTL. */
const RESOLVE_EVERY_MS = 30_000;
/** While a name has never been resolved, it is asked more often. */
const RETRY_MS = 2000;
/** The system's resolver blocks a thread of the pool for each lookup; files and crypto need the others. */
const MAX_LOOKUPS = 2;

export type Lookup = (name: string) => Promise<readonly { readonly address: string }[]>;

// lookup, not resolve: /etc/hosts, localhost and search domains must work.
const systemLookup: Lookup = (name) => dns.lookup(name, { all: true, order: 'verbatim' });

interface Name {
  /** Sorted; null before the first answer. */
  addresses: readonly string[] | null;
  hasAnswered: boolean;
  readonly listeners: Set<() => void>;
  timer: NodeJS.Timeout | null;
  failure: string;
}

export interface NameResolverOptions {
  readonly random: Random;
  readonly log: RegistryContext['log'];
  readonly lookup?: Lookup;
  readonly everyMs?: number;
}

/**
 * Keeps names resolved, off the request path, for all pools together: each name is asked once, however many use it, every 30 s or so. The
 * last answer stays when a lookup fails or is empty. No timer runs for a name nobody watches.
 */
export class NameResolver {
  readonly #lookup: Lookup;
  readonly #everyMs: number;
  readonly #random: Random;
  readonly #log: RegistryContext['log'];
  readonly #names = new Map<string, Name>();
  readonly #queue: string[] = [];
  #running = 0;
  #closed = false;

  constructor({ random, log, lookup = systemLookup, everyMs = RESOLVE_EVERY_MS }: NameResolverOptions) {
    this.#lookup = lookup;
    this.#everyMs = everyMs;
    this.#random = random;
    this.#log = log;
  }

  /** Keeps `name` resolved until the returned function is called. `onChange` is called when its addresses change, and once when the first lookup failed. */
  watch(name: string, onChange: () => void): () => void {
    let entry = this.#names.get(name);
    if (entry === undefined) {
      entry = { addresses: null, hasAnswered: false, listeners: new Set(), timer: null, failure: '' };
      this.#names.set(name, entry);
      this.#enqueue(name);
    }
    const { listeners } = entry;
    const listener = () => onChange();
    listeners.add(listener);
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0 || this.#names.get(name)?.listeners !== listeners) return;
      const timer = this.#names.get(name)?.timer ?? null;
      if (timer !== null) clearTimeout(timer);
      this.#names.delete(name);
    };
  }

  /** The addresses a watched name has: null while the first lookup is under way, empty when it failed. */
  addressesOf(name: string): readonly string[] | null {
    const entry = this.#names.get(name);
    if (entry === undefined || !entry.hasAnswered) return null;
    return entry.addresses ?? [];
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#names.values()) if (timer !== null) clearTimeout(timer);
    this.#names.clear();
    this.#queue.length = 0;
  }

  #enqueue(name: string): void {
    this.#queue.push(name);
    this.#next();
  }

  #next(): void {
    while (this.#running < MAX_LOOKUPS) {
      const name = this.#queue.shift();
      if (name === undefined) return;
      if (!this.#names.has(name)) continue;
      this.#running++;
      void this.#resolve(name).finally(() => {
        this.#running--;
        this.#next();
      });
    }
  }

  async #resolve(name: string): Promise<void> {
    const entry = this.#names.get(name)!;
    let addresses: string[] = [];
    let failure = '';
    try {
      const found = (await this.#lookup(name)).map(({ address }) => address);
      addresses = [...new Set(found.filter((address) => !isRefusedAddress(address)))].sort();
      if (addresses.length === 0)
        failure = found.length === 0 ? 'it has no address' : `${found[0]} is an address no endpoint may have`;
    } catch (error) {
      failure = (error as NodeJS.ErrnoException).code ?? String(error);
    }
    if (this.#closed || this.#names.get(name) !== entry) return;
    const isFirst = !entry.hasAnswered;
    entry.hasAnswered = true;
    this.#report(name, entry, failure);
    const isNews = failure === '' && addresses.join() !== (entry.addresses ?? []).join();
    if (failure === '') entry.addresses = addresses;
    const everyMs = entry.addresses === null ? RETRY_MS : this.#everyMs;
    entry.timer = setTimeout(() => this.#enqueue(name), jittered(this.#random, everyMs, 0.2));
    if (isFirst || isNews) for (const listener of [...entry.listeners]) listener();
  }

  #report(name: string, entry: Name, failure: string): void {
    if (failure === entry.failure) return;
    if (failure === '') this.#log('info', 'name is resolved again', { name });
    else this.#log('warn', 'name cannot be resolved; its last addresses stay in use', { name, error: failure });
    entry.failure = failure;
  }
}
