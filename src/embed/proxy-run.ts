import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { Pool } from '../pool/pool.ts';
import { ATTEMPT_HEADER, earlierAttemptsOf } from '../proxy/attempt-header.ts';
import type { Reason } from '../proxy/listener-cells.ts';
import { isLocalError } from '../proxy/local-error.ts';
import { mayTrail } from '../wire/http1/chunked-reader.ts';
import { unmapped } from '../wire/proxy-protocol.ts';
import { Attempts, type Carrier, isIdempotent } from './attempts.ts';
import { BalancerError } from './balancer-error.ts';
import type { EndpointAgent } from './endpoint-agents.ts';
import { KeptBody } from './kept-body.ts';
import type { ProxyFaces } from './proxy-faces.ts';
import { hashOfMessage } from './request-hash.ts';
import { type RequestHeaders, requestHeaders } from './request-headers.ts';
import { showHead } from './shown-head.ts';

/** Fields of one connection (RFC 9110 §7.6.1). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'trailer'];

/** Node reads a reason phrase with these and throws when it is to write them. */
const UNWRITABLE = /[^\t\x20-\x7e\x80-\xff]/;

/** What the server's framework goes on with. */
export type Next = (error?: unknown) => void;

/** One request of a host's server on its way through a pool, carried by http-proxy-3. */
export class ProxyRun implements Carrier {
  readonly idempotent: boolean;
  readonly earlierAttempts: number;
  readonly #faces: ProxyFaces;
  readonly #pool: Pool;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #next: Next | undefined;
  readonly #headers: RequestHeaders;
  readonly #body: KeptBody;
  readonly #attempts: Attempts;
  #agent: EndpointAgent | null = null;
  #proxyRequest: ClientRequest | null = null;
  #socket: Duplex | null = null;
  #number = 0;
  /** The response is an endpoint's. */
  #isAnswering = false;

  constructor(faces: ProxyFaces, pool: Pool, request: IncomingMessage, response: ServerResponse, next?: Next) {
    this.#faces = faces;
    this.#pool = pool;
    this.#request = request;
    this.#response = response;
    this.#next = next;
    this.idempotent = isIdempotent(request.method ?? '', request.headers['idempotency-key']);
    this.earlierAttempts = faces.trustsForwarded ? earlierAttemptsOf(request.headers[ATTEMPT_HEADER]) : 0;
    this.#headers = requestHeaders(request, faces.trustsForwarded);
    this.#body = new KeptBody(request);
    const cells = faces.plane.cells('middleware', pool.name);
    this.#attempts = new Attempts(faces.plane, pool, cells, request.method ?? '', hashOf(pool, request), this);
  }

  start(): void {
    const response = this.#response;
    // The client left, or somebody else of the host's program has answered it: a deadline of its own, say. Then writes of ours are errors, too.
    response.on('error', () => this.#attempts.cancel());
    response.once('close', () => {
      if (!this.#isAnswering || !response.writableFinished) this.#attempts.cancel();
      this.#body.discard();
    });
    this.#attempts.start();
  }

  get replayable(): boolean {
    return this.#body.replayable;
  }

  send(endpoint: Endpoint, attempt: number): void {
    const number = ++this.#number;
    this.#agent = this.#faces.agentOf(this.#pool, endpoint);
    if (!this.idempotent || !this.replayable) this.#agent.forgetStale();
    this.#socket = null;
    this.#proxyRequest = null;
    const headers = { ...this.#headers };
    if (this.#pool.options.host === 'endpoint') headers.host = endpoint.id;
    if (attempt > 1) headers[ATTEMPT_HEADER] = String(attempt);
    const options = {
      target: { protocol: 'http:', host: endpoint.spec.host, port: endpoint.spec.port },
      agent: this.#agent,
      selfHandleResponse: true,
      buffer: this.#body.open(),
      method: this.#request.method,
    };
    // Any method but DELETE and OPTIONS: without a content-length http-proxy-3 gives those the length 0, and their chunked body would be another request.
    try {
      showHead(this.#request, { method: 'POST', headers }, () =>
        this.#faces.proxy.web(this.#request, this.#response, options, (error) => {
          if (number === this.#number) this.#onError(error);
        }),
      );
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** The host's own code put something into the head that cannot be sent. */
  #refuse(error: unknown): void {
    this.#attempts.cancel();
    if (this.#next !== undefined) this.#next(error);
    else this.#faces.answer(this.#response, 500, 'internal');
  }

  drop(): void {
    this.#number++;
    this.#proxyRequest?.destroy();
    if (this.#isAnswering) this.#response.destroy();
  }

  fail(reason: Reason, status: number, cause: unknown): void {
    this.#number++;
    const { name } = this.#pool;
    if (this.#response.headersSent || this.#response.destroyed) return;
    if (this.#next !== undefined) return this.#next(new BalancerError(name, reason, status, cause));
    this.#faces.answer(this.#response, status, reason);
  }

  // --- what http-proxy-3 tells -----------------------------------------------------------------------------------------------------

  /** The request has its connection. */
  onProxyRequest(proxyRequest: ClientRequest, socket: Duplex): void {
    const agent = this.#agent as EndpointAgent;
    const number = this.#number;
    this.#proxyRequest = proxyRequest;
    this.#socket = socket;
    if (this.#attempts.isOver) return void proxyRequest.destroy();
    proxyRequest.once('finish', () => {
      if (number === this.#number && agent.isReady(socket)) this.#attempts.sent();
    });
    if (agent.isReady(socket)) return;
    this.#attempts.dialling();
    socket.once(agent.dialer.readyEvent, () => {
      if (number !== this.#number) return;
      this.#attempts.connected();
      if (proxyRequest.writableFinished || proxyRequest.writableEnded) this.#attempts.sent();
    });
  }

  onProxyResponse(answer: IncomingMessage): void {
    const number = this.#number;
    const response = this.#response;
    const status = answer.statusCode ?? 502;
    if (response.headersSent || response.destroyed) return this.#attempts.cancel();
    if (!this.#attempts.answered(status)) return;
    answer.once('error', (error) => {
      if (number !== this.#number) return;
      this.#attempts.reset(error);
      response.destroy();
    });
    answer.once('end', () => this.#onAnswerEnd(answer));
    const { between } = this.#pool.options.timeouts;
    if (between !== null) answer.setTimeout(between, () => answer.destroy(new Error('the body came to a halt')));
    this.#isAnswering = true;
    const hop = new Set([...HOP_BY_HOP, ...(answer.headers.connection ?? '').toLowerCase().split(/\s*,\s*/)]);
    for (const [name, values] of Object.entries(answer.headersDistinct))
      if (!hop.has(name) && values !== undefined) response.setHeader(name, values.length === 1 ? values[0] : values);
    const { statusMessage = '' } = answer;
    response.writeHead(status, UNWRITABLE.test(statusMessage) ? '' : statusMessage);
    answer.pipe(response);
  }

  #onAnswerEnd({ trailers }: IncomingMessage): void {
    this.#number++;
    this.#response.addTrailers(Object.fromEntries(Object.entries(trailers).filter(([name]) => mayTrail(name))));
    this.#attempts.done();
    // A request that is still on its way would stand before the next one.
    if (this.#proxyRequest?.writableFinished === false) this.#proxyRequest.destroy();
  }

  #onError(error: Error): void {
    const isReady = this.#socket !== null && (this.#agent as EndpointAgent).isReady(this.#socket);
    if (isLocalError(error)) this.#attempts.limited(error);
    else if (!isReady) this.#attempts.connectFailed(error);
    else if (this.#proxyRequest?.reusedSocket === true) this.#attempts.stale(error);
    else this.#attempts.reset(error);
    if (this.#isAnswering) this.#response.destroy();
  }
}

/** What the pool's scheduler hashes on, 0 when it does not. */
export function hashOf({ hashOn }: Pool, { url, headers, socket }: IncomingMessage): number {
  if (hashOn === null) return 0;
  const header = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' ? value : (value?.[0] ?? '');
  };
  return hashOfMessage(hashOn, { target: url ?? '/', header, client: unmapped(socket.remoteAddress ?? '') });
}
