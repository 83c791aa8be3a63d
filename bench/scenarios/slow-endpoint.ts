import { createServer, type Server, type Socket } from 'node:net';
import { type Behaviour, BIN_MS, healthy, type State } from './behaviour.ts';
import { monotonicMs } from './monotonic.ts';

const OK = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
const ERROR = Buffer.from('HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno');
const HEAD_END = Buffer.from('\r\n\r\n');
const COLD_FACTOR = 9;

/** A request that is being served. */
export interface Job {
  readonly endpoint: SlowEndpoint;
  readonly socket: Socket;
  readonly dueMs: number;
  readonly answer: Buffer;
}

/** One address that serves HTTP/1.1 as its behaviour says. Reads requests without bodies, one at a time on a connection. Whoever makes it takes its jobs and calls `finish` when each is due. */
export class SlowEndpoint {
  behaviour: Behaviour = healthy;
  readonly arrivals: number[] = [];
  port = 0;
  readonly #host: string;
  readonly #onJob: (job: Job) => void;
  readonly #random: () => number;
  readonly #sinceMs: number;
  readonly #sockets = new Set<Socket>();
  readonly #line: Socket[] = [];
  readonly #answering = new Set<Socket>();
  #server: Server | null = null;
  #busy = 0;
  #served = 0;

  constructor(host: string, random: () => number, sinceMs: number, onJob: (job: Job) => void) {
    this.#host = host;
    this.#random = random;
    this.#sinceMs = sinceMs;
    this.#onJob = onJob;
  }

  async become(state: State): Promise<void> {
    if (state === 'up') return this.#listen();
    this.#server?.close();
    this.#server = null;
    for (const socket of this.#sockets) {
      if (state === 'killed') socket.resetAndDestroy();
      else if (!this.#answering.has(socket)) socket.end();
    }
  }

  #listen(): Promise<void> {
    if (this.#server !== null) return Promise.resolve();
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#server = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: this.#host, port: this.port, backlog: 4096 }, () => {
        this.port = (server.address() as { port: number }).port;
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    let rest: Buffer | null = null;
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#answering.delete(socket);
    });
    socket.on('data', (bytes: Buffer) => {
      const all: Buffer = rest === null ? bytes : Buffer.concat([rest, bytes]);
      const isWhole = all.indexOf(HEAD_END) >= 0;
      rest = isWhole ? null : all;
      if (isWhole) this.#arrive(socket);
    });
  }

  #arrive(socket: Socket): void {
    const nowMs = monotonicMs();
    const bin = Math.floor((nowMs - this.#sinceMs) / BIN_MS);
    this.arrivals[bin] = (this.arrivals[bin] ?? 0) + 1;
    if (this.behaviour.answers === 'silence') return;
    this.#answering.add(socket);
    if (this.behaviour.parallel > 0 && this.#busy >= this.behaviour.parallel) this.#line.push(socket);
    else this.#serve(socket, nowMs);
  }

  #serve(socket: Socket, fromMs: number): void {
    this.#busy++;
    const { meanMs, answers, coldRequests } = this.behaviour;
    const cold = coldRequests > 0 ? 1 + COLD_FACTOR * 2 ** (-this.#served / coldRequests) : 1;
    const ms = answers === 'error' ? meanMs : -Math.log(1 - this.#random()) * meanMs * cold;
    const dueMs = fromMs + ms;
    this.#onJob({ endpoint: this, socket, dueMs, answer: answers === 'error' ? ERROR : OK });
  }

  /** The job's time has come. */
  finish({ socket, dueMs, answer }: Job): void {
    this.#busy--;
    this.#served++;
    this.#answering.delete(socket);
    if (this.#server === null) socket.end(answer);
    else if (!socket.destroyed) socket.write(answer);
    // From when the place was due to be free, not from now: or what this program is late by would come off the capacity.
    for (let next = this.#line.shift(); next !== undefined; next = this.#line.shift()) {
      if (!next.destroyed) return this.#serve(next, dueMs);
    }
  }
}
