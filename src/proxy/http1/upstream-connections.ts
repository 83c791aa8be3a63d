import type { Clock } from '../../base/clock.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import type { Sockets } from '../sockets.ts';
import { UpstreamConnection } from './upstream-connection.ts';
import type { UpstreamDialer } from './upstream-dialer.ts';

/** Idle connections one worker keeps to one endpoint; the oldest goes when there is one more. */
const MAX_IDLE_PER_ENDPOINT = 512;
/** A request that must not be sent twice goes only on a connection used within this time, else on a new one. */
export const FRESH_MS = 1000;
/** How much earlier than the endpoint we give up an idle connection whose limit it announced. */
const ANNOUNCED_MARGIN_MS = 1000;

/** The idle upstream connections of one worker, per endpoint, newest first. Used by every exchange of the worker. */
export class UpstreamConnections {
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  readonly #sockets: Sockets;
  readonly #idle = new Map<Endpoint, UpstreamConnection[]>();
  readonly #onIdleEnd = (connection: UpstreamConnection): void => this.#drop(connection);

  constructor(clock: Clock, wheel: TimerWheel, sockets: Sockets) {
    this.#clock = clock;
    this.#wheel = wheel;
    this.#sockets = sockets;
  }

  /** The connection to this endpoint that was used last, or null. `repeatable`: the request may be sent again if the connection turns out dead. */
  take(endpoint: Endpoint, repeatable: boolean): UpstreamConnection | null {
    const stack = this.#idle.get(endpoint);
    if (stack === undefined || stack.length === 0) return null;
    const newest = stack[stack.length - 1];
    if (!repeatable && this.#clock.now() - newest.idleSinceMs > FRESH_MS) return null;
    stack.pop();
    this.#wheel.disarm(newest.idleTimer);
    return newest;
  }

  /** The idle connection to this endpoint that was opened for this client alone, or null. `repeatable` as above. */
  takeOwn(endpoint: Endpoint, repeatable: boolean, client: object): UpstreamConnection | null {
    const own = this.#idle.get(endpoint)?.findLast((connection) => connection.client === client);
    if (own === undefined || (!repeatable && this.#clock.now() - own.idleSinceMs > FRESH_MS)) return null;
    this.#drop(own);
    return own;
  }

  /** A client left: what was opened for it alone goes, too. */
  forgetOwner(client: object): void {
    for (const stack of [...this.#idle.values()])
      for (const connection of stack.filter((one) => one.client === client)) {
        this.#drop(connection);
        connection.destroy();
      }
  }

  /** Opens a connection, with `preface` for `client` alone; its owner hears `onConnected` or `onFailed`. Bytes written before that are sent when it is open. */
  dial(
    endpoint: Endpoint,
    dialer: UpstreamDialer,
    client: object | null = null,
    preface: Buffer | null = null,
  ): UpstreamConnection {
    return new UpstreamConnection(endpoint, dialer, this.#sockets, this.#onIdleEnd, client, preface);
  }

  /** Ends the idle connections that a dialer opened which is no more in use. */
  forgetRetired(): void {
    for (const [endpoint, stack] of this.#idle) if (stack.some(({ dialer }) => dialer.retired)) this.forget(endpoint);
  }

  /** Keeps a connection for the next request, at most `idleMs` (0: not at all, Infinity: while the endpoint likes). */
  put(connection: UpstreamConnection, idleMs: number): void {
    const announced = connection.announcedIdleMs;
    const keepMs = announced > 0 ? Math.min(idleMs, announced - ANNOUNCED_MARGIN_MS) : idleMs;
    connection.unassign();
    if (keepMs <= 0 || connection.dialer.retired) {
      connection.destroy();
      return;
    }
    connection.idleSinceMs = this.#clock.now();
    let stack = this.#idle.get(connection.endpoint);
    if (stack === undefined) {
      stack = [];
      this.#idle.set(connection.endpoint, stack);
    }
    if (stack.length >= MAX_IDLE_PER_ENDPOINT) {
      const oldest = stack.shift() as UpstreamConnection;
      this.#wheel.disarm(oldest.idleTimer);
      oldest.destroy();
    }
    stack.push(connection);
    if (keepMs !== Infinity) this.#wheel.arm(connection.idleTimer, keepMs);
  }

  /** Ends the idle connections of an endpoint that left its pool. */
  forget(endpoint: Endpoint): void {
    const stack = this.#idle.get(endpoint);
    if (stack === undefined) return;
    this.#idle.delete(endpoint);
    for (const connection of stack) {
      this.#wheel.disarm(connection.idleTimer);
      connection.destroy();
    }
  }

  /** Ends all idle connections. */
  close(): void {
    for (const endpoint of [...this.#idle.keys()]) this.forget(endpoint);
  }

  #drop(connection: UpstreamConnection): void {
    this.#wheel.disarm(connection.idleTimer);
    const stack = this.#idle.get(connection.endpoint);
    const at = stack === undefined ? -1 : stack.indexOf(connection);
    if (stack === undefined || at < 0) return;
    stack.splice(at, 1);
    if (stack.length === 0) this.#idle.delete(connection.endpoint);
  }
}
