import { Agent, type ClientRequestArgs } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { FRESH_MS } from '../proxy/http1/upstream-connections.ts';
import type { UpstreamDialer } from '../proxy/http1/upstream-dialer.ts';

/** Idle connections kept for one endpoint. */
const IDLE_MAX = 256;

/** Node's agent for one endpoint: its connections are those of the pool's dialer, plain or TLS. */
export class EndpointAgent extends Agent {
  readonly dialer: UpstreamDialer;
  readonly #endpoint: Endpoint;
  readonly #clock: Clock;
  /** When a connection was last given back: it is the next to be used. */
  #usedMs = 0;
  readonly #ready = new WeakSet<object>();

  constructor(endpoint: Endpoint, dialer: UpstreamDialer, idleMs: number, clock: Clock) {
    super({ keepAlive: true, maxFreeSockets: IDLE_MAX, timeout: idleMs });
    this.#endpoint = endpoint;
    this.dialer = dialer;
    this.#clock = clock;
  }

  /** Whether the connection is open, TLS included. */
  isReady(socket: Duplex): boolean {
    return this.#ready.has(socket);
  }

  /** The next request must not be sent twice: it gets a connection that was used just now, or a new one. */
  forgetStale(): void {
    if (this.#clock.now() - this.#usedMs > FRESH_MS) this.forgetIdle();
  }

  forgetIdle(): void {
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  override keepSocketAlive(socket: Duplex): boolean {
    this.#usedMs = this.#clock.now();
    return super.keepSocketAlive(socket) as unknown as boolean;
  }

  override createConnection(_options: ClientRequestArgs): Socket {
    const { socket } = this.dialer.dial(this.#endpoint, null);
    socket.once(this.dialer.readyEvent, () => this.#ready.add(socket));
    return socket;
  }
}

/** The agents of all endpoints. */
export class EndpointAgents {
  readonly #clock: Clock;
  readonly #agents = new Map<Endpoint, EndpointAgent>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(endpoint: Endpoint, dialer: UpstreamDialer, idleMs: number): EndpointAgent {
    const known = this.#agents.get(endpoint);
    if (known !== undefined && known.dialer === dialer) return known;
    const agent = new EndpointAgent(endpoint, dialer, idleMs, this.#clock);
    this.#agents.set(endpoint, agent);
    return agent;
  }

  /** The endpoint left: connections that work go on, and are not kept. */
  forget(endpoint: Endpoint): void {
    const agent = this.#agents.get(endpoint);
    if (agent === undefined) return;
    this.#agents.delete(endpoint);
    agent.maxFreeSockets = 0;
    agent.forgetIdle();
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }
}
