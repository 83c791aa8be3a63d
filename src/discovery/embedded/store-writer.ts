import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

/** Thread that owns the database file: a slow disk must not stop the thread that answers. Started by Store alone. */

/** What a row holds; the key is unique in its kind. */
export interface StoredRow {
  readonly kind: 'node' | 'service' | 'check' | 'kv' | 'meta';
  readonly key: string;
  /** JSON; null deletes the row. */
  readonly json: string | null;
}

export interface OpenedMessage {
  readonly type: 'opened';
  readonly rows: readonly StoredRow[];
  /** Things to tell whoever runs this, such as a damaged file that was moved aside. */
  readonly warnings: readonly string[];
  /** Why nothing can be kept, or null. */
  readonly failure: string | null;
}

export interface WrittenMessage {
  readonly type: 'written';
  readonly error: string | null;
}

export type WriterMessage = OpenedMessage | WrittenMessage;

const SCHEMA_VERSION = 1;
const FILE = 'registry.db';

/** The file is in use by another process: nothing is wrong with it, so it stays where it is. */
const SQLITE_BUSY = 5;

class Writer {
  readonly #database: DatabaseSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;

  /** Throws when the file is damaged, from a later version or not to be opened. */
  constructor(path: string, maxPages: number | null) {
    this.#database = new DatabaseSync(path);
    try {
      this.#prepare();
      if (maxPages !== null) this.#database.exec(`PRAGMA max_page_count = ${maxPages}`);
    } catch (error) {
      this.#database.close();
      throw error;
    }
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO record (kind, key, json) VALUES (?, ?, ?)');
    this.#delete = this.#database.prepare('DELETE FROM record WHERE kind = ? AND key = ?');
  }

  rows(): StoredRow[] {
    return this.#database.prepare('SELECT kind, key, json FROM record').all() as unknown as StoredRow[];
  }

  write(rows: readonly StoredRow[]): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const { kind, key, json } of rows) {
        if (json === null) this.#delete.run(kind, key);
        else this.#put.run(kind, key, json);
      }
      this.#database.exec('COMMIT');
    } catch (error) {
      // After a full disk SQLite may have rolled back by itself.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }

  #prepare(): void {
    // One process at a time; without shared memory the lock is held from the first read on.
    this.#database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    const check = this.#database.prepare('PRAGMA quick_check(1)').get() as { quick_check: string };
    if (check.quick_check !== 'ok') throw new Error(`damaged: ${check.quick_check}`);
    const { user_version: version } = this.#database.prepare('PRAGMA user_version').get() as { user_version: number };
    if (version > SCHEMA_VERSION) throw new Error(`written by a later version (its schema is ${version})`);
    this.#database.exec(`
      CREATE TABLE IF NOT EXISTS record (
        kind TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, key)
      ) WITHOUT ROWID;
      PRAGMA user_version = ${SCHEMA_VERSION}`);
  }
}

/** Opens the database, after moving one aside that cannot be used. */
function open(directory: string, maxPages: number | null, warnings: string[]): Writer {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, FILE);
  try {
    return new Writer(path, maxPages);
  } catch (error) {
    const { errcode, message } = error as { errcode?: number; message: string };
    if (errcode === SQLITE_BUSY) throw new Error(`${path} is in use by another process`);
    if (!existsSync(path)) throw error;
    const aside = `${path}.unusable-${new Date().toISOString().replaceAll(':', '-')}`;
    for (const suffix of ['', '-wal', '-shm']) if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    warnings.push(`${path} cannot be used (${message}); it was moved to ${aside} and the registry starts empty`);
    return new Writer(path, maxPages);
  }
}

function run(directory: string, maxPages: number | null): void {
  const send = (message: WriterMessage) => parentPort?.postMessage(message);
  const warnings: string[] = [];
  let writer: Writer | null = null;
  try {
    writer = open(directory, maxPages, warnings);
    send({ type: 'opened', rows: writer.rows(), warnings, failure: null });
  } catch (error) {
    writer?.close();
    writer = null;
    send({ type: 'opened', rows: [], warnings, failure: (error as Error).message });
    return;
  }
  const opened = writer;
  parentPort?.on('message', (rows: readonly StoredRow[] | 'close') => {
    if (rows === 'close') {
      opened.close();
      parentPort?.close();
      return;
    }
    try {
      opened.write(rows);
      send({ type: 'written', error: null });
    } catch (error) {
      send({ type: 'written', error: (error as Error).message });
    }
  });
}

interface WriterData {
  readonly storeDirectory?: string;
  readonly maxPages?: number | null;
}

const { storeDirectory, maxPages } = (workerData ?? {}) as WriterData;
if (parentPort !== null && storeDirectory !== undefined) run(storeDirectory, maxPages ?? null);
