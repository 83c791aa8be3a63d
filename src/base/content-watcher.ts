import { type FSWatcher, watch } from 'node:fs';

/** An editor writes in several steps, a volume is swapped in several; the last one counts. */
const QUIET_MS = 200;
/** Where changes are not told (network and overlay file systems), or a directory was replaced. */
const POLL_MS = 5000;

export interface ContentWatcherOptions {
  /** Where something happens when the content changes; asked again at every look. */
  readonly directories: () => Promise<Iterable<string>>;
  /** What tells one content from another; null when there is none at present. Never rejects. */
  readonly print: () => Promise<string | null>;
  /** The content is another than at the last call, or at `start`. */
  readonly onChange: () => void;
  /** It was looked, and nothing has changed. */
  readonly onSame?: () => void;
  readonly quietMs?: number;
  readonly pollMs?: number;
}

/**
 * Watches files. Judges by content: it looks whenever anything happens in their directories, and now and then, so it survives a rename over a file and the
 * swap of a link above it (Kubernetes' `..data`), and tells nothing when a file was only touched.
 */
export class ContentWatcher {
  readonly #options: ContentWatcherOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  /** What `start` was told; asked only until there is a whole print. */
  #beginning: string | null = null;
  #print: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #poll: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: ContentWatcherOptions) {
    this.#options = options;
  }

  /** `print` is the known content's, or how it begins; null: the first content there is is news. */
  async start(print: string | null): Promise<void> {
    this.#beginning = print;
    await this.#follow();
    if (this.#isClosed) return;
    this.#poll = setInterval(() => void this.look(), this.#options.pollMs ?? POLL_MS);
    await this.look();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#poll !== null) clearInterval(this.#poll);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Looks now; one look at a time. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async #follow(): Promise<void> {
    const wanted = new Set(await this.#options.directories());
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
      void this.look();
    }, this.#options.quietMs ?? QUIET_MS);
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    await this.#follow();
    const print = await this.#options.print();
    // Gone for a moment, between two steps of whoever replaces it.
    if (print === null || this.#isClosed) return;
    const isSame = this.#isKnown(print);
    this.#print = print;
    if (isSame) this.#options.onSame?.();
    else this.#options.onChange();
  }

  #isKnown(print: string): boolean {
    if (this.#print !== null) return print === this.#print;
    return this.#beginning !== null && print.startsWith(this.#beginning);
  }
}
