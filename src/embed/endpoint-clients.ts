import type { Socket } from 'node:net';
import { Client } from 'undici';
import type { Clock } from '../base/clock.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { UpstreamDialer } from '../proxy/http1/upstream-dialer.ts';

/** Whom one request's client tells of its connection. */
export interface ConnectionWatcher {
  onDialling(): void;
  onConnected(): void;
}

/** Idle connections kept for one endpoint. */
const IDLE_MAX = 256;

/**
 * An undici client with one connection that works for one request at a time: so that it is known which request failed because its
 * connection could not be opened, because a kept one was dead, or because the endpoint broke it.
 */
export class EndpointClient {
  readonly endpoint: Endpoint;
  readonly client: Client;
  /** Of whom the present request is; null while it is idle. */
  watcher: ConnectionWatcher | null = null;
  /** Served a request before on this very connection. */
  isKept = false;
  /** When it was. */
  idleSinceMs = 0;
  isConnected = false;
  readonly #dialer: UpstreamDialer;
  readonly #connectErrors = new WeakSet<object>();
  #dialled: Socket | null = null;

  constructor(endpoint: Endpoint, dialer: UpstreamDialer, idleMs: number, onIdleEnd: (client: EndpointClient) => void) {
    this.endpoint = endpoint;
    this.#dialer = dialer;
    this.client = new Client(`http://${endpoint.id}`, {
      pipelining: 1,
      keepAliveTimeout: Math.max(1, idleMs),
      keepAliveMaxTimeout: Math.max(1, idleMs),
      keepAliveTimeoutThreshold: 500,
      headersTimeout: 0,
      allowH2: false,
      connect: (_options, callback) => this.#connect(callback as (error: Error | null, socket: Socket | null) => void),
    });
    this.client.on('disconnect', () => {
      this.isConnected = false;
      this.isKept = false;
      if (this.watcher === null) onIdleEnd(this);
    });
  }

  /** Whether the connection is one of the present dialer. */
  isOf(dialer: UpstreamDialer): boolean {
    return this.#dialer === dialer;
  }

  /** Whether a request failed with this because no connection came about. */
  isConnectError(error: Error): boolean {
    return this.#connectErrors.has(error);
  }

  destroy(): void {
    this.watcher = null;
    this.#dialled?.destroy();
    this.client.destroy().catch(() => {});
  }

  #connect(callback: (error: Error | null, socket: Socket | null) => void): void {
    this.isKept = false;
    this.watcher?.onDialling();
    const { socket } = this.#dialer.dial(this.endpoint, null);
    this.#dialled = socket;
    const onError = (error: Error) => {
      this.#dialled = null;
      this.#connectErrors.add(error);
      callback(error, null);
    };
    socket.once('error', onError);
    socket.once(this.#dialer.readyEvent, () => {
      socket.off('error', onError);
      this.#dialled = null;
      this.isConnected = true;
      this.watcher?.onConnected();
      callback(null, socket);
    });
  }
}

/** The kept clients of all endpoints of one pool. Never more than one request on a client. */
export class EndpointClients {
  readonly #clock: Clock;
  readonly #idle = new Map<Endpoint, EndpointClient[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The client of the connection that was used last, if that is no longer ago than `unusedMs`, or a new one; negative: only a new one. */
  take(endpoint: Endpoint, dialer: UpstreamDialer, idleMs: number, unusedMs: number): EndpointClient {
    const idle = this.#idle.get(endpoint) ?? [];
    const sinceMs = this.#clock.now() - unusedMs;
    for (let kept = idle.at(-1); kept !== undefined && kept.idleSinceMs >= sinceMs; kept = idle.at(-1)) {
      idle.pop();
      if (kept.isOf(dialer) && kept.isConnected) return kept;
      kept.destroy();
    }
    return new EndpointClient(endpoint, dialer, idleMs, (client) => this.#remove(client));
  }

  /** The request is over and the connection may serve another. */
  put(client: EndpointClient): void {
    client.watcher = null;
    client.isKept = true;
    client.idleSinceMs = this.#clock.now();
    const idle = this.#idle.get(client.endpoint) ?? [];
    if (!client.isConnected || idle.length >= IDLE_MAX) return client.destroy();
    this.#idle.set(client.endpoint, idle);
    idle.push(client);
  }

  /** The endpoint left. What still runs on it goes on. */
  forget(endpoint: Endpoint): void {
    for (const client of this.#idle.get(endpoint) ?? []) client.destroy();
    this.#idle.delete(endpoint);
  }

  close(): void {
    for (const endpoint of [...this.#idle.keys()]) this.forget(endpoint);
  }

  #remove(client: EndpointClient): void {
    const idle = this.#idle.get(client.endpoint);
    const at = idle?.indexOf(client) ?? -1;
    if (at >= 0) idle?.splice(at, 1);
    client.destroy();
  }
}
