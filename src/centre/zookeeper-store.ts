import { systemClock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { parseConnectString } from '../stores/zookeeper/connect-string.ts';
import type { NodeAccess, NodeStat } from '../stores/zookeeper/messages.ts';
import { ZookeeperSession } from '../stores/zookeeper/zookeeper-session.ts';
import { Polls } from './polls.ts';
import type { Store, StoreContext, Stored, StoreKind, StoreSink } from './store.ts';
import { tlsOf } from './store-tls.ts';

/** A server takes requests of at most 1 MiB (`jute.maxbuffer`), path and head included. */
const VALUE_LIMIT = 1024 * 1024 - 4096;
const SESSION_MS = 10_000;
/** How long a request waits for a connection. */
const PATIENCE_MS = 5000;

/** Nodes below a path, a key's text as the node's data. A key's revision is the node's creation and its data's version. Begins its session with the first request. */
class ZookeeperStore implements Store {
  readonly address: string;
  readonly #access: NodeAccess;
  readonly #session: ZookeeperSession;
  readonly #polls: Polls;
  /** Told once, of a new session, an outage or the end. */
  readonly #waiters = new Set<(error: OperationError | null) => void>();
  #isStarted = false;

  constructor(url: URL, { environment, random }: StoreContext, hosts: readonly string[]) {
    const path = decodeURIComponent(url.pathname).replace(/\/+$/, '');
    const address = parseConnectString(`${hosts.join(',')}${path}`);
    if (address === null || path === '')
      throw new OperationError('bad-store', `${url.host}: name servers and a path, as in ${zookeeperStore.example}`);
    const inAddress =
      url.username === '' ? '' : `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    const auth = inAddress || (environment.ZOOKEEPER_AUTH ?? '');
    this.address = `zookeeper://${hosts.join(',')}${path}`;
    this.#access = auth === '' ? 'open' : 'creator';
    this.#polls = new Polls(random);
    this.#session = new ZookeeperSession(
      { address, timeoutMs: SESSION_MS, auth, tls: tlsOf(url), clock: systemClock, random },
      {
        // After a reconnect the watches stand, and what happened meanwhile is told to them.
        connected: () => this.#tell(null),
        disconnected: () => {},
        lost: (error) => this.#tell(error),
      },
    );
  }

  async get(key: string): Promise<Stored | null> {
    return this.#ask(async (session) => storedOf(await session.get(`/${key}`)));
  }

  async put(key: string, text: string, expected: string | null): Promise<boolean> {
    const data = bytesOf(text);
    return this.#ask(async (session) => {
      if (expected === null) return this.#create(session, key, data);
      const stat = await session.exists(`/${key}`);
      if (stat === null || revisionOf(stat) !== expected) return false;
      return (await session.set(`/${key}`, data, stat.version)) !== null;
    });
  }

  async set(key: string, text: string): Promise<void> {
    const data = bytesOf(text);
    await this.#ask(async (session) => {
      while ((await session.set(`/${key}`, data)) === null) if (await this.#create(session, key, data)) return;
    });
  }

  async remove(key: string): Promise<void> {
    await this.#ask((session) => session.delete(`/${key}`));
  }

  async list(folder: string): Promise<string[]> {
    return this.#ask(async (session) => (await session.children(`/${folder}`))?.names ?? []);
  }

  watch(key: string, sink: StoreSink): { close(): void } {
    let changed: Promise<void> | null = null;
    const look = async (signal: AbortSignal) => {
      await changed;
      const next = Promise.withResolvers<void>();
      changed = next.promise;
      const woken = () => next.resolve();
      this.#waiters.add(woken);
      signal.addEventListener('abort', woken, { once: true });
      void next.promise.then(() => {
        this.#waiters.delete(woken);
        this.#session.unwatch(`/${key}`, woken);
        signal.removeEventListener('abort', woken);
      });
      try {
        return await this.#ask((session) => this.#watched(session, key, woken));
      } catch (error) {
        next.resolve();
        changed = null;
        throw error;
      }
    };
    return this.#polls.watch(look, sink);
  }

  async close(): Promise<void> {
    this.#polls.close();
    this.#tell(new OperationError('store-closed', `${this.address} was closed`));
    await this.#session.close();
  }

  /** Reads a key; `woken` is called when it holds something else, or may without our being told. */
  async #watched(session: ZookeeperSession, key: string, woken: () => void): Promise<Stored | null> {
    const path = `/${key}`;
    for (;;) {
      const node = await session.get(path, woken);
      if (node !== null) return storedOf(node);
      // A read leaves no watch where nothing is. When something came in between, there is one more round.
      if ((await session.exists(path, woken)) === null) return null;
    }
  }

  async #create(session: ZookeeperSession, key: string, data: Uint8Array): Promise<boolean> {
    const create = () => session.create(`/${key}`, data, { access: this.#access });
    try {
      return await create();
    } catch (error) {
      if (!(error instanceof OperationError) || error.code !== 'registry-unknown') throw error;
      await session.ensure(`/${key}`.slice(0, key.lastIndexOf('/') + 1) || '/', this.#access);
      return create();
    }
  }

  async #ask<T>(act: (session: ZookeeperSession) => Promise<T>): Promise<T> {
    try {
      await this.#connected();
      return await act(this.#session);
    } catch (error) {
      const { code, message, retryable } = error as OperationError;
      if (code === 'too-long') throw error;
      if (code !== 'registry-denied')
        throw new OperationError('store-unreachable', `${this.address} cannot be used: ${message}`, {
          retryable,
          cause: error,
        });
      const why = message.replace(/; set the registry's auth$/, '');
      throw new OperationError('store-refused', `${this.address}: ${why}; set ZOOKEEPER_AUTH to user:password`);
    }
  }

  async #connected(): Promise<void> {
    if (!this.#isStarted) this.#session.start();
    this.#isStarted = true;
    if (this.#session.isConnected) return;
    if (this.#session.failure !== null) throw this.#session.failure;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = (error: OperationError | null) => (error === null ? resolve() : reject(error));
    this.#waiters.add(waiter);
    const timer = setTimeout(() => waiter(new OperationError('late', 'no answer in time')), PATIENCE_MS);
    await promise.finally(() => {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    });
  }

  #tell(error: OperationError | null): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter(error);
  }
}

function bytesOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > VALUE_LIMIT)
    throw new OperationError('too-long', `${bytes.length} bytes are more than a ZooKeeper node takes (${VALUE_LIMIT})`);
  return bytes;
}

function storedOf(node: { readonly data: Buffer; readonly stat: NodeStat } | null): Stored | null {
  return node === null ? null : { text: node.data.toString(), revision: revisionOf(node.stat) };
}

/** A node that was removed and made again counts its versions from 0 again. */
function revisionOf({ czxid, version }: NodeStat): string {
  return `${czxid}.${version}`;
}

export const zookeeperStore: StoreKind = {
  scheme: 'zookeeper',
  summary:
    'a path in ZooKeeper (zookeeper://zk1:2181,zk2:2181/evenkeel/edge); `?tls=true&ca=FILE` for TLS, user:password from ZOOKEEPER_AUTH',
  example: 'zookeeper://127.0.0.1:2181/evenkeel/edge',
  open: (address, context, hosts) => new ZookeeperStore(address, context, hosts),
};
