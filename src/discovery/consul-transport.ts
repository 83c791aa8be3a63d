import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { buildConnector, Client, type Dispatcher, Pool } from 'undici';
import { OperationError } from '../base/errors.ts';
import type { ClientTls } from '../stores/client-tls.ts';

/** Bodies beyond this size are refused: 10 000 endpoints with long metadata fit four times. */
const MAX_BODY = 256 * 1024 * 1024;

/** Consul lets 250 streams share an HTTP/2 connection; some are left for heartbeats and pings. */
const STREAMS_PER_CONNECTION = 200;

/** Whether a request waits at the server. Waiting ones are spread over HTTP/2 connections by `lane`, a small integer of the asker's own. */
export interface ConsulRequest {
  readonly method: 'GET' | 'PUT';
  /** With its query. */
  readonly path: string;
  readonly body?: string;
  readonly lane: number;
  /** How long the server may take to its response head, in ms. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface ConsulResponse {
  readonly status: number;
  readonly body: Buffer;
  /** Consul's own headers, lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface TransportOptions {
  /** http://host:port or https://host:port */
  readonly origin: string;
  readonly token: string;
  /** Sockets at most over plain HTTP: Consul refuses the 201st of one client address. */
  readonly connections: number;
  /** PEM texts, already read. */
  readonly tls: ClientTls;
}

/**
 * All connections of one registry. Plain HTTP takes a socket per request under way; over TLS the requests share HTTP/2 connections where
 * the server speaks it. Opens nothing before the first request. Rejects with an OperationError only; an answer of any status is a response.
 */
export class ConsulTransport {
  readonly #options: TransportOptions;
  readonly #headers: Record<string, string>;
  readonly #isTls: boolean;
  readonly #clients = new Map<number, Client>();
  #pool: Pool | null = null;
  #closed = false;
  /** Null until the first connection told. */
  #speaksHttp2: boolean | null = null;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#isTls = options.origin.startsWith('https:');
    this.#headers = { accept: 'application/json', 'user-agent': 'evenkeel' };
    if (options.token !== '') this.#headers['x-consul-token'] = options.token;
  }

  /** Whether every request under way holds a socket of its own. */
  get isSocketPerRequest(): boolean {
    return !this.#isTls || this.#speaksHttp2 === false;
  }

  async request(request: ConsulRequest): Promise<ConsulResponse> {
    if (this.#closed) throw new OperationError('registry-closed', 'the registry was closed');
    try {
      return await this.#send(request);
    } catch (error) {
      throw toOperationError(error, this.#options.origin);
    }
  }

  /** Cuts what is under way and closes every connection. */
  async close(): Promise<void> {
    this.#closed = true;
    const dispatchers: Dispatcher[] = [...this.#clients.values()];
    if (this.#pool !== null) dispatchers.push(this.#pool);
    this.#clients.clear();
    this.#pool = null;
    await Promise.all(dispatchers.map((dispatcher) => dispatcher.destroy()));
  }

  async #send({ method, path, body, lane, timeoutMs, signal }: ConsulRequest): Promise<ConsulResponse> {
    const response = await this.#dispatcher(lane).request({
      method,
      path,
      body: body ?? null,
      headers: body === undefined ? this.#headers : { ...this.#headers, 'content-type': 'application/json' },
      // undici's own limit of 300 s would end a long poll as a failure.
      headersTimeout: Math.ceil(timeoutMs),
      bodyTimeout: 30_000,
      signal,
    });
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response.body) {
      length += chunk.length;
      if (length > MAX_BODY) throw new Error(`an answer of more than ${MAX_BODY} bytes`);
      chunks.push(chunk);
    }
    return {
      status: response.statusCode,
      headers: response.headers,
      body: chunks.length === 1 ? chunks[0] : Buffer.concat(chunks),
    };
  }

  #dispatcher(lane: number): Dispatcher {
    if (this.isSocketPerRequest) {
      this.#pool ??= new Pool(this.#options.origin, {
        connections: this.#options.connections,
        pipelining: 1,
        allowH2: false,
        connect: this.#connector(false),
      });
      return this.#pool;
    }
    const index = Math.floor(lane / STREAMS_PER_CONNECTION);
    let client = this.#clients.get(index);
    if (client === undefined) {
      client = new Client(this.#options.origin, {
        pipelining: 1,
        allowH2: true,
        // Pings of its own: a frozen server is found without waiting for the poll to time out.
        h2Options: { maxConcurrentStreams: STREAMS_PER_CONNECTION + 40, pingInterval: 10_000 },
        connect: this.#connector(true),
      });
      this.#clients.set(index, client);
    }
    return client;
  }

  #connector(http2: boolean): buildConnector.connector {
    const { ca, cert, key, serverName, verify } = this.#options.tls;
    const connect = buildConnector({
      timeout: 3000,
      keepAliveInitialDelay: 15_000,
      allowH2: http2,
      preferH2: http2,
      ...(this.#isTls ? { ca, cert, key, servername: serverName, rejectUnauthorized: verify } : {}),
    } as buildConnector.BuildOptions);
    if (!http2) return connect;
    return (target, callback) => {
      connect(target, (...result) => {
        const [error, socket] = result;
        if (error !== null) return callback(error, null);
        this.#speaksHttp2 = (socket as TLSSocket).alpnProtocol === 'h2';
        if (this.#speaksHttp2) return callback(null, socket);
        // One HTTP/1 connection cannot carry 200 polls: the request fails, and the next attempt takes the pool of sockets.
        (socket as Socket).destroy();
        callback(new Error('the server does not speak HTTP/2; going on with HTTP/1.1'), null);
      });
    };
  }
}

function toOperationError(error: unknown, origin: string): OperationError {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT' || name === 'TimeoutError')
    return new OperationError('registry-timeout', `${origin} does not answer in time`, {
      retryable: true,
      cause: error,
    });
  const why =
    code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached: ${message || code || String(error)}`;
  return new OperationError('registry-unreachable', `${origin} ${why}`, { retryable: true, cause: error });
}
