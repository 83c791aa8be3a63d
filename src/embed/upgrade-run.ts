import { Agent, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { Pool } from '../pool/pool.ts';
import { ATTEMPT_HEADER, earlierAttemptsOf } from '../proxy/attempt-header.ts';
import { formatAnswer } from '../proxy/http1/answer.ts';
import type { Reason } from '../proxy/listener-cells.ts';
import { isLocalError } from '../proxy/local-error.ts';
import { Attempts, type Carrier } from './attempts.ts';
import type { ProxyFaces } from './proxy-faces.ts';
import { hashOf } from './proxy-run.ts';
import { upgradeHeaders } from './request-headers.ts';
import { showHead } from './shown-head.ts';

/** One WebSocket of a host's server. The connection to the endpoint is opened here, where another can be tried; http-proxy-3 takes it from there. */
export class UpgradeRun implements Carrier {
  readonly idempotent = false;
  readonly earlierAttempts: number;
  readonly #faces: ProxyFaces;
  readonly #pool: Pool;
  readonly #request: IncomingMessage;
  readonly #client: Duplex;
  readonly #head: Buffer;
  readonly #attempts: Attempts;
  #upstream: Socket | null = null;
  #isHandedOver = false;
  #isSwitched = false;

  constructor(faces: ProxyFaces, pool: Pool, request: IncomingMessage, client: Duplex, head: Buffer) {
    this.#faces = faces;
    this.#pool = pool;
    this.#request = request;
    this.#client = client;
    this.#head = head;
    this.earlierAttempts = faces.trustsForwarded ? earlierAttemptsOf(request.headers[ATTEMPT_HEADER]) : 0;
    const cells = faces.plane.cells('upgrade', pool.name);
    this.#attempts = new Attempts(faces.plane, pool, cells, request.method ?? '', hashOf(pool, request), this);
  }

  start(): void {
    this.#client.on('error', () => {});
    this.#client.once('close', () => {
      if (this.#isSwitched) this.#attempts.done();
      else this.#attempts.cancel();
    });
    this.#attempts.start();
  }

  get replayable(): boolean {
    return !this.#isHandedOver;
  }

  send(endpoint: Endpoint, attempt: number): void {
    const dialer = this.#faces.plane.dialer(this.#pool.name);
    this.#attempts.dialling();
    const { socket } = dialer.dial(endpoint, null);
    this.#upstream = socket;
    socket.once('error', (error) => {
      if (this.#upstream !== socket || this.#isHandedOver) return;
      if (isLocalError(error)) this.#attempts.limited(error);
      else this.#attempts.connectFailed(error);
    });
    socket.once(dialer.readyEvent, () => {
      if (this.#upstream === socket) this.#handOver(endpoint, socket, attempt);
    });
  }

  #handOver(endpoint: Endpoint, socket: Socket, attempt: number): void {
    this.#attempts.connected();
    this.#isHandedOver = true;
    const agent = new Agent();
    agent.createConnection = () => socket;
    const headers = upgradeHeaders(this.#request, this.#faces.trustsForwarded);
    if (this.#pool.options.host === 'endpoint') headers.host = endpoint.id;
    if (attempt > 1) headers[ATTEMPT_HEADER] = String(attempt);
    const { host, port } = endpoint.spec;
    const options = { target: { protocol: 'http:', host, port }, agent };
    try {
      showHead(this.#request, { headers }, () =>
        this.#faces.proxy.ws(this.#request, this.#client, this.#head, options, (error) => this.#attempts.reset(error)),
      );
    } catch {
      // The host's own code put something into the head that cannot be sent.
      this.#attempts.cancel();
      this.fail('internal', 500);
    }
  }

  drop(): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    upstream?.destroy();
  }

  fail(reason: Reason, status: number): void {
    if (this.#isSwitched || this.#client.destroyed) return void this.#client.destroy();
    const options = { status, reason, head: false, close: true, keepAliveHttp10: false };
    this.#client.end(formatAnswer(options));
  }

  /** http-proxy-3 sends the request. */
  onProxyRequest(proxyRequest: ClientRequest): void {
    this.#attempts.sent();
    proxyRequest.once('upgrade', (_answer, socket: Duplex) => {
      if (!this.#attempts.answered(101)) return;
      this.#isSwitched = true;
      socket.once('close', () => this.#attempts.done());
    });
    proxyRequest.once('response', (answer) => {
      if (!this.#attempts.answered(answer.statusCode ?? 502)) return;
      answer.once('close', () => this.#attempts.done());
    });
  }
}
