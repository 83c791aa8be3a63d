import { Dispatcher } from 'undici';
import { BalancerError } from './balancer-error.ts';
import { DispatchRun } from './dispatch-run.ts';
import { EndpointClients } from './endpoint-clients.ts';
import type { LocalPlane } from './local-plane.ts';

/**
 * An undici Dispatcher whose requests go to the endpoints of a pool. Takes part in everything undici's own do: `fetch`, `request`, `stream`, `pipeline`,
 * `upgrade`, `RetryAgent`, `compose`. Closing it ends its own connections and nothing of the balancer.
 */
export class PoolDispatcher extends Dispatcher {
  readonly #plane: LocalPlane;
  readonly #pool: string | null;
  readonly #clients: EndpointClients;
  readonly #running = new Set<DispatchRun>();
  readonly #forget = (endpoint: Parameters<EndpointClients['forget']>[0]): void => this.#clients.forget(endpoint);
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;

  /** `pool` null: the host name of each request's origin names its pool. */
  constructor(plane: LocalPlane, pool: string | null) {
    super();
    this.#plane = plane;
    this.#clients = new EndpointClients(plane.clock);
    this.#pool = pool;
    plane.goneListeners.add(this.#forget);
  }

  get closed(): boolean {
    return this.#closing !== null;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const name = this.#pool ?? new URL(options.origin ?? 'http://none').hostname;
    const pool = this.#plane.pool(name);
    if (this.closed || pool === null || options.method === 'CONNECT') {
      const reason = this.closed ? 'draining' : pool === null ? 'no-route' : 'not-implemented';
      const error = new BalancerError(name, reason, pool === null ? 404 : 503);
      // Not before the caller has its promise.
      queueMicrotask(() => handler.onResponseError?.(null as never, error));
      return true;
    }
    const context = { plane: this.#plane, clients: this.#clients, pool, onOver: this.#onOver };
    const run = new DispatchRun(context, options, handler);
    this.#running.add(run);
    run.start();
    return true;
  }

  readonly #onOver = (run: DispatchRun): void => {
    this.#running.delete(run);
    if (this.#running.size === 0) this.#onIdle?.();
  };

  override close(callback: () => void): void;
  override close(): Promise<void>;
  override close(callback?: () => void): Promise<void> | void {
    const closed = this.#closeOnce();
    if (callback === undefined) return closed;
    void closed.then(callback);
  }

  #closeOnce(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#running.size > 0) {
      const idle = Promise.withResolvers<void>();
      this.#onIdle = idle.resolve;
      await idle.promise;
    }
    this.#plane.goneListeners.delete(this.#forget);
    this.#clients.close();
  }

  override destroy(error: Error | null, callback: () => void): void;
  override destroy(callback: () => void): void;
  override destroy(error?: Error | null): Promise<void>;
  override destroy(first?: Error | null | (() => void), callback?: () => void): Promise<void> | void {
    const error = typeof first === 'function' ? null : first;
    const then = typeof first === 'function' ? first : callback;
    const closed = this.#closeOnce();
    for (const run of [...this.#running]) run.abort(error ?? new BalancerError(this.#pool ?? '', 'draining', 503));
    if (then === undefined) return closed;
    void closed.then(then);
  }
}
