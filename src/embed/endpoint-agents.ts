import { Agent, type ClientRequestArgs } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { UpstreamDialer } from '../proxy/http1/upstream-dialer.ts';

/** Idle connections kept for one endpoint. */
const IDLE_MAX = 256;

/** Node's agent for one endpoint: its connections are those of the pool's dialer, plain or TLS. */
export class EndpointAgent extends Agent {
  readonly dialer: UpstreamDialer;
  readonly #endpoint: Endpoint;
  readonly #ready = new WeakSet<object>();

  constructor(endpoint: Endpoint, dialer: UpstreamDialer, idleMs: number) {
    super({ keepAlive: true, maxFreeSockets: IDLE_MAX, timeout: idleMs });
    this.#endpoint = endpoint;
    this.dialer = dialer;
  }

  /** Whether the connection is open, TLS included. */
  isReady(socket: Duplex): boolean {
    return this.#ready.has(socket);
  }

  override createConnection(_options: ClientRequestArgs): Socket {
    const { socket } = this.dialer.dial(this.#endpoint, null);
    socket.once(this.dialer.readyEvent, () => this.#ready.add(socket));
    return socket;
  }
}

/** The agents of all endpoints. */
export class EndpointAgents {
  readonly #agents = new Map<Endpoint, EndpointAgent>();

  of(endpoint: Endpoint, dialer: UpstreamDialer, idleMs: number): EndpointAgent {
    const known = this.#agents.get(endpoint);
    if (known !== undefined && known.dialer === dialer) return known;
    const agent = new EndpointAgent(endpoint, dialer, idleMs);
    this.#agents.set(endpoint, agent);
    return agent;
  }

  /** The endpoint left: connections that work go on, and are not kept. */
  forget(endpoint: Endpoint): void {
    const agent = this.#agents.get(endpoint);
    if (agent === undefined) return;
    this.#agents.delete(endpoint);
    agent.maxFreeSockets = 0;
    for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }
}
