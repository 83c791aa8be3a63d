import { readFileSync, rmSync } from 'node:fs';
import { replaceFile } from '../base/saved-file.ts';
import type { Logger } from '../telemetry/log.ts';

/** The file that holds the number of the process that serves, for scripts and supervisors; after an upgrade the successor's. */
export class PidFile {
  readonly #path: string | null;
  readonly #log: Logger;
  #writing: Promise<void> = Promise.resolve();

  /** `path` null: none is wanted. */
  constructor(path: string | null, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** This process serves. A file that cannot be written costs a line in the log and stops nothing. */
  write(): Promise<void> {
    const path = this.#path;
    if (path !== null) this.#writing = this.#writing.then(() => this.#replace(path));
    return this.#writing;
  }

  async #replace(path: string): Promise<void> {
    try {
      await replaceFile(path, `${process.pid}\n`, 0o644);
    } catch (error) {
      this.#log.warn({ path, error: String(error) }, 'the pid file cannot be written');
    }
  }

  /** This process ends; where a successor has written its own number, that stays. */
  async remove(): Promise<void> {
    if (this.#path === null) return;
    await this.#writing;
    try {
      if (readFileSync(this.#path, 'utf8').trim() === String(process.pid)) rmSync(this.#path);
    } catch {
      // Somebody took it away.
    }
  }
}
