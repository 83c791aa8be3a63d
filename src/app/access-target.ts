import { OperationError } from '../base/errors.ts';
import type { ListenerCells } from '../proxy/listener-cells.ts';
import { AccessLogSink } from '../telemetry/access-log-sink.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Prepared } from './prepared.ts';

/** Where the access log goes, as the document says; changed by a reload. */
export class AccessTarget {
  readonly #log: Logger;
  #target: string | null = null;
  #sink: AccessLogSink | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Opens a new target if there is one. Rejects with an OperationError when it cannot be opened; the old one is written on. */
  async prepare(target: string | null): Promise<Prepared> {
    if (target === this.#target) return { commit: () => this.reopen(), cancel() {} };
    const next = target === null ? null : await this.#open(target);
    return {
      commit: () => {
        const old = this.#sink;
        this.#target = target;
        this.#sink = next;
        void old?.close();
      },
      cancel: () => void next?.close(),
    };
  }

  /** A rotation may have moved the file away: the next lines go to a file of the old name. */
  reopen(): void {
    void this.#sink?.reopen();
  }

  /** Writes a batch; `done` is called when it is written or lost. */
  write(batch: string, lines: number, cells: ListenerCells, done: () => void): void {
    if (this.#sink === null) done();
    else this.#sink.write(batch, lines, cells, done);
  }

  async close(): Promise<void> {
    await this.#sink?.close();
  }

  async #open(target: string): Promise<AccessLogSink> {
    const sink = new AccessLogSink({ target, log: this.#log });
    try {
      await sink.open();
    } catch (error) {
      throw new OperationError('access-log', error instanceof Error ? error.message : String(error), { cause: error });
    }
    return sink;
  }
}
