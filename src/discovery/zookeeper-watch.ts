import { Backoff } from '../base/backoff.ts';
import { OperationError } from '../base/errors.ts';
import { jittered } from '../base/random.ts';
import type { NodeStat } from '../stores/zookeeper/messages.ts';
import type { ZookeeperSession } from '../stores/zookeeper/zookeeper-session.ts';
import { isDubboName, readDubboName } from './dubbo-url.ts';
import { type RecordFormat, readRecord } from './record-json.ts';
import type { RegistryContext, RegistryEndpoint, RegistrySink, ServiceRef } from './registry.ts';
import type { ServiceWatch } from './service-watches.ts';
import { TokenBucket } from './token-bucket.ts';
import { ToldService } from './told-service.ts';

export type ZookeeperFormat = Exclude<RecordFormat, 'grpc'> | 'dubbo' | 'auto';

/** The list of a service's nodes is read again this often although nothing was told: a watch that was lost costs no more than that. */
const CONFIRM_MS = 50_000;

/**
 * How long a change waits for others, in ms: when many sessions are over at once, their nodes go one after the other, and that must not look like
 * endpoints that left one by one.
 */
const COALESCE_MS = 50;

/** Nodes asked for at once: a service of 10 000 must not hold up the others, nor our own pings. */
const MAX_READS = 500;

/** What every watch of one registry shares. */
export interface ZookeeperShared {
  readonly session: ZookeeperSession;
  readonly context: RegistryContext;
  readonly format: ZookeeperFormat;
}

/** One node below the service's. */
interface Known {
  /** Null while unreadable. */
  endpoint: RegistryEndpoint | null;
  /** Whether the data has to be read. */
  isDirty: boolean;
  /** Null for a node whose data says nothing. */
  readonly watcher: (() => void) | null;
}

/**
 * Keeps the nodes of one service read and tells its sinks; made and ended by ZookeeperRegistry. Watches say what changed, and what changed is read again: the list of nodes, or the data of
 * one. After a connection was lost the list is read whatever the watches say, after a session was lost everything; the first set told then is suspicious.
 */
export class ZookeeperWatch implements ServiceWatch {
  readonly #path: string;
  readonly #shared: ZookeeperShared;
  readonly #told: ToldService;
  readonly #nodes = new Map<string, Known>();
  readonly #bucket: TokenBucket;
  readonly #backoff: Backoff;
  #isListDirty = true;
  #isReading = false;
  /** The connection was lost since the last set told. */
  #reconnecting = false;
  #closed = false;
  #timer: NodeJS.Timeout | null = null;
  #timerMs = Number.POSITIVE_INFINITY;

  constructor(service: ServiceRef, path: string, shared: ZookeeperShared) {
    this.#path = path;
    this.#shared = shared;
    this.#told = new ToldService(service, shared.context);
    this.#bucket = new TokenBucket(10, 200, shared.context.clock);
    this.#backoff = new Backoff(250, 30_000, shared.context.random);
  }

  start(delayMs: number): void {
    const { failure } = this.#shared.session;
    if (failure !== null) this.lost(failure);
    this.#wake(delayMs);
  }

  add(sink: RegistrySink): void {
    this.#told.add(sink);
  }

  remove(sink: RegistrySink): boolean {
    return this.#told.remove(sink);
  }

  refresh(): void {
    this.#isListDirty = true;
    this.#wake(0);
  }

  /** No server takes us: what is known stays. */
  lost(error: OperationError): void {
    this.#reconnecting = true;
    this.#told.fail(error);
  }

  /** There is a connection again. A new session has no watches: all is read anew. Begins `delayMs` from now. */
  connected(isNew: boolean, delayMs: number): void {
    this.#isListDirty = true;
    if (isNew) for (const known of this.#nodes.values()) known.isDirty = true;
    this.#backoff.reset();
    this.#wake(delayMs);
  }

  disconnected(): void {
    this.#reconnecting = true;
  }

  close(): void {
    this.#closed = true;
    this.#told.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const { session } = this.#shared;
    session.unwatch(this.#path, this.#onList);
    for (const name of [...this.#nodes.keys()]) this.#forget(name);
  }

  readonly #onList = (): void => {
    this.#isListDirty = true;
    this.#wake(COALESCE_MS + this.#bucket.take());
  };

  /** Reads in `delayMs`, or sooner when that was said before. */
  #wake(delayMs: number): void {
    if (this.#closed || this.#isReading) return;
    const atMs = this.#shared.context.clock.now() + delayMs;
    if (this.#timer !== null) {
      if (this.#timerMs <= atMs) return;
      clearTimeout(this.#timer);
    }
    this.#timerMs = atMs;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#run();
    }, delayMs);
  }

  async #run(): Promise<void> {
    // Without a connection the next one wakes us.
    if (!this.#shared.session.isConnected) return;
    this.#isReading = true;
    // Woken without a cause: it is time to see whether a watch was lost.
    if (!this.#hasDirty()) this.#isListDirty = true;
    let delayMs = jittered(this.#shared.context.random, CONFIRM_MS, 0.2);
    try {
      const wasReconnecting = this.#reconnecting;
      await this.#read();
      if (this.#closed) return;
      this.#reconnecting = false;
      this.#backoff.reset();
      this.#tell(wasReconnecting);
      if (this.#hasDirty()) delayMs = COALESCE_MS + this.#bucket.take();
    } catch (error) {
      if (this.#closed) return;
      delayMs = this.#backoff.next();
      this.#isListDirty = true;
      // A connection that went is reported when no other can be had.
      if (this.#shared.session.isConnected) this.#told.fail(asOperationError(error));
    } finally {
      this.#isReading = false;
    }
    this.#wake(delayMs);
  }

  async #read(): Promise<void> {
    if (this.#isListDirty) await this.#readList();
    const dirty = [...this.#nodes].filter(([, { isDirty }]) => isDirty);
    for (let at = 0; at < dirty.length; at += MAX_READS)
      await Promise.all(dirty.slice(at, at + MAX_READS).map(([name, known]) => this.#readNode(name, known)));
  }

  async #readList(): Promise<void> {
    const { session } = this.#shared;
    this.#isListDirty = false;
    const list = await session.children(this.#path, this.#onList);
    // The node of a service without endpoints may be gone: then its coming back is what to wait for.
    if (list === null && (await session.exists(this.#path, this.#onList)) !== null) return this.#readList();
    if (this.#closed) return;
    const names = new Set(list?.names);
    for (const name of [...this.#nodes.keys()]) if (!names.has(name)) this.#forget(name);
    for (const name of names) if (!this.#nodes.has(name)) this.#nodes.set(name, this.#meet(name));
  }

  #meet(name: string): Known {
    const { format } = this.#shared;
    if (format === 'dubbo' || (format === 'auto' && isDubboName(name)))
      return { endpoint: readDubboName(name), isDirty: false, watcher: null };
    const known: Known = {
      endpoint: null,
      isDirty: true,
      watcher: () => {
        known.isDirty = true;
        this.#wake(COALESCE_MS + this.#bucket.take());
      },
    };
    return known;
  }

  async #readNode(name: string, known: Known): Promise<void> {
    if (known.watcher === null) {
      known.isDirty = false;
      return;
    }
    known.isDirty = false;
    try {
      const node = await this.#shared.session.get(this.#pathOf(name), known.watcher);
      if (node === null) this.#nodes.delete(name);
      else known.endpoint = this.#endpointOf(name, node.data, node.stat);
    } catch (error) {
      known.isDirty = true;
      throw error;
    }
  }

  #endpointOf(name: string, data: Buffer, { czxid }: NodeStat): RegistryEndpoint | null {
    const { format } = this.#shared;
    const formats = format === 'auto' || format === 'dubbo' ? null : [format];
    return readRecord(data, { name, generation: czxid.toString() }, formats);
  }

  #forget(name: string): void {
    const known = this.#nodes.get(name);
    this.#nodes.delete(name);
    if (known?.watcher != null) this.#shared.session.unwatch(this.#pathOf(name), known.watcher);
  }

  #pathOf(name: string): string {
    return `${this.#path}/${name}`;
  }

  #hasDirty(): boolean {
    if (this.#isListDirty) return true;
    for (const { isDirty } of this.#nodes.values()) if (isDirty) return true;
    return false;
  }

  #tell(wasReconnecting: boolean): void {
    const endpoints: RegistryEndpoint[] = [];
    let unreadable = 0;
    for (const { endpoint } of this.#nodes.values()) {
      if (endpoint === null) unreadable++;
      else endpoints.push(endpoint);
    }
    this.#told.tell(endpoints, unreadable, wasReconnecting ? 'after-reconnect' : null);
  }
}

function asOperationError(error: unknown): OperationError {
  if (error instanceof OperationError) return error;
  return new OperationError('registry-error', `ZooKeeper's answer cannot be read: ${error}`, {
    retryable: true,
    cause: error,
  });
}
