import type { OperationError } from '../base/errors.ts';
import type { ListenerCells } from '../proxy/listener-cells.ts';
import { LineWriter } from './line-writer.ts';
import type { Logger } from './log.ts';

/** Main's row in the cells. */
const MAIN_ROW = 0;

export interface AccessLogSinkOptions {
  /** `stdout` or the path of a file. */
  readonly target: string;
  readonly log: Logger;
  readonly pendingBytes?: number;
}

/**
 * Main's side of the access log: writes the workers' batches as they come. A full disk or a reader that is gone costs lines, which are
 * counted, and one line in the log; never a request, and never main's time. Constructed with the document, opened at start.
 */
export class AccessLogSink {
  readonly #writer: LineWriter;
  readonly #log: Logger;
  readonly #target: string;

  constructor(options: AccessLogSinkOptions) {
    this.#log = options.log;
    this.#target = options.target;
    this.#writer = new LineWriter({
      target: options.target === 'stdout' ? 1 : options.target,
      pendingBytes: options.pendingBytes,
      onTrouble: (error, lostLines) => this.#tell(error, lostLines),
    });
  }

  /** Rejects with an OperationError when the file cannot be opened. */
  open(): Promise<void> {
    return this.#writer.open();
  }

  /**
   * Takes a worker's batch of the listener whose `cells` are given. `done` is called when it is written or lost (and then counted as
   * dropped): time to acknowledge it to the worker.
   */
  write(batch: string, lines: number, cells: ListenerCells, done: () => void): void {
    this.#writer.write(batch, lines, (isWritten) => {
      if (!isWritten) cells.logDropped(MAIN_ROW, lines);
      done();
    });
  }

  /** After a rotation moved the file away. Failure is logged and the old file stays in use. */
  async reopen(): Promise<void> {
    try {
      await this.#writer.reopen();
    } catch (error) {
      this.#log.error({ error: (error as OperationError).message }, 'access log not reopened');
    }
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  #tell(error: OperationError | null, lostLines: number): void {
    if (error === null) this.#log.info({ target: this.#target, lostLines }, 'access log is written again');
    else this.#log.error({ target: this.#target, error: error.message }, 'access log loses lines');
  }
}
