import { Agent, type Dispatcher, request } from 'undici';
import { OperationError } from '../../base/errors.ts';
import type { ClientTls } from '../client-tls.ts';
import { EtcdStream, type StreamEvents } from './etcd-stream.ts';

/** Answers beyond this size are refused: 10 000 records with long metadata fit. */
const MAX_BODY = 64 * 1024 * 1024;

export interface EtcdClientOptions {
  /** http://host:port or https://host:port, the first that answers serves. */
  readonly origins: readonly string[];
  /** '' for no authentication. */
  readonly user: string;
  readonly password: string;
  readonly tls: ClientTls;
  /** How long a server may take to answer, in ms. */
  readonly timeoutMs: number;
}

/** One key as etcd keeps it. Revisions are of the whole store: an absent key has the revision 0. */
export interface EtcdRecord {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  /** With whose end the key goes; '0' for none. */
  readonly lease: string;
}

export interface EtcdRange {
  readonly records: readonly EtcdRecord[];
  /** The store's when the answer was made. */
  readonly revision: number;
  readonly clusterId: string;
}

/** A record in the gateway's JSON: keys and values in base64, numbers of 64 bits as texts. */
interface RawRecord {
  readonly key: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
  readonly lease?: string;
}

/**
 * Speaks etcd's v3 API by its JSON gateway (`/v3`, etcd 3.4 and later). Used by the registry kind `etcd`; knows nothing of endpoints. Opens nothing before the first call. Rejects with an
 * OperationError: `registry-unreachable` and `registry-timeout` after every server was tried, `registry-denied` without the right, `registry-error` otherwise.
 */
export class EtcdClient {
  readonly #options: EtcdClientOptions;
  readonly #agent: Agent;
  readonly #streams = new Set<EtcdStream>();
  #at = 0;
  #token: Promise<string> | null = null;
  #closed = false;

  constructor(options: EtcdClientOptions) {
    this.#options = options;
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = options.tls;
    this.#agent = new Agent({
      connections: 16,
      pipelining: 1,
      allowH2: false,
      connect: {
        timeout: options.timeoutMs,
        keepAliveInitialDelay: 15_000,
        ca,
        cert,
        key,
        servername,
        rejectUnauthorized,
      },
    });
  }

  /** A key, or all keys that begin with it. */
  async range(
    key: string,
    { isPrefix = false, limit = 0, keysOnly = false }: { isPrefix?: boolean; limit?: number; keysOnly?: boolean } = {},
  ): Promise<EtcdRange> {
    const answer = await this.call<{ header: Header; kvs?: RawRecord[] }>('/v3/kv/range', {
      ...keysOf(key, isPrefix),
      limit,
      keys_only: keysOnly,
    });
    return {
      records: (answer.kvs ?? []).map(readEtcdRecord),
      revision: Number(answer.header.revision ?? 0),
      clusterId: answer.header.cluster_id ?? '',
    };
  }

  /** Writes a key; with a lease it goes when the lease does. */
  async put(key: string, value: Uint8Array, lease = '0'): Promise<void> {
    await this.call('/v3/kv/put', { key: encode(key), value: encode(value), lease });
  }

  /** Writes a key only while its last change is still the one of `modRevision` (0: while there is no such key); whether it was written. */
  async putIf(key: string, value: Uint8Array, modRevision: number): Promise<boolean> {
    const answer = await this.call<{ succeeded?: boolean }>('/v3/kv/txn', {
      compare: [{ key: encode(key), target: 'MOD', result: 'EQUAL', mod_revision: String(modRevision) }],
      success: [{ request_put: { key: encode(key), value: encode(value) } }],
    });
    return answer.succeeded === true;
  }

  async delete(key: string, { isPrefix = false }: { isPrefix?: boolean } = {}): Promise<void> {
    await this.call('/v3/kv/deleterange', keysOf(key, isPrefix));
  }

  /** Its ID. */
  async grantLease(ttlSeconds: number): Promise<string> {
    return (await this.call<{ ID: string }>('/v3/lease/grant', { TTL: ttlSeconds })).ID;
  }

  /** Whether the lease is still there, for its whole time again. */
  async keepLeaseAlive(id: string): Promise<boolean> {
    const answer = await this.call<{ result?: { TTL?: string } }>('/v3/lease/keepalive', { ID: id });
    return Number(answer.result?.TTL ?? 0) > 0;
  }

  /** Takes the keys of the lease away, too. */
  async revokeLease(id: string): Promise<void> {
    await this.call('/v3/lease/revoke', { ID: id });
  }

  /** Tells every change of the keys that begin with `prefix` from `startRevision` on, until it ends; it is not opened again by itself. */
  watch(prefix: string, startRevision: number, events: StreamEvents): EtcdStream {
    const body = { create_request: { ...keysOf(prefix, true), start_revision: startRevision, progress_notify: true } };
    const stream = new EtcdStream(events, (signal) => this.#open('/v3/watch', body, signal));
    this.#streams.add(stream);
    void stream.run().finally(() => this.#streams.delete(stream));
    return stream;
  }

  /** One request and its answer, for parts of the API that have no method here. */
  async call<T = unknown>(path: string, body: object): Promise<T> {
    const answer = await this.#open(path, body, AbortSignal.timeout(this.#options.timeoutMs * 4));
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of answer) {
        length += chunk.length;
        if (length > MAX_BODY) throw new Error(`an answer of more than ${MAX_BODY} bytes`);
        chunks.push(chunk);
      }
      return JSON.parse(Buffer.concat(chunks).toString()) as T;
    } catch (error) {
      throw toOperationError(error, this.#origin);
    }
  }

  /** Cuts what is under way and closes every connection. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const stream of this.#streams) stream.close();
    await this.#agent.destroy();
  }

  get #origin(): string {
    return this.#options.origins[this.#at % this.#options.origins.length];
  }

  /** The body of a successful answer. A server that cannot be reached makes way for the next one. */
  async #open(path: string, body: object, signal: AbortSignal): Promise<Dispatcher.ResponseData['body']> {
    for (let tried = 1; ; tried++) {
      if (this.#closed) throw new OperationError('registry-closed', 'the registry was closed');
      const origin = this.#origin;
      try {
        return await this.#authorised(origin, path, body, signal);
      } catch (error) {
        const failure = toOperationError(error, origin);
        const isAway = failure.code === 'registry-unreachable' || failure.code === 'registry-timeout';
        if (isAway && origin === this.#origin) this.#at++;
        if (!isAway || signal.aborted || tried >= this.#options.origins.length) throw failure;
      }
    }
  }

  async #authorised(origin: string, path: string, body: object, signal: AbortSignal) {
    const first = this.#token;
    try {
      return await this.#send(origin, path, body, signal, await this.#tokenAt(origin, signal));
    } catch (error) {
      // A token is forgotten after five minutes without use, and by a server that restarts.
      const isOld = error instanceof OperationError && error.code === 'registry-token';
      if (!isOld || first === null) throw error;
      if (this.#token === first) this.#token = null;
      return await this.#send(origin, path, body, signal, await this.#tokenAt(origin, signal));
    }
  }

  async #tokenAt(origin: string, signal: AbortSignal): Promise<string> {
    const { user: name, password } = this.#options;
    if (name === '') return '';
    this.#token ??= this.#authenticate(origin, { name, password }, signal);
    const token = this.#token;
    try {
      return await token;
    } catch (error) {
      if (this.#token === token) this.#token = null;
      throw error;
    }
  }

  async #authenticate(origin: string, who: object, signal: AbortSignal): Promise<string> {
    const answer = await this.#send(origin, '/v3/auth/authenticate', who, signal, '');
    return ((await answer.json()) as { token: string }).token;
  }

  async #send(origin: string, path: string, body: object, signal: AbortSignal, token: string) {
    const { statusCode, body: answer } = await request(origin + path, {
      dispatcher: this.#agent,
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: token }) },
      headersTimeout: this.#options.timeoutMs,
      // A watch says nothing while nothing changes.
      bodyTimeout: 0,
      signal,
    });
    if (statusCode === 200) return answer;
    throw refusal(statusCode, await answer.text(), path);
  }
}

interface Header {
  readonly cluster_id?: string;
  readonly revision?: string;
}

export function readEtcdRecord(raw: RawRecord): EtcdRecord {
  return {
    key: Buffer.from(raw.key, 'base64').toString(),
    value: Buffer.from(raw.value ?? '', 'base64'),
    createRevision: Number(raw.create_revision ?? 0),
    modRevision: Number(raw.mod_revision ?? 0),
    lease: raw.lease ?? '0',
  };
}

/** All keys from a prefix on are those up to the prefix with its last byte raised. */
function keysOf(key: string, isPrefix: boolean): { key: string; range_end?: string } {
  if (!isPrefix) return { key: encode(key) };
  const end = Buffer.from(key);
  end[end.length - 1]++;
  return { key: encode(key), range_end: encode(end) };
}

function encode(value: string | Uint8Array): string {
  return Buffer.from(value as string).toString('base64');
}

function refusal(status: number, text: string, path: string): OperationError {
  let why = text.slice(0, 200).trim();
  let code = 0;
  try {
    const answer = JSON.parse(text) as { error?: string; message?: string; code?: number };
    why = answer.message ?? answer.error ?? why;
    code = answer.code ?? 0;
  } catch {
    // A page of something on the way: its text has to do.
  }
  const told = `etcd refuses ${path} (${status}: ${why})`;
  if (/invalid auth token/.test(why)) return new OperationError('registry-token', told, { retryable: true });
  if (/permission denied|authentication|user name is empty/.test(why) || status === 401 || status === 403)
    return new OperationError('registry-denied', `${told}; see to the registry's user, password and role`);
  // 14: no leader, or the request timed out among the servers.
  if (code === 14 || status === 503) return new OperationError('registry-unreachable', told, { retryable: true });
  return new OperationError('registry-error', told, { retryable: status >= 500 });
}

function toOperationError(error: unknown, origin: string): OperationError {
  if (error instanceof OperationError) return error;
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_CONNECT_TIMEOUT' || name === 'TimeoutError')
    return new OperationError('registry-timeout', `${origin} does not answer in time`, {
      retryable: true,
      cause: error,
    });
  const why =
    code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached: ${message || code || String(error)}`;
  return new OperationError('registry-unreachable', `${origin} ${why}`, { retryable: true, cause: error });
}
