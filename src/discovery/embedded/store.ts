import { Worker } from 'node:worker_threads';
import type { Journal } from './journal.ts';
import type { KeyValue } from './key-values.ts';
import type { CheckRecord, NodeRecord, ServiceRecord } from './records.ts';
import type { OpenedMessage, StoredRow, WriterMessage } from './store-writer.ts';
import { checkRow, instanceKey, keyValueRow, nodeRow, serviceRow } from './stored-records.ts';

/** Indexes are reserved in blocks: what is on disk is always above what was given out. */
export const INDEX_BLOCK = 10_000;
/** A new block is reserved when no more than this is left of the last. */
const INDEX_RESERVE = 5000;
/** Status changes wait so long for others: losing them in a crash does no harm, the TTL decides. */
const STATUS_DELAY_MS = 100;

/** What tests make smaller. */
export interface StoreLimits {
  /** Pages of the database file; null = as many as the disk holds. */
  readonly maxPages: number | null;
  /** After a failed write. */
  readonly retryMs: number;
  /** A write that takes longer is not waited for any more. */
  readonly patienceMs: number;
}

const NO_LIMITS: StoreLimits = { maxPages: null, retryMs: 5000, patienceMs: 2000 };

type Log = (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;

/** What a store held when it was opened. */
export interface StoreContent {
  readonly rows: readonly StoredRow[];
  /** Every index ever given out lies at or below it; 0 when that is not known. */
  readonly highWater: number;
}

/**
 * Keeps the registry's records in a directory, through a thread that owns the file. Changes of one turn and of the time a write takes go in
 * one transaction. When the disk fails, the registry goes on from memory, says so once, and tries again.
 */
export class Store implements Journal {
  readonly #worker: Worker;
  readonly #log: Log;
  readonly #limits: StoreLimits;
  /** By kind and key; made into rows when they are written, so that a record that changes twice is written once. */
  #dirty = new Map<string, () => StoredRow>();
  #urgent = false;
  #writing = false;
  #failing = false;
  #reserved = 0;
  #timer: NodeJS.Timeout | null = null;
  #waiters: (() => void)[] = [];
  #inFlight: Map<string, () => StoredRow> = new Map();
  #inFlightWaiters: (() => void)[] = [];
  #dead = false;
  #slow = false;
  /** Set by `close` alone. */
  #onWritten = () => {};
  #patience: NodeJS.Timeout | undefined;

  private constructor(worker: Worker, log: Log, limits: StoreLimits) {
    this.#limits = limits;
    this.#worker = worker;
    this.#log = log;
    worker.on('message', (message: WriterMessage) => {
      if (message.type === 'written') this.#written(message.error);
    });
    worker.once('error', (error: Error) => this.#died(error.message));
    worker.once('exit', () => this.#died('its thread ended'));
  }

  /** Opens or makes the file. Null when nothing can be kept there: that is logged, and the registry runs from memory. */
  static async open(
    directory: string,
    log: Log,
    limits = NO_LIMITS,
  ): Promise<{ store: Store; content: StoreContent } | null> {
    const entry = new URL(`./store-writer${import.meta.url.slice(-3)}`, import.meta.url);
    const worker = new Worker(entry, { workerData: { storeDirectory: directory, maxPages: limits.maxPages } });
    const opened = await new Promise<OpenedMessage>((resolve) => {
      const failed = (error: Error) => resolve({ type: 'opened', rows: [], warnings: [], failure: error.message });
      worker.once('error', failed);
      worker.once('message', (message: OpenedMessage) => {
        worker.removeListener('error', failed);
        resolve(message);
      });
    });
    for (const warning of opened.warnings) log('warn', warning);
    if (opened.failure !== null) {
      await worker.terminate();
      log('error', `registry keeps its services in memory only: ${opened.failure}`, { directory });
      return null;
    }
    const highWater = opened.rows.find((row) => row.kind === 'meta' && row.key === 'index')?.json ?? '0';
    return {
      store: new Store(worker, log, limits),
      content: { rows: opened.rows, highWater: Number(highWater) },
    };
  }

  node(name: string, record: NodeRecord | null): void {
    this.#mark('node', name, record === null ? null : () => nodeRow(record));
  }

  service(node: string, id: string, record: ServiceRecord | null): void {
    this.#mark('service', instanceKey(node, id), record === null ? null : () => serviceRow(record));
  }

  check(node: string, id: string, record: CheckRecord | null, statusOnly: boolean): void {
    this.#mark('check', instanceKey(node, id), record === null ? null : () => checkRow(record), !statusOnly);
  }

  keyValue(key: string, entry: KeyValue | null): void {
    this.#mark('kv', key, entry === null ? null : () => keyValueRow(entry));
  }

  index(index: number): void {
    if (index + INDEX_RESERVE < this.#reserved) return;
    this.#reserved = index + INDEX_BLOCK;
    const json = String(this.#reserved);
    this.#mark('meta', 'index', () => json);
  }

  committed(): Promise<void> {
    if (this.#failing || this.#slow || this.#dead || !(this.#urgent || this.#inFlight.size > 0))
      return Promise.resolve();
    return new Promise((resolve) => (this.#urgent ? this.#waiters : this.#inFlightWaiters).push(resolve));
  }

  /** Writes what is left, where the disk failed by one last attempt, and lets go of the file. */
  async close(): Promise<void> {
    if (this.#dead) return;
    const exited = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    let triesLeft = this.#writing ? 2 : 1;
    while (!this.#dead && (this.#writing || this.#dirty.size > 0) && !(this.#failing && triesLeft-- === 0)) {
      const written = new Promise<void>((resolve) => {
        this.#onWritten = resolve;
      });
      this.#flush();
      await written;
    }
    this.#dead = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#worker.postMessage('close');
    await exited;
  }

  #mark(kind: StoredRow['kind'], key: string, json: (() => string) | null, urgent = true): void {
    if (this.#dead) return;
    this.#dirty.set(`${kind}\0${key}`, () => ({ kind, key, json: json === null ? null : json() }));
    if (this.#failing || this.#writing) {
      this.#urgent ||= urgent;
      return;
    }
    if (urgent && !this.#urgent) {
      this.#urgent = true;
      setImmediate(() => this.#flush());
    } else if (!urgent) this.#schedule(STATUS_DELAY_MS);
  }

  #schedule(ms: number): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#flush();
    }, ms);
    this.#timer.unref();
  }

  #flush(): void {
    if (this.#writing || this.#dead || this.#dirty.size === 0) return;
    this.#writing = true;
    this.#urgent = false;
    this.#inFlight = this.#dirty;
    this.#dirty = new Map();
    this.#inFlightWaiters = this.#waiters;
    this.#waiters = [];
    this.#worker.postMessage([...this.#inFlight.values()].map((row) => row()));
    this.#patience = setTimeout(() => {
      this.#log('warn', 'registry answers before its changes are on disk: the disk is slow');
      this.#slow = true;
      this.#release();
    }, this.#limits.patienceMs);
  }

  #written(error: string | null): void {
    this.#writing = false;
    this.#slow = false;
    clearTimeout(this.#patience);
    queueMicrotask(this.#onWritten);
    const batch = this.#inFlight;
    this.#inFlight = new Map();
    if (error !== null) {
      // What was changed again meanwhile is newer.
      for (const [key, row] of batch) if (!this.#dirty.has(key)) this.#dirty.set(key, row);
      if (!this.#failing) this.#log('error', 'registry cannot be written to disk and goes on from memory', { error });
      this.#failing = true;
      this.#release();
      this.#schedule(this.#limits.retryMs);
      return;
    }
    if (this.#failing) this.#log('info', 'registry is written to disk again');
    this.#failing = false;
    for (const release of this.#inFlightWaiters.splice(0)) release();
    if (this.#dirty.size === 0) return;
    if (this.#urgent) this.#flush();
    else this.#schedule(STATUS_DELAY_MS);
  }

  #died(reason: string): void {
    if (this.#dead) return;
    this.#dead = true;
    clearTimeout(this.#patience);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#log('error', 'registry is no longer written to disk and goes on from memory', { error: reason });
    this.#release();
    this.#onWritten();
  }

  #release(): void {
    for (const release of [...this.#inFlightWaiters.splice(0), ...this.#waiters.splice(0)]) release();
  }
}
