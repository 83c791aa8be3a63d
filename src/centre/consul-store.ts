import { Agent, request } from 'undici';
import { OperationError } from '../base/errors.ts';
import { Polls } from './polls.ts';
import type { Store, StoreContext, Stored, StoreKind, StoreSink } from './store.ts';
import { tlsOf } from './store-tls.ts';

/** Consul's limit of a value. */
const VALUE_LIMIT = 512 * 1024;
const WAIT_SECONDS = 55;
/** An answer that takes longer is an outage; a blocking query may take its wait and a sixteenth of it. */
const ANSWER_MS = 5000;
const BLOCKING_MS = Math.ceil(WAIT_SECONDS * 1100) + ANSWER_MS;

interface Entry {
  readonly Key: string;
  readonly Value: string | null;
  readonly ModifyIndex: number;
}

interface Reply {
  readonly status: number;
  readonly text: string;
  /** Consul's index of the answer; 0 where there is none. */
  readonly index: number;
}

/** Consul's KV, or that of the embedded registry, which speaks the same. A key's revision is its ModifyIndex. */
class ConsulStore implements Store {
  readonly address: string;
  readonly #base: string;
  readonly #prefix: string;
  readonly #token: string;
  readonly #agent: Agent;
  readonly #polls: Polls;

  constructor(address: URL, context: StoreContext) {
    const prefix = decodeURIComponent(address.pathname).replace(/^\/+|\/+$/g, '');
    if (address.hostname === '' || prefix === '')
      throw new OperationError('bad-store', `${address.href}: name a host and a key, as in ${consulStore.example}`);
    this.address = `consul://${address.host}/${prefix}`;
    const tls = tlsOf(address);
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = tls ?? { verify: true };
    const connect = { ca, cert, key, servername, rejectUnauthorized };
    this.#agent = new Agent({ connections: 8, headersTimeout: 0, bodyTimeout: 0, connect });
    this.#base = `${tls === null ? 'http' : 'https'}://${address.hostname}:${address.port || 8500}`;
    this.#prefix = prefix;
    this.#token = decodeURIComponent(address.password) || (context.environment.CONSUL_HTTP_TOKEN ?? '');
    this.#polls = new Polls(context.random);
  }

  async get(key: string): Promise<Stored | null> {
    return storedOf(await this.#ask('GET', this.#path(key)));
  }

  async put(key: string, text: string, expected: string | null): Promise<boolean> {
    return this.#write(`${this.#path(key)}?cas=${expected ?? '0'}`, text);
  }

  async set(key: string, text: string): Promise<void> {
    await this.#write(this.#path(key), text);
  }

  async remove(key: string): Promise<void> {
    await this.#ask('DELETE', this.#path(key));
  }

  async list(folder: string): Promise<string[]> {
    const { status, text } = await this.#ask('GET', `${this.#path(folder)}/?keys`);
    if (status === 404) return [];
    const skip = `${this.#prefix}/${folder}/`.length;
    return keysOf(text)
      .map((key) => key.slice(skip))
      .filter((key) => key !== '');
  }

  watch(key: string, sink: StoreSink): { close(): void } {
    let index = 0;
    const look = async (signal: AbortSignal) => {
      const reply = await this.#ask('GET', `${this.#path(key)}?index=${index}&wait=${WAIT_SECONDS}s`, {
        signal,
        isBlocking: index > 0,
      });
      if (reply.index === 0)
        throw new OperationError('store-garbled', `${this.address} does not answer like Consul: no X-Consul-Index`);
      // An index that went backwards is another store's: ask afresh.
      index = reply.index < index ? 0 : reply.index;
      return storedOf(reply);
    };
    return this.#polls.watch(look, sink);
  }

  async close(): Promise<void> {
    this.#polls.close();
    await this.#agent.destroy();
  }

  #path(key: string): string {
    return `/v1/kv/${`${this.#prefix}/${key}`.split('/').map(encodeURIComponent).join('/')}`;
  }

  async #write(path: string, text: string): Promise<boolean> {
    const bytes = Buffer.byteLength(text);
    if (bytes > VALUE_LIMIT)
      throw new OperationError('too-long', `${bytes} bytes are more than a Consul key holds (${VALUE_LIMIT})`);
    const reply = await this.#ask('PUT', path, { body: text });
    return reply.text.trim() === 'true';
  }

  async #ask(
    method: 'GET' | 'PUT' | 'DELETE',
    path: string,
    { body, signal, isBlocking = false }: { body?: string; signal?: AbortSignal; isBlocking?: boolean } = {},
  ): Promise<Reply> {
    const limit = AbortSignal.timeout(isBlocking ? BLOCKING_MS : ANSWER_MS);
    try {
      const response = await request(this.#base + path, {
        method,
        body,
        dispatcher: this.#agent,
        signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
        headers: this.#token === '' ? {} : { 'x-consul-token': this.#token },
      });
      const text = await response.body.text();
      const { statusCode: status, headers } = response;
      if (status !== 200 && !(status === 404 && method === 'GET')) throw refused(this.address, status, text);
      return { status, text, index: Number(headers['x-consul-index'] ?? 0) };
    } catch (error) {
      if (error instanceof OperationError) throw error;
      const { code, message } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
      throw new OperationError('store-unreachable', `${this.address} cannot be reached: ${code ?? message}`, {
        retryable: true,
        cause: error,
      });
    }
  }
}

function refused(address: string, status: number, text: string): OperationError {
  const why = text.replaceAll(/\s+/g, ' ').slice(0, 200);
  return new OperationError('store-refused', `${address} answered ${status}: ${why}`, { retryable: status >= 500 });
}

function storedOf({ status, text, index }: Reply): Stored | null {
  if (status === 404) return null;
  try {
    const [{ Value, ModifyIndex }] = JSON.parse(text) as Entry[];
    return { text: Buffer.from(Value ?? '', 'base64').toString('utf8'), revision: String(ModifyIndex) };
  } catch (error) {
    throw new OperationError('store-garbled', `the answer at index ${index} is not Consul's`, { cause: error });
  }
}

function keysOf(text: string): string[] {
  try {
    return JSON.parse(text) as string[];
  } catch (error) {
    throw new OperationError('store-garbled', "the list of keys is not Consul's", { cause: error });
  }
}

export const consulStore: StoreKind = {
  scheme: 'consul',
  summary:
    'a Consul KV prefix, or one of the embedded registry; `?tls=true&ca=FILE` for https, the token from CONSUL_HTTP_TOKEN',
  example: 'consul://127.0.0.1:8500/evenkeel/edge',
  open: (address, context) => new ConsulStore(address, context),
};
