import { connect, type Socket } from 'node:net';
import { ChunkedDecoder, Fields, type Head, parseHead } from './http-message.ts';

export interface RawResponse {
  readonly status: number;
  readonly reason: string;
  readonly version: string;
  readonly fields: Fields;
  readonly body: Buffer;
  readonly text: string;
  readonly trailers: Fields;
  /** Interim responses that came before it. */
  readonly interim: readonly { readonly status: number; readonly fields: Fields }[];
}

export interface RawClientOptions {
  readonly host?: string;
  /** Address to connect from. */
  readonly localAddress?: string;
  /** Takes no bytes until `resume()`. */
  readonly paused?: boolean;
}

/** A client of which a test says every byte. Reads responses by its own strict parser. */
export class RawClient implements AsyncDisposable {
  readonly socket: Socket;
  #pieces: Buffer[] = [];
  /** Length of `received`. */
  receivedLength = 0;
  /** All bytes received so far. */
  receivedBytes = 0;
  /** Times at which bytes came (performance.now()). */
  lastByteMs = 0;
  /** The other side ended: `end` by FIN, `reset` by RST. */
  over: 'end' | 'reset' | null = null;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#pieces.push(bytes);
      this.receivedLength += bytes.length;
      this.receivedBytes += bytes.length;
      this.lastByteMs = performance.now();
      this.#wake();
    });
    socket.on('end', () => this.#end('end'));
    socket.on('error', () => this.#end('reset'));
    socket.on('close', () => this.#end('end'));
  }

  #end(how: 'end' | 'reset'): void {
    // A reset may follow data that was read before: the first thing noticed counts, but an error tells more than a close.
    this.over ??= how;
    this.#wake();
  }

  /** Bytes received and not yet taken by `response()` or `take()`. */
  get received(): Buffer {
    if (this.#pieces.length !== 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0];
  }

  write(bytes: string | Buffer): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** Sends FIN. */
  end(): void {
    this.socket.end();
  }

  /** Sends RST. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Sends a request with `host: story` (unless a line says otherwise) and reads its response. */
  async ask(method: string, target: string, lines: readonly string[] = [], body = ''): Promise<RawResponse> {
    this.write(request(method, target, lines, body));
    return this.response({ isHead: method === 'HEAD' });
  }

  /** The next response, whole. Rejects when the connection ends within it or `timeoutMs` is over. */
  async response({ isHead = false, timeoutMs = 10_000 } = {}): Promise<RawResponse> {
    const interim: { status: number; fields: Fields }[] = [];
    for (;;) {
      const head = await this.head(timeoutMs);
      const status = statusOf(head);
      if (status < 200 && status !== 101) {
        interim.push({ status, fields: head.fields });
        continue;
      }
      return this.#body(head, status, interim, isHead, timeoutMs);
    }
  }

  /** The next head, 1xx ones too; what follows stays in `received`. */
  async head(timeoutMs = 10_000): Promise<Head> {
    const head = await this.until(() => parseHead(this.received), 'a response head', timeoutMs);
    this.take(head.end);
    return head;
  }

  async #body(
    head: Head,
    status: number,
    interim: RawResponse['interim'],
    isHead: boolean,
    timeoutMs: number,
  ): Promise<RawResponse> {
    const [version, , ...reason] = head.startLine.split(' ');
    const whole = (body: Buffer, trailers = new Fields([])): RawResponse => {
      const text = body.toString('latin1');
      return { status, reason: reason.join(' '), version, fields: head.fields, body, text, trailers, interim };
    };
    if (isHead || status === 101 || status === 204 || status === 304) return whole(Buffer.alloc(0));
    const length = head.fields.get('content-length');
    if (head.fields.get('transfer-encoding') !== undefined) {
      if (length !== undefined) throw new Error('content-length beside transfer-encoding');
      return this.#chunked(whole, timeoutMs);
    }
    if (length === undefined) {
      await this.until(() => this.over, 'the end', timeoutMs);
      if (this.over === 'reset') throw new Error(`reset within a body, after ${this.received.length} bytes`);
      return whole(this.take(this.received.length));
    }
    const size = Number(length);
    await this.until(() => this.receivedLength >= size || null, `${size} bytes of body`, timeoutMs);
    return whole(this.take(size));
  }

  async #chunked(whole: (body: Buffer, trailers: Fields) => RawResponse, timeoutMs: number): Promise<RawResponse> {
    const decoder = new ChunkedDecoder();
    const pieces: Buffer[] = [];
    const feed = () => {
      if (this.receivedLength > 0) {
        const rest = decoder.feed(this.take(this.receivedLength), (piece) => pieces.push(piece));
        this.#pieces = [rest];
        this.receivedLength = rest.length;
      }
      return decoder.done || null;
    };
    await this.until(feed, 'the last chunk', timeoutMs);
    return whole(Buffer.concat(pieces), decoder.trailers);
  }

  /** Takes `count` bytes that are there. */
  take(count: number): Buffer {
    const all = this.received;
    this.#pieces = [all.subarray(count)];
    this.receivedLength = this.#pieces[0].length;
    return all.subarray(0, count);
  }

  /** Resolves with the first value of `look` that is not null, looked for whenever bytes come; rejects when the connection ends first. */
  async until<T>(look: () => T | null, what: string, timeoutMs = 10_000): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = look();
      if (found !== null) return found;
      const left = deadline - performance.now();
      if (this.over !== null || left <= 0) {
        const why = this.over === null ? `no ${what} within ${timeoutMs} ms` : `${this.over} before ${what}`;
        const seen = JSON.stringify(this.received.toString('latin1', 0, 300));
        throw new Error(`${why}; received ${this.receivedLength}: ${seen}`);
      }
      await this.#awoken(left);
    }
  }

  #awoken(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** How the other side ended, once it has. */
  async ended(timeoutMs = 10_000): Promise<'end' | 'reset'> {
    const deadline = performance.now() + timeoutMs;
    while (this.over === null) {
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`still open after ${timeoutMs} ms; received ${this.received.length} bytes`);
      await this.#awoken(left);
    }
    return this.over;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
  }
}

export async function rawClient(port: number, options: RawClientOptions = {}): Promise<RawClient> {
  const { host = '127.0.0.1', localAddress, paused } = options;
  const socket = connect({ port, host, localAddress, allowHalfOpen: true, noDelay: true });
  const client = new RawClient(socket);
  if (paused === true) client.pause();
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return client;
}

/** One request on a connection of its own. */
export async function ask(
  port: number,
  method: string,
  target: string,
  lines: readonly string[] = [],
  body = '',
): Promise<RawResponse> {
  await using client = await rawClient(port);
  return await client.ask(method, target, lines, body);
}

/** The bytes of a request; `content-length` is added for a body that has no framing of its own. */
export function request(method: string, target: string, lines: readonly string[] = [], body = ''): string {
  const says = (name: string) => lines.some((line) => line.toLowerCase().startsWith(`${name}:`));
  const all = [...(says('host') ? [] : ['host: story']), ...lines];
  if (body !== '' && !says('transfer-encoding') && !says('content-length')) all.push(`content-length: ${body.length}`);
  return `${method} ${target} HTTP/1.1\r\n${all.map((line) => `${line}\r\n`).join('')}\r\n${body}`;
}

function statusOf(head: Head): number {
  const match = /^HTTP\/1\.[01] (\d{3})( |$)/.exec(head.startLine);
  if (match === null) throw new Error(`not a status line: ${JSON.stringify(head.startLine)}`);
  return Number(match[1]);
}
