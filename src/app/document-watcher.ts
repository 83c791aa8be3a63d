import { createHash } from 'node:crypto';
import { readFile, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ContentWatcher } from '../base/content-watcher.ts';

export interface DocumentWatcherOptions {
  readonly file: string;
  /** The file's content is another than at the last call, or at `start`. */
  readonly onChange: () => void;
  readonly quietMs?: number;
  readonly pollMs?: number;
}

/** Watches a document for `runtime.watch`, in its own directory and in the one it links to. */
export class DocumentWatcher {
  readonly #file: string;
  readonly #watcher: ContentWatcher;

  constructor({ file, ...options }: DocumentWatcherOptions) {
    this.#file = file;
    this.#watcher = new ContentWatcher({
      ...options,
      directories: async () => [dirname(file), dirname(await realpath(file).catch(() => file))],
      print: () => this.#print(),
    });
  }

  /** `version` is the first part of the SHA-256 of the content that is known; without it, what is there now is. */
  async start(version?: string): Promise<void> {
    await this.#watcher.start(version ?? (await this.#print()));
  }

  close(): void {
    this.#watcher.close();
  }

  async #print(): Promise<string | null> {
    try {
      return createHash('sha256')
        .update(await readFile(this.#file))
        .digest('hex');
    } catch {
      return null;
    }
  }
}
