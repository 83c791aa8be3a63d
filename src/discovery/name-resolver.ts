import { promises as dns } from 'node:dns';
import { jittered, type Random } from '../base/random.ts';
import { isRefusedAddress } from './clean-set.ts';
import type { RegistryContext } from './registry.ts';

/** Answers of the system's resolver carry no TTL. */
const RESOLVE_EVERY_MS = 30_000;
/** While a name has never been resolved, it is asked more often. */
const RETRY_MS = 2000;
/** The system's resolver blocks a thread of the pool (of four) for each lookup, and nothing ends one; files and crypto need the others. */
const LOOKUPS = 2;
/** Besides, of those that are late: names whose servers are away must not hold up all the others. */
const LATE_LOOKUPS = 1;
const LATE_MS = 2000;

export type Lookup = (name: string) => Promise<readonly { readonly address: string }[]>;

// lookup, not resolve: /etc/hosts, localhost and search domains must work.
const systemLookup: Lookup = (name) => dns.lookup(name, { all: true, order: 'verbatim' });

interface Name {
  readonly name: string;
  /** Sorted; null before the first answer. */
  addresses: readonly string[] | null;
  hasAnswered: boolean;
  readonly listeners: Set<() => void>;
  timer: NodeJS.Timeout | null;
  failure: string;
  /** The last lookup was late. */
  isLate: boolean;
}

/** A lookup under way. */
interface Running {
  readonly timer: NodeJS.Timeout;
  isLate: boolean;
  /** It has one of the places for those that are late. */
  isAside: boolean;
}

export interface NameResolverOptions {
  readonly random: Random;
  readonly log: RegistryContext['log'];
  readonly lookup?: Lookup;
  readonly everyMs?: number;
  readonly lateMs?: number;
}

/**
 * Keeps names resolved, off the request path, for all pools together: each name is asked once, however many use it, every 30 s or so. The
 * last answer stays when a lookup fails or is empty. No timer runs for a name nobody watches. Few are asked at a time; who is late stands aside.
 */
export class NameResolver {
  readonly #lookup: Lookup;
  readonly #everyMs: number;
  readonly #lateMs: number;
  readonly #random: Random;
  readonly #log: RegistryContext['log'];
  readonly #names = new Map<string, Name>();
  readonly #queue: Name[] = [];
  /** Those that were late the last time. */
  readonly #lateQueue: Name[] = [];
  readonly #running = new Set<Running>();
  #closed = false;

  constructor({
    random,
    log,
    lookup = systemLookup,
    everyMs = RESOLVE_EVERY_MS,
    lateMs = LATE_MS,
  }: NameResolverOptions) {
    this.#lookup = lookup;
    this.#everyMs = everyMs;
    this.#lateMs = lateMs;
    this.#random = random;
    this.#log = log;
  }

  /** Keeps `name` resolved until the returned function is called. `onChange` is called when its addresses change, and once when the first lookup failed. */
  watch(name: string, onChange: () => void): () => void {
    let entry = this.#names.get(name);
    if (entry === undefined) {
      entry = {
        name,
        addresses: null,
        hasAnswered: false,
        listeners: new Set(),
        timer: null,
        failure: '',
        isLate: false,
      };
      this.#names.set(name, entry);
      this.#enqueue(entry);
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
    for (const { timer } of this.#running) clearTimeout(timer);
    this.#names.clear();
    this.#queue.length = 0;
    this.#lateQueue.length = 0;
  }

  #enqueue(entry: Name): void {
    (entry.isLate ? this.#lateQueue : this.#queue).push(entry);
    this.#next();
  }

  #next(): void {
    for (const one of this.#running) if (one.isLate && !one.isAside && this.#hasRoom(true)) one.isAside = true;
    this.#admit(this.#queue, false);
    this.#admit(this.#lateQueue, true);
  }

  #admit(queue: Name[], aside: boolean): void {
    while (this.#hasRoom(aside)) {
      const entry = queue.shift();
      if (entry === undefined) return;
      if (this.#names.get(entry.name) === entry) this.#start(entry, aside);
    }
  }

  #hasRoom(aside: boolean): boolean {
    let taken = 0;
    for (const { isAside } of this.#running) if (isAside === aside) taken++;
    return taken < (aside ? LATE_LOOKUPS : LOOKUPS);
  }

  #start(entry: Name, isAside: boolean): void {
    const timer = setTimeout(() => {
      one.isLate = true;
      this.#next();
    }, this.#lateMs);
    const one: Running = { timer, isLate: false, isAside };
    this.#running.add(one);
    void this.#resolve(entry).finally(() => {
      clearTimeout(timer);
      this.#running.delete(one);
      entry.isLate = one.isLate;
      this.#next();
    });
  }

  async #resolve(entry: Name): Promise<void> {
    const { name } = entry;
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
    this.#report(entry, failure);
    const isNews = failure === '' && addresses.join() !== (entry.addresses ?? []).join();
    if (failure === '') entry.addresses = addresses;
    const everyMs = entry.addresses === null ? RETRY_MS : this.#everyMs;
    entry.timer = setTimeout(() => this.#enqueue(entry), jittered(this.#random, everyMs, 0.2));
    if (isFirst || isNews) for (const listener of [...entry.listeners]) listener();
  }

  #report(entry: Name, failure: string): void {
    const { name } = entry;
    if (failure === entry.failure) return;
    if (failure === '') this.#log('info', 'name is resolved again', { name });
    else this.#log('warn', 'name cannot be resolved; its last addresses stay in use', { name, error: failure });
    entry.failure = failure;
  }
}
