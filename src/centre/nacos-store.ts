import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { HttpAsker } from '../stores/http-asker.ts';
import { NacosConfig } from '../stores/nacos/nacos-config.ts';
import { NacosLock } from '../stores/nacos/nacos-lock.ts';
import { NacosToken } from '../stores/nacos/nacos-token.ts';
import { contentOf, dataIdOf, foldedKey, listId, namesIn, textOf } from './nacos-names.ts';
import { pause } from './poll.ts';
import { Polls } from './polls.ts';
import type { Store, StoreContext, Stored, StoreKind, StoreSink } from './store.ts';
import { tlsOf } from './store-tls.ts';

const PORT = 8848;
/** Nacos 2 serves gRPC on the port this far above that of HTTP. */
const GRPC_OFFSET = 1000;
/** How long a request waits for a connection. */
const PATIENCE_MS = 5000;
/** A push may be lost: whether a key has changed is asked at least this often. */
const ASK_MS = 10_000;
/** Servers answer reads from a copy that follows the writes: so long what was written is waited for, looking again and again. */
const TOLD_MS = 5000;
const LOOK_MS = 50;
/** The MD5 of nothing. */
const NEVER = 'never';
/** Writers that want to change a list of names together. */
const MAX_TURNS = 100;

/**
 * Configs of Nacos 2 or later whose data IDs begin with a path. A key's revision is the MD5 of its content. Nacos has no way to list configs that all versions know, so the names in
 * a folder stand in a config of their own. Where a server ignores the MD5 that a write expects (r-nacos), writers exclude each other by a lock.
 */
class NacosStore implements Store {
  readonly address: string;
  readonly #prefix: string;
  readonly #random: StoreContext['random'];
  readonly #asker: HttpAsker;
  readonly #config: NacosConfig;
  readonly #lock: NacosLock;
  readonly #polls: Polls;
  readonly #servers: number;
  /** Told once, of a connection, an outage or the end. */
  readonly #waiters = new Set<(error: OperationError | null) => void>();
  #isStarted = false;
  /** Servers that could not be reached since the last connection. */
  #failures = 0;
  #failure: OperationError | null = null;
  #comparing: Promise<boolean> | null = null;

  constructor(url: URL, { environment, random }: StoreContext, hosts: readonly string[]) {
    const path = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '');
    if (path === '' || url.hostname === '')
      throw new OperationError('bad-store', `${url.host}: name servers and a path, as in ${nacosStore.example}`);
    this.address = `nacos://${hosts.join(',')}/${path}`;
    this.#prefix = path;
    this.#random = random;
    this.#servers = hosts.length;
    this.#polls = new Polls(random);
    const tls = tlsOf(url) ?? { verify: true };
    const scheme = tlsOf(url) === null ? 'http' : 'https';
    const servers = hosts.map((host) => new URL(`${scheme}://${/:\d+$/.test(host) ? host : `${host}:${PORT}`}`));
    this.#asker = new HttpAsker({
      addresses: servers.map(({ origin }) => `${origin}${url.searchParams.get('context') ?? '/nacos'}`),
      username: '',
      password: '',
      tls,
    });
    const login = {
      username: decodeURIComponent(url.username) || (environment.NACOS_USERNAME ?? ''),
      password: decodeURIComponent(url.password) || (environment.NACOS_PASSWORD ?? ''),
    };
    const namespace = url.searchParams.get('namespace') ?? 'public';
    const group = url.searchParams.get('group') ?? 'DEFAULT_GROUP';
    const grpcPort = Number(url.searchParams.get('grpcPort') ?? 0);
    this.#config = new NacosConfig({
      origins: servers.map(
        ({ hostname, port }) =>
          `${scheme}://${hostname}:${grpcPort || Number(port || (scheme === 'https' ? 443 : 80)) + GRPC_OFFSET}`,
      ),
      namespace,
      group,
      tls,
      token: new NacosToken(this.#asker, login, systemClock),
      random,
      events: { connected: () => this.#connected(), lost: (error) => this.#lost(error) },
    });
    this.#lock = new NacosLock({ config: this.#config, namespace, group, name: dataIdOf(`${path}//lock`), random });
  }

  async get(key: string): Promise<Stored | null> {
    return this.#ask(async () => {
      const item = await this.#config.query(this.#id(key));
      return item === null ? null : { text: textOf(item.content), revision: item.md5 };
    });
  }

  async put(key: string, text: string, expected: string | null): Promise<boolean> {
    const content = contentOf(text);
    return this.#ask(async () => {
      if (expected === null) await this.#enlist(key);
      return this.#exchange(this.#id(key), content, expected);
    });
  }

  async set(key: string, text: string): Promise<void> {
    const content = contentOf(text);
    const id = this.#id(key);
    await this.#ask(async () => {
      await this.#enlist(key);
      await this.#config.publish(id, content);
      await this.#untilTold(id, (md5) => md5 === md5Of(content));
    });
  }

  async remove(key: string): Promise<void> {
    const id = this.#id(key);
    await this.#ask(async () => {
      await this.#config.remove(id);
      await this.#untilTold(id, (md5) => md5 === null);
      const { folder, name } = foldedKey(key);
      await this.#rename(folder, (names) => (names.includes(name) ? names.filter((one) => one !== name) : null));
    });
  }

  async list(folder: string): Promise<string[]> {
    return this.#ask(async () => namesIn(await this.#config.query(listId(this.#prefix, folder))));
  }

  watch(key: string, sink: StoreSink): { close(): void } {
    const id = this.#id(key);
    let known: string | null = null;
    const look = async (signal: AbortSignal) => {
      const before = known;
      known = null;
      if (before !== null) await this.#ask(() => this.#nextChange(id, before, signal));
      const stored = await this.get(key);
      known = stored?.revision ?? '';
      return stored;
    };
    return this.#polls.watch(look, sink);
  }

  async close(): Promise<void> {
    this.#polls.close();
    this.#tell(new OperationError('store-closed', `${this.address} was closed`));
    this.#config.close();
    await this.#asker.close();
  }

  #id(key: string): string {
    return dataIdOf(`${this.#prefix}/${key}`);
  }

  /** Resolves when a config may have another MD5 than that. */
  async #nextChange(id: string, md5: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = new AbortController();
      // Before the server is asked: a push may come before its answer.
      const subscription = this.#config.subscribe(id, () => woken.abort());
      try {
        if (await this.#config.listen(id, md5)) return;
        await pause(ASK_MS, AbortSignal.any([signal, woken.signal]));
      } finally {
        subscription.close();
      }
      if (woken.signal.aborted) return;
    }
  }

  /** Writes if the config has that MD5 (null: if there is none), and waits until it is told. */
  async #exchange(id: string, content: string, expected: string | null): Promise<boolean> {
    const isWritten = (await this.#compares())
      ? await this.#publishIf(id, content, expected)
      : await this.#lock.hold(async () => {
          if (((await this.#config.query(id))?.md5 ?? null) !== expected) return false;
          return this.#config.publish(id, content);
        });
    if (isWritten) await this.#untilTold(id, (md5) => md5 !== expected || md5 === md5Of(content));
    return isWritten;
  }

  async #publishIf(id: string, content: string, expected: string | null): Promise<boolean> {
    // Where nothing is, Nacos writes whatever is expected.
    if (expected !== null && (await this.#config.query(id)) === null) return false;
    try {
      return await this.#config.publish(id, content, expected ?? NEVER);
    } catch (error) {
      // Two that write where nothing was: the database refuses the second one in its own words.
      if (expected !== null || (error as OperationError).code !== 'registry-error') throw error;
      await this.#untilTold(id, (md5) => md5 !== null);
      if ((await this.#config.query(id)) === null) throw error;
      return false;
    }
  }

  /** Whether the server compares what is there with what a write expects. Asked once, by writing what must be refused the second time. */
  #compares(): Promise<boolean> {
    const id = dataIdOf(`${this.#prefix}//compares`);
    // Of two that ask for the first time together one is refused by the database.
    const write = () =>
      this.#config.publish(id, 'Evenkeel asks by this whether the server honours casMd5.', NEVER).catch((error) => {
        if ((error as OperationError).code !== 'registry-error') throw error;
        return false;
      });
    this.#comparing ??= (async () => !((await write()) && (await write())))();
    this.#comparing.catch(() => {
      this.#comparing = null;
    });
    return this.#comparing;
  }

  async #untilTold(id: string, isIt: (md5: string | null) => boolean): Promise<void> {
    for (let waitedMs = 0; waitedMs < TOLD_MS; waitedMs += LOOK_MS) {
      if (isIt((await this.#config.query(id))?.md5 ?? null)) return;
      await setTimeout(LOOK_MS);
    }
    // r-nacos says yes to writes that it drops while it has no leader.
    throw new OperationError('registry-error', `${id} was taken and is not told`, { retryable: true });
  }

  /** Before the key is written: of a name without a key nobody takes notice. */
  async #enlist(key: string): Promise<void> {
    const { folder, name } = foldedKey(key);
    await this.#rename(folder, (names) => (names.includes(name) ? null : [...names, name]));
  }

  /** `change` gives the names there should be, null when they are right. */
  async #rename(folder: string | null, change: (names: string[]) => string[] | null): Promise<void> {
    if (folder === null) return;
    const id = listId(this.#prefix, folder);
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      const item = await this.#config.query(id);
      const next = change(namesIn(item));
      if (next === null || (await this.#exchange(id, JSON.stringify(next), item?.md5 ?? null))) return;
      await setTimeout(this.#random() * LOOK_MS);
    }
    throw new OperationError('registry-error', `the names in ${folder} are changed all the time`, { retryable: true });
  }

  async #ask<T>(act: () => Promise<T>): Promise<T> {
    try {
      await this.#connection();
      return await act();
    } catch (error) {
      const { code, message, retryable } = error as OperationError;
      if (!code?.startsWith('registry-')) throw error;
      if (code === 'registry-denied')
        throw new OperationError('store-refused', `${this.address}: ${message}; set NACOS_USERNAME and NACOS_PASSWORD`);
      throw new OperationError('store-unreachable', `${this.address} cannot be used: ${message}`, {
        retryable,
        cause: error,
      });
    }
  }

  async #connection(): Promise<void> {
    if (!this.#isStarted) this.#config.start();
    this.#isStarted = true;
    if (this.#config.isConnected) return;
    if (this.#failure !== null) throw this.#failure;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = (error: OperationError | null) => (error === null ? resolve() : reject(error));
    this.#waiters.add(waiter);
    const late = new OperationError('registry-timeout', 'no answer in time', { retryable: true });
    const timer = globalThis.setTimeout(waiter, PATIENCE_MS, late);
    await promise.finally(() => {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    });
  }

  #connected(): void {
    this.#failures = 0;
    this.#failure = null;
    this.#tell(null);
  }

  /** Whoever waits does so until every server was tried. */
  #lost(error: OperationError): void {
    if (++this.#failures < this.#servers) return;
    this.#failure = error;
    this.#tell(error);
  }

  #tell(error: OperationError | null): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter(error);
  }
}

function md5Of(content: string): string {
  return createHash('md5').update(content).digest('hex');
}

export const nacosStore: StoreKind = {
  scheme: 'nacos',
  summary:
    'configs of Nacos 2 or later (nacos://n1:8848,n2:8848/evenkeel/edge); `?namespace=ID&group=NAME&grpcPort=N`, `?tls=true&ca=FILE` for TLS, the user from NACOS_USERNAME and NACOS_PASSWORD',
  example: 'nacos://127.0.0.1:8848/evenkeel/edge',
  open: (address, context, hosts) => new NacosStore(address, context, hosts),
};
