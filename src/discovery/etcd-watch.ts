import { Backoff } from '../base/backoff.ts';
import type { OperationError } from '../base/errors.ts';
import { jittered } from '../base/random.ts';
import type { EtcdClient, EtcdRecord } from '../stores/etcd/etcd-client.ts';
import type { EtcdChange } from '../stores/etcd/etcd-stream.ts';
import { type RecordFormat, readRecord } from './record-json.ts';
import type { RegistryContext, RegistryEndpoint, RegistrySink, ServiceRef, Suspicion } from './registry.ts';
import type { RegistryContact } from './registry-contact.ts';
import type { ServiceWatch } from './service-watches.ts';
import { TokenBucket } from './token-bucket.ts';
import { ToldService } from './told-service.ts';

/** A service is read again this often although nothing was told. */
const CONFIRM_MS = 50_000;

/** How long a change waits for others, in ms: leases that are over at once are revoked one by one, and that must not look like endpoints that left so. */
const COALESCE_MS = 50;

/** What every watch of one registry shares. */
export interface EtcdShared {
  readonly client: EtcdClient;
  readonly contact: RegistryContact;
  readonly context: RegistryContext;
  /** Null for all. */
  readonly formats: readonly RecordFormat[] | null;
  /** Whether the watch stands. What is read before could miss a change. */
  readonly isFollowing: () => boolean;
}

/** One key below the service's; `endpoint` is null for what is none. */
interface Known {
  readonly endpoint: RegistryEndpoint | null;
  readonly modRevision: number;
}

/**
 * Keeps the keys of one service and tells its sinks; made and ended by EtcdRegistry, which hands in the changes of the one watch that covers all services. Reads
 * all keys at the start, after every loss of that watch, and now and then; between that it lives by the changes.
 */
export class EtcdWatch implements ServiceWatch {
  readonly prefix: string;
  readonly #shared: EtcdShared;
  readonly #told: ToldService;
  readonly #known = new Map<string, Known>();
  readonly #bucket: TokenBucket;
  readonly #backoff: Backoff;
  /** The changes that came while a range is read: the answer may be from before them. */
  #meanwhile: EtcdChange[] | null = null;
  #suspicion: Suspicion | null = null;
  #hasRead = false;
  /** A read was asked for while one was under way. */
  #isStale = false;
  #closed = false;
  #readTimer: NodeJS.Timeout | null = null;
  #readAtMs = 0;
  #tellTimer: NodeJS.Timeout | null = null;

  constructor(service: ServiceRef, prefix: string, shared: EtcdShared) {
    this.prefix = prefix;
    this.#shared = shared;
    this.#told = new ToldService(service, shared.context);
    this.#bucket = new TokenBucket(10, 200, shared.context.clock);
    this.#backoff = new Backoff(250, 30_000, shared.context.random);
  }

  start(delayMs: number): void {
    const { failure } = this.#shared.contact;
    if (failure !== null) this.lost(failure);
    else if (this.#shared.isFollowing()) this.#schedule(delayMs);
  }

  add(sink: RegistrySink): void {
    this.#told.add(sink);
  }

  remove(sink: RegistrySink): boolean {
    return this.#told.remove(sink);
  }

  refresh(): void {
    this.#schedule(0);
  }

  /** etcd cannot be asked: what is known stays. */
  lost(error: OperationError): void {
    this.#suspicion ??= 'after-reconnect';
    this.#told.fail(error);
  }

  /** The watch stands anew: what happened before it is read, `delayMs` from now. */
  connected(suspicion: Suspicion | null, delayMs: number): void {
    this.#suspicion = suspicion ?? this.#suspicion;
    this.#backoff.reset();
    this.#schedule(delayMs);
  }

  changed(change: EtcdChange): void {
    this.#meanwhile?.push(change);
    // Before the first read nothing can be told; that read tells it.
    if (!this.#hasRead || !this.#apply(change)) return;
    this.#tellTimer ??= setTimeout(() => {
      this.#tellTimer = null;
      if (this.#meanwhile === null) this.#tell();
    }, COALESCE_MS + this.#bucket.take());
  }

  close(): void {
    this.#closed = true;
    this.#told.close();
    if (this.#readTimer !== null) clearTimeout(this.#readTimer);
    if (this.#tellTimer !== null) clearTimeout(this.#tellTimer);
    this.#readTimer = null;
    this.#tellTimer = null;
  }

  /** Reads in `delayMs`, or sooner when that was said before. */
  #schedule(delayMs: number): void {
    if (this.#closed) return;
    if (this.#meanwhile !== null) {
      this.#isStale = true;
      return;
    }
    const atMs = this.#shared.context.clock.now() + delayMs;
    if (this.#readTimer !== null) {
      if (this.#readAtMs <= atMs) return;
      clearTimeout(this.#readTimer);
    }
    this.#readAtMs = atMs;
    this.#readTimer = setTimeout(() => {
      this.#readTimer = null;
      void this.#read();
    }, delayMs);
  }

  async #read(): Promise<void> {
    // While etcd is away one asker is enough; when it is back we are told.
    if (!this.#shared.contact.isUp) return;
    this.#isStale = false;
    this.#meanwhile = [];
    let delayMs = jittered(this.#shared.context.random, CONFIRM_MS, 0.2);
    try {
      const suspicion = this.#suspicion;
      const { records, revision } = await this.#shared.client.range(this.prefix, { isPrefix: true });
      if (this.#closed) return;
      this.#shared.contact.heard();
      this.#take(records, revision);
      if (this.#suspicion === suspicion) this.#suspicion = null;
      this.#backoff.reset();
      this.#tell(suspicion);
    } catch (error) {
      if (this.#closed) return;
      delayMs = this.#backoff.next();
      this.lost(error as OperationError);
      this.#shared.contact.doubt();
    }
    this.#meanwhile = null;
    this.#schedule(this.#isStale ? Math.min(delayMs, this.#bucket.take()) : delayMs);
  }

  #take(records: readonly EtcdRecord[], revision: number): void {
    this.#hasRead = true;
    this.#known.clear();
    for (const record of records) this.#apply({ record, isDelete: false });
    for (const change of this.#meanwhile!) if (change.record.modRevision > revision) this.#apply(change);
  }

  /** Whether it was news. */
  #apply({ record, isDelete }: EtcdChange): boolean {
    const known = this.#known.get(record.key);
    if (isDelete) return this.#known.delete(record.key);
    if (known !== undefined && known.modRevision >= record.modRevision) return false;
    const name = record.key.slice(this.prefix.length);
    const origin = { name, generation: String(record.createRevision) };
    const endpoint = readRecord(record.value, origin, this.#shared.formats);
    this.#known.set(record.key, { endpoint, modRevision: record.modRevision });
    return true;
  }

  #tell(suspicion: Suspicion | null = null): void {
    const endpoints: RegistryEndpoint[] = [];
    let unreadable = 0;
    for (const { endpoint } of this.#known.values()) {
      if (endpoint === null) unreadable++;
      else endpoints.push(endpoint);
    }
    this.#told.tell(endpoints, unreadable, suspicion);
  }
}
