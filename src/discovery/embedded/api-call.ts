import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Answer } from './answer.ts';
import { ApiError } from './api-error.ts';
import { type Fields, parseObject } from './json-fields.ts';

/** Bytes of a request body; Consul's own limit. */
export const BODY_LIMIT = 512 * 1024;
/** Past this much of a body that is too long nobody reads on: the answer may be lost to the client. */
const DISCARD_LIMIT = 16 * 1024 * 1024;

/** One request to the API and the way to answer it. A handler answers once, or throws ApiError before it has. */
export class ApiCall {
  readonly method: string;
  /** Decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** What follows the route's prefix; '' where the route is the whole path. Set by the router. */
  rest = '';
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  /** Throws ApiError when the target cannot be read. */
  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    this.method = request.method ?? 'GET';
    const target = request.url ?? '/';
    const mark = target.indexOf('?');
    this.query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
    this.path = decodePath(mark === -1 ? target : target.slice(0, mark));
  }

  /** The address the request came from, IPv4 without its IPv6 prefix. */
  get peer(): string {
    const address = this.#request.socket.remoteAddress ?? '127.0.0.1';
    return address.startsWith('::ffff:') ? address.slice(7) : address;
  }

  get answered(): boolean {
    return this.#response.headersSent || this.#response.destroyed;
  }

  /** Present, whatever its value: Go clients send `flag=`, others `flag=true`. */
  flag(name: string): boolean {
    return this.query.has(name);
  }

  onGone(listener: () => void): void {
    this.#response.once('close', listener);
  }

  notGone(listener: () => void): void {
    this.#response.removeListener('close', listener);
  }

  empty(status = 200, headers: readonly string[] = []): void {
    this.#response.writeHead(status, ['Vary', 'Accept-Encoding', ...headers, 'Content-Length', '0']);
    this.#response.end();
  }

  /** A path nobody serves. */
  notFound(): void {
    this.#response.writeHead(404, ['Content-Length', '0']);
    this.#response.end();
  }

  text(status: number, text: string, headers: readonly string[] = [], type = 'text/plain; charset=utf-8'): void {
    const body = Buffer.from(text);
    const length = ['Content-Length', String(body.length), 'Content-Type', type];
    this.#response.writeHead(status, ['Vary', 'Accept-Encoding', ...headers, ...length]);
    this.#response.end(body);
  }

  /** Bytes that a client gave us: no browser is to make anything of them. */
  raw(body: Buffer, headers: readonly string[]): void {
    const harmless = ['Content-Security-Policy', 'sandbox', 'X-Content-Type-Options', 'nosniff'];
    const content = ['Content-Type', 'text/plain', 'Content-Length', String(body.length)];
    this.#response.writeHead(200, ['Vary', 'Accept-Encoding', ...headers, ...harmless, ...content]);
    this.#response.end(body);
  }

  json(answer: Answer, status = 200, headers: readonly string[] = []): void {
    const gzip = this.#acceptsGzip() ? answer.gzip() : null;
    const body = gzip ?? answer.body;
    const encoding = gzip === null ? [] : ['Content-Encoding', 'gzip'];
    const head = ['Content-Type', 'application/json', 'Vary', 'Accept-Encoding', ...headers, ...encoding];
    this.#response.writeHead(status, [...head, 'Content-Length', String(body.length)]);
    this.#response.end(body);
  }

  /** The body as a JSON object. */
  async fields(): Promise<Fields> {
    return parseObject(await this.body());
  }

  /** What was sent. What is too long is read on for a while and dropped: an answer sent into a stream that still comes is lost to a reset. */
  async body(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of this.#request) {
      length += (chunk as Buffer).length;
      if (length <= BODY_LIMIT) chunks.push(chunk as Buffer);
      else if (length > DISCARD_LIMIT) break;
    }
    if (length <= BODY_LIMIT) return Buffer.concat(chunks, length);
    this.#response.setHeader('Connection', 'close');
    throw new ApiError(413, `Request body too large, max size: ${BODY_LIMIT} bytes.`);
  }

  #acceptsGzip(): boolean {
    const accepted = String(this.#request.headers['accept-encoding'] ?? '');
    return accepted.split(',').some((part) => {
      const [coding, ...parameters] = part.split(';').map((word) => word.trim());
      return (coding === 'gzip' || coding === '*') && !parameters.some((word) => /^q=0(\.0*)?$/.test(word));
    });
  }
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new ApiError(400, 'Bad request: the path is not valid percent-encoding');
  }
}
