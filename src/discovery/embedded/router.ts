import type { IncomingMessage, ServerResponse } from 'node:http';
import { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';

/** Answers the call or throws ApiError before it has answered. */
export type Handler = (call: ApiCall) => void | Promise<void>;

/** Headers on errors that a Consul server answers (an agent's own have none). */
const SERVER_ERROR_HEADERS = ['X-Consul-Index', '1', 'X-Consul-Knownleader', 'false', 'X-Consul-Lastcontact', '0'];

/** Path and method to handler, as Go's mux has it: a path that ends in `/` serves everything below it. */
export class Router {
  readonly #exact = new Map<string, Map<string, Handler>>();
  readonly #prefixes = new Map<string, Map<string, Handler>>();
  readonly #onFault: (error: unknown) => void;

  /** `onFault` is told of errors that are ours. */
  constructor(onFault: (error: unknown) => void) {
    this.#onFault = onFault;
  }

  get(path: string, handler: Handler): void {
    this.#add('GET', path, handler);
  }

  put(path: string, handler: Handler): void {
    this.#add('PUT', path, handler);
  }

  delete(path: string, handler: Handler): void {
    this.#add('DELETE', path, handler);
  }

  /** Whatever the method. */
  any(path: string, handler: Handler): void {
    for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'HEAD']) this.#add(method, path, handler);
  }

  /** Answers one request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let call: ApiCall;
    try {
      call = new ApiCall(request, response);
    } catch {
      response.writeHead(400, ['Content-Length', '0']);
      response.end();
      return;
    }
    try {
      await this.#dispatch(call);
    } catch (error) {
      this.#fail(call, error);
    }
  }

  #add(method: string, path: string, handler: Handler): void {
    const table = path.endsWith('/') ? this.#prefixes : this.#exact;
    const methods = table.get(path) ?? new Map<string, Handler>();
    methods.set(method, handler);
    table.set(path, methods);
  }

  #dispatch(call: ApiCall): void | Promise<void> {
    const methods = this.#match(call);
    if (methods === null) return call.notFound();
    const handler = methods.get(call.method);
    if (handler !== undefined) return handler(call);
    const allow = ['Allow', ['OPTIONS', ...methods.keys()].join(',')];
    if (call.method === 'OPTIONS') return call.empty(200, allow);
    call.text(405, `method ${call.method} not allowed`, allow);
  }

  #match(call: ApiCall): Map<string, Handler> | null {
    const exact = this.#exact.get(call.path);
    if (exact !== undefined) return exact;
    let best = '';
    for (const prefix of this.#prefixes.keys())
      if (prefix.length > best.length && call.path.startsWith(prefix)) best = prefix;
    if (best === '') return null;
    call.rest = call.path.slice(best.length);
    return this.#prefixes.get(best) as Map<string, Handler>;
  }

  #fail(call: ApiCall, error: unknown): void {
    if (call.answered) return;
    if (error instanceof ApiError) {
      call.text(error.status, error.message, error.fromServer ? SERVER_ERROR_HEADERS : []);
      return;
    }
    // A client that went away while it was sending is nobody's fault.
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return;
    this.#onFault(error);
    call.text(500, 'internal error');
  }
}
