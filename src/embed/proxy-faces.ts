import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { createProxyServer, type ProxyServer } from 'http-proxy-3';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { Pool } from '../pool/pool.ts';
import { formatAnswer } from '../proxy/http1/answer.ts';
import type { Reason } from '../proxy/listener-cells.ts';
import { BalancerError } from './balancer-error.ts';
import { type EndpointAgent, EndpointAgents } from './endpoint-agents.ts';
import type { LocalPlane } from './local-plane.ts';
import { type Next, ProxyRun } from './proxy-run.ts';
import { UpgradeRun } from './upgrade-run.ts';

/** How a server's requests are passed on. */
export interface ProxyOptions {
  /** Believe the `X-Forwarded-*` fields of who sends the request: a proxy of one's own stands before this server. Default: false. */
  readonly trustForwarded?: boolean;
}

/** A request handler for Express, Connect, Fastify and node:http. Never throws. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next?: Next) => void;

/** A handler of a server's `upgrade` events. Never throws. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

const IDLE_MS = 4000;

/** What a host's server hands its requests to: one http-proxy-3 with the connections of all pools. */
export class ProxyFaces {
  readonly plane: LocalPlane;
  readonly trustsForwarded: boolean;
  readonly proxy: ProxyServer;
  readonly #agents: EndpointAgents;
  readonly #runs = new WeakMap<IncomingMessage, ProxyRun>();
  readonly #upgrades = new WeakMap<IncomingMessage, UpgradeRun>();
  readonly #sockets = new Set<Duplex>();

  constructor(plane: LocalPlane, { trustForwarded = false }: ProxyOptions) {
    this.plane = plane;
    this.#agents = new EndpointAgents(plane.clock);
    this.trustsForwarded = trustForwarded;
    this.proxy = createProxyServer({});
    this.proxy.on('proxyReq', (proxyRequest, request, _response, _options, socket) =>
      this.#runs.get(request)?.onProxyRequest(proxyRequest, socket),
    );
    this.proxy.on('proxyRes', (answer, request) => this.#runs.get(request)?.onProxyResponse(answer));
    this.proxy.on('proxyReqWs', (proxyRequest, request) => this.#upgrades.get(request)?.onProxyRequest(proxyRequest));
    // Everything that goes wrong comes to the run; what a client's socket says besides is nobody's.
    this.proxy.on('error', () => {});
    plane.goneListeners.add((endpoint) => this.#agents.forget(endpoint));
  }

  middleware(name: string): Middleware {
    return (request, response, next) => {
      const pool = this.plane.pool(name);
      if (pool === null) {
        if (next !== undefined) return next(new BalancerError(name, 'no-route', 503));
        return this.answer(response, 503, 'no-route');
      }
      const run = new ProxyRun(this, pool, request, response, next);
      this.#runs.set(request, run);
      run.start();
    };
  }

  upgrade(name: string): UpgradeHandler {
    return (request, socket, head) => {
      const pool = this.plane.pool(name);
      if (pool === null || request.headers.upgrade?.toLowerCase() !== 'websocket') {
        const [status, reason] = pool === null ? ([503, 'no-route'] as const) : ([501, 'not-implemented'] as const);
        return void socket.end(formatAnswer({ status, reason, head: false, close: true, keepAliveHttp10: false }));
      }
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      const run = new UpgradeRun(this, pool, request, socket, head);
      this.#upgrades.set(request, run);
      run.start();
    };
  }

  agentOf(pool: Pool, endpoint: Endpoint): EndpointAgent {
    return this.#agents.of(endpoint, this.plane.dialer(pool.name), pool.options.timeouts.idle ?? IDLE_MS);
  }

  /** An answer of our own. */
  answer(response: ServerResponse, status: number, reason: Reason): void {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-evenkeel-reason': reason });
    response.end(`${status} ${reason}\n`);
  }

  /** Ends every connection to endpoints. */
  close(): void {
    this.#agents.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
