import { createHash } from 'node:crypto';
import { watch as watchDirectory } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { OperationError } from '../base/errors.ts';
import { replaceFile } from '../base/saved-file.ts';
import { pauseUntil } from './poll.ts';
import { Polls } from './polls.ts';
import type { Store, StoreContext, Stored, StoreKind, StoreSink } from './store.ts';

/** Where changes are not told (network file systems). */
const POLL_MS = 500;
/** A writer holds the lock for the time of one small write; one that is older was left by a process that died. */
const STALE_LOCK_MS = 10_000;
const LOCK_PAUSE_MS = 5;

/** A directory of small files, for one machine or a shared file system. A file's revision is the SHA-256 of its text. */
class DirectoryStore implements Store {
  readonly address: string;
  readonly #directory: string;
  readonly #polls: Polls;

  constructor(address: URL, context: StoreContext) {
    if (address.host !== '')
      throw new OperationError('bad-store', `${address.href}: write the whole path, as in ${directoryStore.example}`);
    this.#directory = fileURLToPath(address);
    this.address = `file://${this.#directory}`;
    this.#polls = new Polls(context.random);
  }

  async get(key: string): Promise<Stored | null> {
    try {
      const text = await readFile(this.#path(key), 'utf8');
      return { text, revision: createHash('sha256').update(text).digest('hex') };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw this.#failed(error);
    }
  }

  put(key: string, text: string, expected: string | null): Promise<boolean> {
    return this.#locked(async () => {
      const known = await this.get(key);
      if ((known?.revision ?? null) !== expected) return false;
      await replaceFile(this.#path(key), text);
      return true;
    });
  }

  async set(key: string, text: string): Promise<void> {
    await replaceFile(this.#path(key), text).catch((error) => {
      throw this.#failed(error);
    });
  }

  async remove(key: string): Promise<void> {
    await rm(this.#path(key), { force: true });
  }

  async list(folder: string): Promise<string[]> {
    const names = await readdir(this.#path(folder)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw this.#failed(error);
    });
    return names.filter((name) => !name.endsWith('.tmp'));
  }

  watch(key: string, sink: StoreSink): { close(): void } {
    let isFirst = true;
    const look = async (signal: AbortSignal) => {
      if (!isFirst) await this.#nextChange(key, signal);
      isFirst = false;
      return this.get(key);
    };
    return this.#polls.watch(look, sink);
  }

  async close(): Promise<void> {
    this.#polls.close();
  }

  /** Resolves when something happens in the key's directory, or after a while. */
  async #nextChange(key: string, signal: AbortSignal): Promise<void> {
    const watchers: { close(): void }[] = [];
    await pauseUntil(POLL_MS, signal, (now) => {
      try {
        const watcher = watchDirectory(dirname(this.#path(key)), now);
        watcher.on('error', now);
        watchers.push(watcher);
      } catch {
        // Not there yet, or no watches left: the poll goes on.
      }
    });
    for (const watcher of watchers) watcher.close();
  }

  async #locked<T>(act: () => Promise<T>): Promise<T> {
    const lock = this.#path('.lock');
    try {
      await mkdir(this.#directory, { recursive: true });
      for (;;) {
        const handle = await open(lock, 'wx').catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return null;
          throw error;
        });
        if (handle !== null) {
          await handle.close();
          break;
        }
        if (await isStale(lock)) await this.#breakLock(lock);
        await setTimeout(LOCK_PAUSE_MS);
      }
    } catch (error) {
      throw this.#failed(error);
    }
    try {
      return await act();
    } catch (error) {
      throw this.#failed(error);
    } finally {
      await rm(lock, { force: true });
    }
  }

  /** One at a time, and looked at once more: two who find the same dead lock must not take each other's fresh one. */
  async #breakLock(lock: string): Promise<void> {
    const breaking = `${lock}.break`;
    if (await isStale(breaking)) await rm(breaking, { force: true });
    const handle = await open(breaking, 'wx').catch(() => null);
    if (handle === null) return;
    await handle.close();
    if (await isStale(lock)) await rm(lock, { force: true });
    await rm(breaking, { force: true });
  }

  #path(key: string): string {
    return join(this.#directory, ...key.split('/'));
  }

  #failed(error: unknown): OperationError {
    if (error instanceof OperationError) return error;
    const { message } = error as Error;
    return new OperationError('store-failed', `${this.address} cannot be used: ${message}`, { cause: error });
  }
}

async function isStale(file: string): Promise<boolean> {
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() }));
  return Date.now() - mtimeMs > STALE_LOCK_MS;
}

export const directoryStore: StoreKind = {
  scheme: 'file',
  summary: 'a directory on this machine or a shared file system',
  example: 'file:///var/lib/evenkeel/edge',
  open: (address, context) => new DirectoryStore(address, context),
};
