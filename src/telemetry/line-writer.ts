import fs from 'node:fs';
import { promisify } from 'node:util';
import type { Clock } from '../base/clock.ts';
import { systemClock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { Ring } from '../base/ring.ts';

const open = promisify(fs.open);

/** Wait before a descriptor that would block is tried again. A pipe holds 64 KiB: 5 ms lets 13 MB/s through. */
const BUSY_RETRY_MS = 5;
/** Bytes that may wait to be written. */
const PENDING_BYTES = 16 * 1024 * 1024;
/** Trouble is told at most this often; what is lost is counted all the time. */
const TROUBLE_INTERVAL_MS = 10_000;
/** Times that flushSync waits BUSY_RETRY_MS for a descriptor that would block. */
const SYNC_RETRIES = 50;

export interface LineWriterOptions {
  /** A descriptor that is open already (1, 2), or the path of a file, which is appended to. */
  readonly target: number | string;
  readonly pendingBytes?: number;
  /** Writing began to fail (an error), or works again (null, and how many lines were lost). Never called more than once in 10 s with an error. */
  readonly onTrouble?: (error: OperationError | null, lostLines: number) => void;
  readonly clock?: Clock;
}

interface Pending {
  bytes: Buffer;
  isBegun: boolean;
  readonly length: number;
  readonly lines: number;
  readonly done: ((isWritten: boolean) => void) | null;
}

/**
 * Writes whole lines to a file or a standard stream from the thread pool: never blocks the caller, never throws, holds a bounded number of
 * bytes, and loses and counts what cannot be written. At most one writer per descriptor, or lines get torn.
 *
 * Not sonic-boom: once anything has touched `process.stdout`, a pipe behind it is non-blocking, and sonic-boom's fixed wait of 100 ms
 * after EAGAIN caps it at 1 MB/s (19.6 MB took 17 s instead of 71 ms); after EPIPE pino's wrapper goes silent without counting.
 */
export class LineWriter {
  readonly #target: number | string;
  readonly #limit: number;
  readonly #onTrouble: (error: OperationError | null, lostLines: number) => void;
  readonly #clock: Clock;
  readonly #queue = new Ring<Pending>();
  readonly #onWritten: (error: NodeJS.ErrnoException | null, written: number) => void;
  #fd: number;
  /** A file opened by reopen, taken at the next end of a batch. */
  #nextFd = -1;
  #current: Pending | null = null;
  #pendingBytes = 0;
  #lostLines = 0;
  #lostAtTrouble = 0;
  #troubleToldMs = Number.NEGATIVE_INFINITY;
  #isInTrouble = false;
  /** A batch was lost after some of its bytes were written: the next one starts on a fresh line. */
  #isTorn = false;
  #isWriting = false;
  #isClosed = false;
  #retry: NodeJS.Timeout | null = null;
  #onIdle: (() => void) | null = null;

  constructor(options: LineWriterOptions) {
    this.#target = options.target;
    this.#fd = typeof options.target === 'number' ? options.target : -1;
    this.#limit = options.pendingBytes ?? PENDING_BYTES;
    this.#onTrouble = options.onTrouble ?? (() => {});
    this.#clock = options.clock ?? systemClock;
    this.#onWritten = (error, written) => this.#written(error, written);
  }

  /** Lines that could not be written, since the start. */
  get lostLines(): number {
    return this.#lostLines;
  }

  /** Opens the file; nothing to do for a descriptor. Rejects with an OperationError. Lines written before it wait. */
  async open(): Promise<void> {
    if (typeof this.#target !== 'string') return;
    this.#fd = await openForAppend(this.#target);
    this.#pump();
  }

  /** Opens the file anew after it was moved away (log rotation); the old one stays in use when that fails. Rejects with an OperationError. */
  async reopen(): Promise<void> {
    if (typeof this.#target !== 'string' || this.#fd < 0) return;
    const fd = await openForAppend(this.#target);
    if (this.#isClosed || this.#nextFd >= 0) fs.closeSync(fd);
    else this.#nextFd = fd;
    this.#pump();
  }

  /** Takes whole lines, the last ended by a line feed. `done` is told, later or at once, whether they were written or lost. */
  write(text: string, lines = 1, done: ((isWritten: boolean) => void) | null = null): void {
    const bytes = Buffer.from(text);
    const entry: Pending = { bytes, isBegun: false, length: bytes.length, lines, done };
    if (this.#isClosed || this.#pendingBytes + bytes.length > this.#limit) {
      this.#lose(entry, new OperationError('log-overflow', `${this.#name} does not take lines as fast as they come`));
      return;
    }
    this.#pendingBytes += bytes.length;
    this.#queue.push(entry);
    this.#pump();
  }

  /** Writes what waits, blocking, for at most 250 ms: for the last words of a process that is about to exit. */
  flushSync(): void {
    let retries = SYNC_RETRIES;
    // A batch in the thread pool is on its way; writing it again would double its lines.
    if (this.#isWriting) this.#current = null;
    for (;;) {
      const entry = this.#current ?? this.#queue.shift();
      if (entry === undefined || this.#fd < 0) return;
      this.#current = entry;
      try {
        entry.bytes = entry.bytes.subarray(fs.writeSync(this.#fd, entry.bytes));
        if (entry.bytes.length === 0) this.#settle(entry);
      } catch (error) {
        if (!isBusy(error as NodeJS.ErrnoException) || retries-- === 0) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_RETRY_MS);
      }
    }
  }

  /** Takes no more lines, writes what waits for at most `deadlineMs`, and closes the file. */
  async close(deadlineMs = 1000): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#fd >= 0 && (this.#current !== null || this.#queue.length > 0)) await this.#idleWithin(deadlineMs);
    if (this.#retry !== null) clearTimeout(this.#retry);
    for (let entry = this.#current ?? this.#queue.shift(); entry !== undefined; entry = this.#queue.shift()) {
      this.#current = null;
      this.#lose(entry, null);
    }
    if (this.#nextFd >= 0) fs.closeSync(this.#nextFd);
    // While a write is stuck in the thread pool its descriptor must not be given to another file.
    if (typeof this.#target === 'string' && this.#fd >= 0 && !this.#isWriting) fs.closeSync(this.#fd);
    this.#fd = -1;
    this.#nextFd = -1;
  }

  get #name(): string {
    return typeof this.#target === 'string' ? this.#target : this.#target === 1 ? 'stdout' : 'stderr';
  }

  #idleWithin(deadlineMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #pump(): void {
    if (this.#isWriting || this.#retry !== null || this.#fd < 0) return;
    if (this.#nextFd >= 0 && !this.#current?.isBegun) this.#takeNextFile();
    this.#current ??= this.#queue.shift() ?? null;
    const entry = this.#current;
    if (entry === null) {
      this.#onIdle?.();
      return;
    }
    if (this.#isTorn) entry.bytes = Buffer.concat([Buffer.from('\n'), entry.bytes]);
    this.#isTorn = false;
    this.#isWriting = true;
    fs.write(this.#fd, entry.bytes, 0, entry.bytes.length, null, this.#onWritten);
  }

  #takeNextFile(): void {
    fs.closeSync(this.#fd);
    this.#fd = this.#nextFd;
    this.#nextFd = -1;
    this.#isTorn = false;
  }

  #written(error: NodeJS.ErrnoException | null, written: number): void {
    this.#isWriting = false;
    const entry = this.#current;
    if (entry === null) return;
    if (error === null) {
      entry.isBegun = true;
      entry.bytes = entry.bytes.subarray(written);
      if (entry.bytes.length === 0) this.#settle(entry);
    } else if (isBusy(error)) {
      this.#retry = setTimeout(() => {
        this.#retry = null;
        this.#pump();
      }, BUSY_RETRY_MS);
      this.#retry.unref();
      return;
    } else {
      this.#current = null;
      this.#pendingBytes -= entry.length;
      this.#isTorn = entry.isBegun;
      this.#lose(
        entry,
        new OperationError('log-write', `cannot write to ${this.#name}: ${error.message}`, { cause: error }),
      );
    }
    this.#pump();
  }

  #settle(entry: Pending): void {
    this.#current = null;
    this.#pendingBytes -= entry.length;
    entry.done?.(true);
    if (!this.#isInTrouble) return;
    this.#isInTrouble = false;
    this.#onTrouble(null, this.#lostLines - this.#lostAtTrouble);
  }

  #lose(entry: Pending, error: OperationError | null): void {
    const lostBefore = this.#lostLines;
    this.#lostLines += entry.lines;
    entry.done?.(false);
    if (error === null || this.#isInTrouble || this.#isClosed) return;
    if (this.#clock.now() - this.#troubleToldMs < TROUBLE_INTERVAL_MS) return;
    this.#isInTrouble = true;
    this.#troubleToldMs = this.#clock.now();
    this.#lostAtTrouble = lostBefore;
    this.#onTrouble(error, entry.lines);
  }
}

function isBusy(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EAGAIN' || error.code === 'EBUSY';
}

/**
 * Opening a pipe that nobody reads takes until somebody does: a reload would wait, with all that come after it, and a thread of the pool. Opened both ways
 * it is there at once (fifo(7)); readers may come and go, and what it does not take is lost as on a full disk.
 */
async function openForAppend(path: string): Promise<number> {
  const { O_RDWR, O_WRONLY, O_NONBLOCK } = fs.constants;
  const found = await fs.promises.stat(path).catch(() => null);
  try {
    if (found?.isFIFO() !== true) return await open(path, 'a', 0o640);
    // One that we may not read has to have its reader.
    return await open(path, O_RDWR | O_NONBLOCK).catch(() => open(path, O_WRONLY | O_NONBLOCK));
  } catch (error) {
    throw new OperationError('log-open', `cannot open ${path}: ${(error as Error).message}`, { cause: error });
  }
}
