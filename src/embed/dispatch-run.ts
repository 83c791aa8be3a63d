import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { Pool } from '../pool/pool.ts';
import { ATTEMPT_HEADER } from '../proxy/attempt-header.ts';
import { FRESH_MS } from '../proxy/http1/upstream-connections.ts';
import type { Reason } from '../proxy/listener-cells.ts';
import { isLocalError } from '../proxy/local-error.ts';
import { Attempts, type Carrier, isIdempotent } from './attempts.ts';
import { BalancerError } from './balancer-error.ts';
import type { ConnectionWatcher, EndpointClient, EndpointClients } from './endpoint-clients.ts';
import type { LocalPlane } from './local-plane.ts';
import { isRepeatable, OnceBody } from './once-body.ts';
import { hashOfMessage } from './request-hash.ts';

const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);

export interface DispatchContext {
  readonly plane: LocalPlane;
  readonly clients: EndpointClients;
  readonly pool: Pool;
  readonly onOver: (run: DispatchRun) => void;
}

/**
 * One request that a client of undici's dispatched, with all its attempts. To the caller it is one request: one `onRequestStart` (before anything is
 * sent, so that it can be aborted while it waits), one response or one error.
 */
export class DispatchRun implements Carrier, ConnectionWatcher, Dispatcher.DispatchController {
  readonly idempotent: boolean;
  /** Whoever calls is the first. */
  readonly earlierAttempts = 0;
  aborted = false;
  reason: Error | null = null;
  readonly #context: DispatchContext;
  readonly #options: Dispatcher.DispatchOptions;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #headers: string[];
  readonly #attempts: Attempts;
  readonly #once: OnceBody | null;
  #client: EndpointClient | null = null;
  #attempt: AttemptHandler | null = null;
  #fresh = false;
  #isPaused = false;
  #switched: Duplex | null = null;

  constructor(context: DispatchContext, options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) {
    const { plane, pool } = context;
    this.#context = context;
    this.#options = options;
    this.#handler = handler;
    this.#headers = headersOf(options, pool.options.host === 'keep');
    this.idempotent = isIdempotent(options.method, this.#header('idempotency-key')) && !options.upgrade;
    const body = options.body as unknown;
    this.#once = isRepeatable(body)
      ? null
      : new OnceBody(body as AsyncIterable<Uint8Array>, (error) => this.abort(error));
    const hash =
      pool.hashOn === null
        ? 0
        : hashOfMessage(pool.hashOn, { target: options.path, header: (name) => this.#header(name), client: '' });
    this.#attempts = new Attempts(plane, pool, plane.cells('dispatcher', pool.name), options.method, hash, this);
  }

  /** Begins. Errors come by the handler. */
  start(): void {
    try {
      this.#handler.onRequestStart?.(this, {});
    } catch (error) {
      this.abort(error as Error);
    }
    if (!this.aborted) this.#attempts.start();
  }

  get replayable(): boolean {
    return this.#once === null || !this.#once.isBegun;
  }

  #header(name: string): string {
    const at = this.#headers.findIndex((one, i) => i % 2 === 0 && one.toLowerCase() === name);
    return at === -1 ? '' : this.#headers[at + 1];
  }

  // --- the caller's controller -----------------------------------------------------------------------------------------------------

  get paused(): boolean {
    return this.#isPaused;
  }

  get rawHeaders(): Dispatcher.DispatchController['rawHeaders'] {
    return this.#attempt?.controller?.rawHeaders;
  }

  get rawTrailers(): Dispatcher.DispatchController['rawTrailers'] {
    return this.#attempt?.controller?.rawTrailers;
  }

  pause = (): void => {
    this.#isPaused = true;
    this.#attempt?.controller?.pause();
  };

  resume = (): void => {
    this.#isPaused = false;
    this.#attempt?.controller?.resume();
  };

  /** Undici takes this function off the controller: it knows its run. */
  abort = (reason: Error): void => {
    if (this.aborted || this.#attempts.isOver) return;
    this.aborted = true;
    this.reason = reason;
    this.#attempts.cancel();
    this.#over();
    this.#tellError(reason);
  };

  // --- what the attempts ask for ---------------------------------------------------------------------------------------------------

  send(endpoint: Endpoint, number: number): void {
    const { plane, clients, pool } = this.#context;
    const { idle, between } = pool.options.timeouts;
    const client = clients.take(endpoint, plane.dialer(pool.name), idle ?? 4000, this.#unusedMs());
    this.#client = client;
    client.watcher = this;
    const attempt = new AttemptHandler(this, client);
    this.#attempt = attempt;
    const { origin: _origin, body: _body, ...rest } = this.#options;
    const options = {
      ...rest,
      headers: number > 1 ? [...this.#headers, ATTEMPT_HEADER, String(number)] : this.#headers,
      body: (this.#once ?? this.#options.body) as Dispatcher.DispatchOptions['body'],
      headersTimeout: rest.headersTimeout ?? 0,
      bodyTimeout: rest.bodyTimeout ?? between ?? 0,
    };
    client.client.dispatch(options, attempt);
  }

  /** How long the connection may have been unused: a dead one is another attempt only for what can be sent twice, and a stream cannot. */
  #unusedMs(): number {
    if (this.#fresh) return -1;
    return this.idempotent && this.#once === null ? Number.POSITIVE_INFINITY : FRESH_MS;
  }

  drop(): void {
    const { abandoned } = this.#detach();
    abandoned?.destroy();
    this.#switched?.destroy();
  }

  fail(reason: Reason, status: number, cause: unknown): void {
    this.#over();
    this.#tellError(new BalancerError(this.#context.pool.name, reason, status, cause));
  }

  onDialling(): void {
    this.#attempts.dialling();
  }

  onConnected(): void {
    this.#attempts.connected();
  }

  // --- what undici tells of the present attempt ------------------------------------------------------------------------------------

  onStarted(controller: Dispatcher.DispatchController): void {
    if (this.#isPaused) controller.pause();
  }

  onSent(): void {
    this.#attempts.sent();
    this.#handler.onRequestSent?.();
  }

  onBodySent(chunk: Buffer): void {
    this.#handler.onBodySent?.(chunk);
  }

  onHead(status: number, headers: IncomingHttpHeaders, message: string | undefined): void {
    // An interim response says nothing of the outcome.
    if (status >= 200 && !this.#attempts.answered(status)) return;
    this.#guard(() => this.#handler.onResponseStart?.(this, status, headers, message));
  }

  onData(chunk: Buffer): void {
    this.#guard(() => this.#handler.onResponseData?.(this, chunk));
  }

  onEnd(trailers: IncomingHttpHeaders): void {
    const client = this.#client as EndpointClient;
    // The raw trailers are the attempt's: it stays until the caller has heard.
    this.#client = null;
    this.#context.clients.put(client);
    this.#attempts.done();
    this.#over();
    this.#handler.onResponseEnd?.(this, trailers);
  }

  onUpgraded(status: number, headers: IncomingHttpHeaders, socket: Duplex): void {
    if (!this.#attempts.answered(status)) return void socket.destroy();
    const client = this.#client as EndpointClient;
    this.#client = null;
    this.#switched = socket;
    // The socket is no longer the client's.
    queueMicrotask(() => client.destroy());
    socket.once('close', () => {
      this.#attempts.done();
      this.#over();
    });
    this.#guard(() => this.#handler.onRequestUpgrade?.(this, status, headers, socket));
  }

  onError(error: Error, client: EndpointClient): void {
    const hadBegun = this.#attempt?.hasAnswer ?? false;
    this.#detach();
    client.destroy();
    const { code = '' } = error as NodeJS.ErrnoException;
    if (this.#isOwnFault(code)) return this.abort(error);
    if (isLocalError(error)) this.#attempts.limited(error);
    else if (client.isConnectError(error)) this.#attempts.connectFailed(error);
    else if (TIMEOUTS.has(code)) this.#attempts.timedOut(error);
    else if (client.isKept && !hadBegun && !this.#fresh) this.#retryStale(error);
    else this.#attempts.reset(error);
    if (hadBegun) {
      this.#over();
      this.#tellError(error);
    }
  }

  #retryStale(error: Error): void {
    this.#fresh = true;
    this.#attempts.stale(error);
  }

  /** The request could not be written, or the caller's body broke: nothing the endpoint did. */
  #isOwnFault(code: string): boolean {
    return code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED' || code.startsWith('UND_ERR_REQ_');
  }

  /** What the caller's handler throws aborts the request, as undici does. */
  #guard(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.abort(error as Error);
    }
  }

  #detach(): { abandoned: EndpointClient | null } {
    const abandoned = this.#client;
    if (this.#attempt !== null) this.#attempt.isLive = false;
    this.#client = null;
    this.#attempt = null;
    return { abandoned };
  }

  #over(): void {
    this.#once?.discard();
    this.#context.onOver(this);
  }

  #tellError(error: Error): void {
    this.#handler.onResponseError?.(this, error);
  }
}

/** One attempt, as undici's client sees it. Silent once the run has let go of it. */
class AttemptHandler implements Dispatcher.DispatchHandler {
  isLive = true;
  hasAnswer = false;
  controller: Dispatcher.DispatchController | null = null;
  readonly #run: DispatchRun;
  readonly #client: EndpointClient;

  constructor(run: DispatchRun, client: EndpointClient) {
    this.#run = run;
    this.#client = client;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    if (this.isLive) this.#run.onStarted(controller);
  }

  onRequestSent(): void {
    if (this.isLive) this.#run.onSent();
  }

  onBodySent(chunk: Buffer): void {
    if (this.isLive) this.#run.onBodySent(chunk);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    message?: string,
  ): void {
    if (!this.isLive) return;
    this.hasAnswer = status >= 200;
    this.#run.onHead(status, headers, message);
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.isLive) this.#run.onData(chunk);
  }

  onResponseEnd(_: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    if (this.isLive) this.#run.onEnd(trailers);
  }

  onRequestUpgrade(
    _: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    socket: Duplex,
  ): void {
    if (!this.isLive) return void socket.destroy();
    this.hasAnswer = true;
    this.#run.onUpgraded(status, headers, socket);
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.isLive) this.#run.onError(error, this.#client);
  }
}

/** Names and values in turn, with the Host that the endpoint is to see: the origin's, or (undici's own) its address. */
function headersOf({ headers, origin }: Dispatcher.DispatchOptions, keepsHost: boolean): string[] {
  const flat = flatHeaders(headers);
  const at = flat.findIndex((one, i) => i % 2 === 0 && one.toLowerCase() === 'host');
  if (keepsHost && at === -1 && origin !== undefined) return ['host', new URL(origin).host, ...flat];
  if (!keepsHost && at !== -1) flat.splice(at, 2);
  return flat;
}

function flatHeaders(headers: Dispatcher.DispatchOptions['headers']): string[] {
  if (headers === null || headers === undefined) return [];
  if (Array.isArray(headers)) return headers.map(String);
  const pairs =
    Symbol.iterator in headers
      ? (headers as Iterable<[string, string | string[] | undefined]>)
      : Object.entries(headers as Record<string, string | string[] | undefined>);
  const flat: string[] = [];
  for (const [name, value] of pairs)
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) flat.push(name, String(one));
  return flat;
}
