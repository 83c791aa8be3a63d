import type { AccessRecord, AccessSink } from '../proxy/access-sink.ts';
import type { ListenerCells } from '../proxy/listener-cells.ts';
import type { SessionRecord, SessionSink } from '../proxy/session-record.ts';
import { formatAccessLine, formatSessionLine } from './access-line.ts';

/** Characters after which a batch is handed over at once. */
const BATCH_LENGTH = 64 * 1024;
/** Characters that may be with main and not yet acknowledged; about a second of lines at 10 000 requests a second. */
const UNACKNOWLEDGED_LENGTH = 4 * 1024 * 1024;

export interface AccessLogBufferOptions {
  /** Whose lines these are: what is dropped is counted there, in this worker's row. */
  readonly cells: ListenerCells;
  readonly row: number;
  /** Whether the path keeps its query. */
  readonly query: boolean;
  /** Hands whole lines to main, which acknowledges with `batch.length`. Must not throw. */
  readonly send: (batch: string, lines: number) => void;
  readonly batchLength?: number;
  readonly unacknowledgedLength?: number;
  /** Wall clock, ms since 1970. */
  readonly wallClock?: () => number;
}

/**
 * The worker's side of the access log, one per listener: lines are collected and handed over once per wheel tick or per 64 KiB. What main
 * has not acknowledged is bounded; past the bound a line is dropped and counted, without being formatted. Lengths are characters.
 */
export class AccessLogBuffer implements AccessSink, SessionSink {
  readonly #cells: ListenerCells;
  readonly #row: number;
  readonly #query: boolean;
  readonly #send: (batch: string, lines: number) => void;
  readonly #batchLength: number;
  readonly #limit: number;
  readonly #wallClock: () => number;
  #batch = '';
  #lines = 0;
  #unacknowledged = 0;

  constructor(options: AccessLogBufferOptions) {
    this.#cells = options.cells;
    this.#row = options.row;
    this.#query = options.query;
    this.#send = options.send;
    this.#batchLength = options.batchLength ?? BATCH_LENGTH;
    this.#limit = options.unacknowledgedLength ?? UNACKNOWLEDGED_LENGTH;
    this.#wallClock = options.wallClock ?? Date.now;
  }

  /** Characters handed over and not acknowledged. */
  get unacknowledged(): number {
    return this.#unacknowledged;
  }

  record(exchange: AccessRecord): void {
    if (this.#hasRoom()) this.#add(formatAccessLine(exchange, this.#wallClock(), this.#query));
  }

  recordSession(session: SessionRecord): void {
    if (this.#hasRoom()) this.#add(formatSessionLine(session, this.#wallClock()));
  }

  #hasRoom(): boolean {
    if (this.#unacknowledged + this.#batch.length < this.#limit) return true;
    this.#cells.logDropped(this.#row, 1);
    return false;
  }

  #add(line: string): void {
    this.#batch += line;
    this.#lines++;
    if (this.#batch.length >= this.#batchLength) this.flush();
  }

  /** Hands over what there is. Called at every wheel tick, and once more before the worker ends. */
  flush(): void {
    if (this.#lines === 0) return;
    const batch = this.#batch;
    const lines = this.#lines;
    this.#batch = '';
    this.#lines = 0;
    this.#unacknowledged += batch.length;
    this.#send(batch, lines);
  }

  /** Main is done with a batch of this length: written or lost. A batch of a buffer before this one (a reload) frees nothing. */
  acknowledge(length: number): void {
    this.#unacknowledged = Math.max(0, this.#unacknowledged - length);
  }
}
