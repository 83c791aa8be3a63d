import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Agent, type buildConnector } from 'undici';
import { OperationError } from '../base/errors.ts';
import type { ClientTls } from './client-tls.ts';

/** Bodies beyond this size are refused: 10 000 endpoints with long metadata fit several times. */
const MAX_BODY = 256 * 1024 * 1024;

const inflate = promisify(gunzip);

export interface AskerOptions {
  /** http:// or https://, with a path or without, no slash at the end. In this order; the one that answered last is asked first. */
  readonly addresses: readonly string[];
  /** Basic authentication; '' for none. */
  readonly username: string;
  readonly password: string;
  readonly tls: ClientTls;
}

export interface Asked {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Behind the address's own path, with its query. */
  readonly path: string;
  readonly body?: string;
  /** Of the body; `application/json` by default. */
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** For each address that has to be tried, in ms. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface Answered {
  readonly status: number;
  /** Inflated. */
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Which of the addresses answered. */
  readonly address: string;
}

/**
 * Asks a store that has several addresses of equal rank over HTTP. An address that fails or answers 5xx is left for the next one, once around. Used by the
 * parts that speak to one store; opens nothing before the first request. Rejects with an OperationError only; an answer of any status is an answer.
 */
export class HttpAsker {
  readonly #options: AskerOptions;
  readonly #headers: Readonly<Record<string, string>>;
  #agent: Agent | null = null;
  #current = 0;
  #closed = false;

  constructor(options: AskerOptions) {
    this.#options = options;
    const { username, password } = options;
    const basic = Buffer.from(`${username}:${password}`).toString('base64');
    this.#headers = {
      accept: 'application/json',
      'accept-encoding': 'gzip',
      'user-agent': 'evenkeel',
      ...(username === '' && password === '' ? {} : { authorization: `Basic ${basic}` }),
    };
  }

  async ask(asked: Asked): Promise<Answered> {
    const { addresses } = this.#options;
    const first = this.#current;
    for (let turn = 0; ; turn++) {
      const at = (first + turn) % addresses.length;
      const isLast = turn === addresses.length - 1;
      if (this.#closed) throw new OperationError('registry-closed', 'the registry was closed');
      try {
        const answered = await this.#send(addresses[at], asked);
        if (answered.status >= 500 && !isLast) continue;
        this.#current = at;
        return answered;
      } catch (error) {
        if (isLast || asked.signal?.aborted || this.#closed) throw unreachable(error, addresses[at]);
      }
    }
  }

  /** The address that answered last is of no use for now: the next one is asked first. */
  skip(): void {
    this.#current = (this.#current + 1) % this.#options.addresses.length;
  }

  /** Cuts what is under way and closes every connection. */
  async close(): Promise<void> {
    this.#closed = true;
    const agent = this.#agent;
    this.#agent = null;
    await agent?.destroy();
  }

  async #send(address: string, asked: Asked): Promise<Answered> {
    const { method, path, body, contentType = 'application/json', headers, timeoutMs, signal } = asked;
    const { origin, pathname } = new URL(address);
    this.#agent ??= this.#makeAgent();
    const response = await this.#agent.request({
      origin,
      method,
      path: (pathname === '/' ? '' : pathname) + path,
      body: body ?? null,
      headers: { ...this.#headers, ...(body === undefined ? {} : { 'content-type': contentType }), ...headers },
      headersTimeout: Math.ceil(timeoutMs),
      bodyTimeout: Math.ceil(timeoutMs),
      signal,
    });
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response.body) {
      length += chunk.length;
      if (length > MAX_BODY) throw new Error(`an answer of more than ${MAX_BODY} bytes`);
      chunks.push(chunk);
    }
    const raw = Buffer.concat(chunks);
    const isPacked = response.headers['content-encoding'] === 'gzip' && raw.length > 0;
    const text = isPacked ? await inflate(raw, { maxOutputLength: MAX_BODY }) : raw;
    return { status: response.statusCode, body: text, headers: response.headers, address };
  }

  #makeAgent(): Agent {
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = this.#options.tls;
    const connect = { timeout: 3000, keepAliveInitialDelay: 15_000, ca, cert, key, servername, rejectUnauthorized };
    return new Agent({
      connections: 4,
      pipelining: 1,
      allowH2: false,
      connect: connect as buildConnector.BuildOptions,
    });
  }
}

function unreachable(error: unknown, address: string): OperationError {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  const options = { retryable: true, cause: error };
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT' || name === 'TimeoutError')
    return new OperationError('registry-timeout', `${address} does not answer in time`, options);
  const why =
    code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached: ${message || code || String(error)}`;
  return new OperationError('registry-unreachable', `${address} ${why}`, options);
}
