import { createHash } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';

/** An editor writes in several steps, a volume is swapped in several; the last one counts. */
const QUIET_MS = 200;
/** Where changes are not told (network and overlay file systems), or the directory was replaced. */
const POLL_MS = 5000;

export interface DocumentWatcherOptions {
  readonly file: string;
  /** The file's content is another than at the last call, or at `start`. */
  readonly onChange: () => void;
  readonly quietMs?: number;
  readonly pollMs?: number;
}

/**
 * Watches a document for `runtime.watch`. Judges by content: it looks whenever anything happens in the file's directory or in the one it links to, so
 * it survives a rename over the file and the swap of a link above it (Kubernetes' `..data`), and tells nothing when a file was only touched.
 */
export class DocumentWatcher {
  readonly #options: Required<DocumentWatcherOptions>;
  readonly #watchers = new Map<string, FSWatcher>();
  /** The SHA-256 of the content that is known, or its first digits; null when there is none. */
  #print: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #poll: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: DocumentWatcherOptions) {
    this.#options = { quietMs: QUIET_MS, pollMs: POLL_MS, ...options };
  }

  /** `version` is the first part of the SHA-256 of the content that is known; without it, what is there now is. */
  async start(version?: string): Promise<void> {
    this.#print = version ?? (await this.#read());
    await this.#follow();
    if (this.#isClosed) return;
    this.#poll = setInterval(() => void this.#look(), this.#options.pollMs);
    await this.#look();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#poll !== null) clearInterval(this.#poll);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  async #follow(): Promise<void> {
    const { file } = this.#options;
    const real = await realpath(file).catch(() => file);
    const wanted = new Set([dirname(file), dirname(real)]);
    if (this.#isClosed) return;
    for (const [directory, watcher] of this.#watchers) {
      if (wanted.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const directory of wanted) if (!this.#watchers.has(directory)) this.#watch(directory);
  }

  #watch(directory: string): void {
    try {
      const watcher = watch(directory, () => this.#soon());
      watcher.on('error', () => this.#forget(directory));
      this.#watchers.set(directory, watcher);
    } catch {
      // Not there, or no watches left: the poll goes on.
    }
  }

  #forget(directory: string): void {
    this.#watchers.get(directory)?.close();
    this.#watchers.delete(directory);
  }

  #soon(): void {
    if (this.#timer !== null || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#look();
    }, this.#options.quietMs);
  }

  async #look(): Promise<void> {
    await this.#follow();
    const print = await this.#read();
    // Gone for a moment, between two steps of whoever replaces it.
    if (print === null || this.#isClosed) return;
    if (this.#print !== null && print.startsWith(this.#print)) return;
    this.#print = print;
    this.#options.onChange();
  }

  async #read(): Promise<string | null> {
    try {
      return createHash('sha256')
        .update(await readFile(this.#options.file))
        .digest('hex');
    } catch {
      return null;
    }
  }
}
