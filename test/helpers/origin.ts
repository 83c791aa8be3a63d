import { createServer, type Server, type Socket } from 'node:net';
import { ChunkedDecoder, Fields, parseHead } from './http-message.ts';

/** A request as it reached an endpoint. */
export interface OriginRequest {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly fields: Fields;
  /** Number of its connection, from 0, and its own number on it. */
  readonly connection: number;
  readonly onConnection: number;
  /** The payload so far; whole once `ended` resolved. */
  readonly body: Buffer;
  readonly bodyBytes: number;
  readonly trailers: Fields;
  /** Resolves when the whole request is here; never when it is cut. */
  readonly ended: Promise<void>;
  /** Resolves when the connection ends or resets before the request was answered. */
  readonly gone: Promise<'end' | 'reset'>;
  /** Takes the payload as it comes in place of collecting it. */
  onData: ((piece: Buffer) => void) | null;
}

/** How a handler answers. Everything is written as it is said. */
export interface OriginReply {
  readonly socket: Socket;
  /** Bytes as they are. */
  raw(bytes: string | Buffer): OriginReply;
  /** A whole response with content-length (unless a line frames it). */
  send(status: number, body?: string | Buffer, lines?: readonly string[]): OriginReply;
  /** FIN. */
  end(): void;
  /** RST. */
  reset(): void;
}

export type OriginHandler = (request: OriginRequest, reply: OriginReply) => void | Promise<void>;

export interface OriginOptions {
  readonly port?: number;
  /** Called at the end of a request's head. Without it: 200 with the origin's name. */
  readonly handler?: OriginHandler;
  /** Takes over a connection; return true to keep the HTTP reader away from it. */
  readonly onConnection?: (socket: Socket, index: number) => boolean | undefined;
  readonly name?: string;
}

/** A scriptable HTTP/1.1 endpoint on a raw socket. Whoever starts one closes it. */
export interface Origin extends AsyncDisposable {
  readonly name: string;
  readonly port: number;
  /** `127.0.0.1:port`, as in a document. */
  readonly address: string;
  /** Every request, in the order of their heads. */
  readonly requests: OriginRequest[];
  /** Connections accepted so far, and those open now. */
  readonly connections: number;
  readonly open: number;
  handler: OriginHandler;
  /** Faults of the framing it was sent: what a test must find empty. */
  readonly faults: string[];
  /** Ends connections that are open, with FIN or RST. */
  endAll(how: 'end' | 'reset'): void;
  close(): Promise<void>;
}

class Incoming implements OriginRequest {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly fields: Fields;
  readonly connection: number;
  readonly onConnection: number;
  trailers = new Fields([]);
  bodyBytes = 0;
  onData: ((piece: Buffer) => void) | null = null;
  readonly #ended = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<'end' | 'reset'>();
  readonly #pieces: Buffer[] = [];

  constructor(startLine: string, fields: Fields, connection: number, onConnection: number) {
    [this.method, this.target, this.version] = startLine.split(' ');
    this.fields = fields;
    this.connection = connection;
    this.onConnection = onConnection;
  }

  get body(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get gone(): Promise<'end' | 'reset'> {
    return this.#gone.promise;
  }

  take(piece: Buffer): void {
    this.bodyBytes += piece.length;
    if (this.onData !== null) this.onData(piece);
    else this.#pieces.push(piece);
  }

  end(trailers: Fields): void {
    this.trailers = trailers;
    this.#ended.resolve();
  }

  cut(how: 'end' | 'reset'): void {
    this.#gone.resolve(how);
  }
}

/** Reads the requests of one connection and hands each to the handler when its head is here, in order. */
class Connection {
  readonly #socket: Socket;
  readonly #index: number;
  readonly #onRequest: (request: Incoming, reply: OriginReply) => void;
  readonly #onFault: (fault: string) => void;
  #buffer: Buffer = Buffer.alloc(0);
  #current: Incoming | null = null;
  #left = 0;
  #decoder: ChunkedDecoder | null = null;
  #count = 0;

  constructor(
    socket: Socket,
    index: number,
    onRequest: (request: Incoming, reply: OriginReply) => void,
    onFault: (fault: string) => void,
  ) {
    this.#socket = socket;
    this.#index = index;
    this.#onRequest = onRequest;
    this.#onFault = onFault;
    const requests: Incoming[] = [];
    const cut = (how: 'end' | 'reset') => requests.forEach((one) => one.cut(how));
    this.#track = (one) => requests.push(one);
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    socket.on('end', () => cut('end'));
    socket.on('error', () => cut('reset'));
    socket.on('close', () => cut('end'));
  }

  readonly #track: (one: Incoming) => void;

  #read(bytes: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? bytes : Buffer.concat([this.#buffer, bytes]);
    try {
      while (this.#buffer.length > 0 && this.#step());
    } catch (error) {
      this.#onFault(String(error));
      this.#socket.destroy();
    }
  }

  #step(): boolean {
    if (this.#current === null) return this.#head();
    const current = this.#current;
    if (this.#decoder !== null) {
      const decoder = this.#decoder;
      const bytes = this.#buffer;
      this.#buffer = Buffer.alloc(0);
      this.#buffer = decoder.feed(bytes, (piece) => current.take(piece));
      if (decoder.done) this.#finish(decoder.trailers);
      return decoder.done;
    }
    const piece = this.#buffer.subarray(0, this.#left);
    this.#buffer = this.#buffer.subarray(piece.length);
    this.#left -= piece.length;
    current.take(piece);
    if (this.#left === 0) this.#finish(new Fields([]));
    return true;
  }

  #head(): boolean {
    const head = parseHead(this.#buffer);
    if (head === null) return false;
    this.#buffer = this.#buffer.subarray(head.end);
    const request = new Incoming(head.startLine, head.fields, this.#index, this.#count++);
    this.#track(request);
    const length = head.fields.get('content-length');
    const isChunked = head.fields.get('transfer-encoding') !== undefined;
    if (length !== undefined && isChunked) throw new Error('content-length beside transfer-encoding');
    this.#decoder = isChunked ? new ChunkedDecoder() : null;
    this.#left = Number(length ?? 0);
    const hasBody = isChunked || this.#left > 0;
    this.#current = request;
    this.#onRequest(request, replyOn(this.#socket));
    if (!hasBody) this.#finish(new Fields([]));
    return true;
  }

  #finish(trailers: Fields): void {
    const current = this.#current as Incoming;
    this.#current = null;
    current.end(trailers);
  }
}

export async function startOrigin(options: OriginOptions | OriginHandler = {}): Promise<Origin> {
  const { port = 0, handler, onConnection, name = '' } = typeof options === 'function' ? { handler: options } : options;
  const requests: Incoming[] = [];
  const faults: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const origin = {
    name,
    handler: handler ?? ((_, reply) => void reply.send(200, name)),
  } as { handler: OriginHandler; name: string };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const index = connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    if (onConnection?.(socket, index) === true) return;
    // An endpoint closes when its client does.
    socket.on('end', () => socket.end());
    const onRequest = (request: Incoming, reply: OriginReply) => {
      requests.push(request);
      Promise.resolve(origin.handler(request, reply)).catch((error) => faults.push(String(error)));
    };
    new Connection(socket, index, onRequest, (fault) => faults.push(fault));
  });
  await listen(server, port);
  const bound = (server.address() as { port: number }).port;
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  return Object.defineProperties(origin, {
    port: { value: bound },
    address: { value: `127.0.0.1:${bound}` },
    requests: { value: requests },
    faults: { value: faults },
    connections: { get: () => connections },
    open: { get: () => sockets.size },
    endAll: {
      value: (how: 'end' | 'reset') => {
        for (const socket of sockets) how === 'end' ? socket.end() : socket.resetAndDestroy();
      },
    },
    close: { value: close },
    [Symbol.asyncDispose]: { value: close },
  }) as unknown as Origin;
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

function replyOn(socket: Socket): OriginReply {
  const reply: OriginReply = {
    socket,
    raw(bytes) {
      socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
      return reply;
    },
    send(status, body = '', lines = []) {
      const payload = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
      const isFramed = lines.some((line) => /^(content-length|transfer-encoding):/i.test(line));
      const all =
        isFramed || status === 204 || status === 304 ? lines : [...lines, `content-length: ${payload.length}`];
      const head = `HTTP/1.1 ${status} ${status === 200 ? 'OK' : 'Status'}\r\n${all.map((line) => `${line}\r\n`).join('')}\r\n`;
      socket.write(Buffer.concat([Buffer.from(head, 'latin1'), payload]));
      return reply;
    },
    end: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
  };
  return reply;
}
