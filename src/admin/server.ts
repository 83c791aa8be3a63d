import type { AddressInfo, Server } from 'node:net';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { OperationError } from '../base/errors.ts';
import { formatHostPort } from '../base/literals.ts';
import type { Logger } from '../telemetry/log.ts';
import { sendError } from './api-error.ts';
import { type ApiContext, addApiRoutes } from './api-routes.ts';
import { EventStream } from './event-stream.ts';
import { Guard, isLoopbackName } from './guard.ts';
import { type Page, readPages } from './pages.ts';

const BODY_LIMIT = 64 * 1024;
const MAX_CONNECTIONS = 256;
const REQUEST_TIMEOUT_MS = 15_000;

/** Nothing of the API may be framed, sniffed, cached or read by other sites; no CORS header is ever sent. */
const API_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};
const PAGE_HEADERS: Readonly<Record<string, string>> = {
  ...API_HEADERS,
  'cache-control': 'no-cache',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/** What answers without a token. */
const HEALTH_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

export interface AdminServerOptions extends Omit<ApiContext, 'stream' | 'headers'> {
  /** Where to listen: address without brackets, port (0 = any). */
  readonly host: string;
  readonly port: number;
  /** '' for none, on loopback only. */
  readonly token: string;
  readonly log: Logger;
  /** Time between two signs of life on the event stream. */
  readonly heartbeatMs?: number;
}

/** The admin API, `/metrics` and the dashboard, on a port of their own, on main. Constructed with the document, started first, closed last. */
export class AdminServer {
  readonly #options: AdminServerOptions;
  #guard: Guard;
  readonly #stream: EventStream;
  #fastify: FastifyInstance | null = null;
  #isLeaving = false;

  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#guard = new Guard(options.token, options.host);
    this.#stream = new EventStream(options.events, options.heartbeatMs);
  }

  /**
   * Starts to listen; resolves with `address:port`. Rejects with an OperationError when the address cannot be had. `inherit` has a server that listens
   * already, of another process; asked for when everything else is ready.
   */
  async start(inherit?: () => Promise<Server>): Promise<string> {
    const { host, port, token } = this.#options;
    if (token === '' && !isLoopbackName(host)) {
      throw new OperationError('admin-token', `admin.bind ${host} is beyond loopback: set admin.token`);
    }
    this.#fastify = this.#build(await readPages());
    try {
      if (inherit === undefined) await this.#fastify.listen({ host, port });
      else await goOn(this.#fastify, inherit);
    } catch (error) {
      await this.close();
      throw bindError(error as NodeJS.ErrnoException, formatHostPort(host, port));
    }
    this.#stream.start();
    const bound = this.#fastify.server.address() as AddressInfo;
    return formatHostPort(bound.address, bound.port);
  }

  /** What listens; null before `start` and after `close`. */
  get server(): Server | null {
    return this.#fastify?.server ?? null;
  }

  /** Another process listens here now: what is under way is answered, and no connection is kept for more. */
  leave(): void {
    this.#isLeaving = true;
    this.#fastify?.server.close();
  }

  /** Asks for another token from the next request on; '' for none, on loopback only. */
  setToken(token: string): void {
    this.#guard = new Guard(token, this.#options.host);
  }

  /** Ends the event streams and every connection. */
  async close(): Promise<void> {
    this.#stream.close();
    await this.#fastify?.close();
    this.#fastify = null;
  }

  #build(pages: readonly Page[]): FastifyInstance {
    const server = fastify({
      logger: false,
      bodyLimit: BODY_LIMIT,
      requestTimeout: REQUEST_TIMEOUT_MS,
      forceCloseConnections: true,
      routerOptions: { maxParamLength: 512 },
    });
    server.server.maxConnections = MAX_CONNECTIONS;
    const open = new Set([...HEALTH_PATHS, ...pages.map((page) => page.path)]);
    server.addHook('onSend', (_request, reply, _payload, done) => {
      if (this.#isLeaving) reply.header('connection', 'close');
      done();
    });
    server.addHook('onRequest', (request, reply, done) => this.#admit(request, reply, open, done));
    acceptJsonOfAnyType(server);
    server.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => this.#fail(error, reply));
    server.setNotFoundHandler((request, reply) =>
      sendError(reply, 404, 'not-found', `no ${request.method} ${pathOf(request)}`),
    );
    for (const page of pages) {
      server.get(page.path, (_request, reply) => reply.headers(PAGE_HEADERS).type(page.contentType).send(page.body));
    }
    addApiRoutes(server, { ...this.#options, stream: this.#stream, headers: API_HEADERS });
    return server;
  }

  #admit(request: FastifyRequest, reply: FastifyReply, open: ReadonlySet<string>, done: () => void): void {
    reply.headers(API_HEADERS);
    const refusal = this.#guard.refuse(request.headers, open.has(pathOf(request)));
    if (refusal === null) {
      done();
      return;
    }
    if (refusal.status === 401) reply.header('www-authenticate', 'Bearer realm="evenkeel"');
    sendError(reply, refusal.status, refusal.code, refusal.message);
  }

  #fail(error: Error & { statusCode?: number }, reply: FastifyReply): void {
    const status = error.statusCode ?? 500;
    if (status < 500) {
      sendError(reply, status, 'bad-request', error.message);
      return;
    }
    this.#options.log.error({ err: error }, 'admin API failed');
    sendError(reply, 500, 'internal', 'something went wrong inside; the log tells what');
  }
}

async function goOn(fastify: FastifyInstance, inherit: () => Promise<Server>): Promise<void> {
  await fastify.ready();
  const inherited = await inherit();
  // A server listens on another one's handle from this turn of the loop on: nothing that waits in it is lost.
  fastify.server.listen(inherited);
}

/** `curl -d` without a content type works too; what protects against other sites' forms is the guard, not the type. */
function acceptJsonOfAnyType(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, body === '' ? undefined : JSON.parse(body as string));
    } catch (error) {
      done(
        Object.assign(error as Error, {
          statusCode: 400,
          message: `the body is not JSON: ${(error as Error).message}`,
        }),
      );
    }
  });
}

function pathOf(request: FastifyRequest): string {
  const end = request.url.indexOf('?');
  return end < 0 ? request.url : request.url.slice(0, end);
}

function bindError(error: NodeJS.ErrnoException, address: string): OperationError {
  const isBusy = error.code === 'EADDRINUSE';
  const message = isBusy
    ? `admin.bind ${address} is in use by another process`
    : `admin.bind ${address} cannot be bound: ${error.message}`;
  return new OperationError(isBusy ? 'address-in-use' : 'admin-bind', message, { cause: error });
}
