import { OperationError } from '../base/errors.ts';
import { EtcdClient } from '../stores/etcd/etcd-client.ts';
import { pauseUntil } from './poll.ts';
import { Polls } from './polls.ts';
import type { Store, StoreContext, Stored, StoreKind, StoreSink } from './store.ts';
import { tlsOf } from './store-tls.ts';

/** etcd takes requests of 1.5 MiB (`--max-request-bytes`), the compared key and the head included. */
const VALUE_LIMIT = 1536 * 1024 - 8192;
const ANSWER_MS = 3000;
/** A server that froze leaves its watches open: the key is read at least this often. */
const READ_MS = 4000;

/** Keys below a path, over etcd's JSON gateway. A key's revision is its `mod_revision`. */
class EtcdStore implements Store {
  readonly address: string;
  readonly #prefix: string;
  readonly #client: EtcdClient;
  readonly #polls: Polls;

  constructor(url: URL, { environment, random }: StoreContext, hosts: readonly string[]) {
    const path = decodeURIComponent(url.pathname).replace(/\/+$/, '');
    if (path === '' || url.hostname === '')
      throw new OperationError('bad-store', `${url.host}: name servers and a path, as in ${etcdStore.example}`);
    this.address = `etcd://${hosts.join(',')}${path}`;
    this.#prefix = `${path}/`;
    this.#polls = new Polls(random);
    const tls = tlsOf(url);
    const scheme = tls === null ? 'http' : 'https';
    // As etcdctl reads them.
    const [user, password = environment.ETCDCTL_PASSWORD ?? ''] = (environment.ETCDCTL_USER ?? '').split(/:(.*)/s);
    this.#client = new EtcdClient({
      origins: hosts.map((host) => `${scheme}://${/:\d+$/.test(host) ? host : `${host}:2379`}`),
      user: decodeURIComponent(url.username) || user,
      password: decodeURIComponent(url.password) || password,
      tls: tls ?? { verify: true },
      timeoutMs: ANSWER_MS,
    });
  }

  async get(key: string): Promise<Stored | null> {
    return (await this.#read(key)).stored;
  }

  async put(key: string, text: string, expected: string | null): Promise<boolean> {
    const bytes = bytesOf(text);
    return this.#ask(() => this.#client.putIf(this.#prefix + key, bytes, Number(expected ?? 0)));
  }

  async set(key: string, text: string): Promise<void> {
    const bytes = bytesOf(text);
    await this.#ask(() => this.#client.put(this.#prefix + key, bytes));
  }

  async remove(key: string): Promise<void> {
    await this.#ask(() => this.#client.delete(this.#prefix + key));
  }

  async list(folder: string): Promise<string[]> {
    const prefix = `${this.#prefix}${folder}/`;
    const { records } = await this.#ask(() => this.#client.range(prefix, { isPrefix: true, keysOnly: true }));
    return records.map(({ key }) => key.slice(prefix.length));
  }

  watch(key: string, sink: StoreSink): { close(): void } {
    let after: number | null = null;
    const look = async (signal: AbortSignal) => {
      if (after !== null) await this.#nextChange(key, after, signal);
      after = null;
      const { stored, revision } = await this.#read(key);
      after = revision;
      return stored;
    };
    return this.#polls.watch(look, sink);
  }

  async close(): Promise<void> {
    this.#polls.close();
    await this.#client.close();
  }

  async #read(key: string): Promise<{ stored: Stored | null; revision: number }> {
    const { records, revision } = await this.#ask(() => this.#client.range(this.#prefix + key));
    const [record] = records;
    const stored =
      record === undefined ? null : { text: record.value.toString(), revision: String(record.modRevision) };
    return { stored, revision };
  }

  /** Resolves when the key changes after a revision of the store, when the watch ends (also for a compaction), or after a while. */
  async #nextChange(key: string, revision: number, signal: AbortSignal): Promise<void> {
    let stream: { close(): void } | null = null;
    await pauseUntil(READ_MS, signal, (now) => {
      stream = this.#client.watch(this.#prefix + key, revision + 1, { created() {}, changed: now, ended: now });
    });
    (stream as { close(): void } | null)?.close();
  }

  async #ask<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      const { code, message, retryable } = error as OperationError;
      const isRefused = code === 'registry-denied';
      const why = message.replace(/; see to the registry's user, password and role$/, '');
      throw new OperationError(
        isRefused ? 'store-refused' : 'store-unreachable',
        isRefused
          ? `${this.address}: ${why}; set ETCDCTL_USER to user:password`
          : `${this.address} cannot be used: ${why}`,
        { retryable, cause: error },
      );
    }
  }
}

function bytesOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > VALUE_LIMIT)
    throw new OperationError('too-long', `${bytes.length} bytes are more than an etcd key takes (${VALUE_LIMIT})`);
  return bytes;
}

export const etcdStore: StoreKind = {
  scheme: 'etcd',
  summary:
    'a path in etcd 3.4 or later (etcd://etcd1:2379,etcd2:2379/evenkeel/edge); `?tls=true&ca=FILE` for https, user:password from ETCDCTL_USER',
  example: 'etcd://127.0.0.1:2379/evenkeel/edge',
  open: (address, context, hosts) => new EtcdStore(address, context, hosts),
};
