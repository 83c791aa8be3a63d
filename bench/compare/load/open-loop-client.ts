// `open-loop-client.ts PORT RATE SECONDS MAX_CONNECTIONS PATH`: sends GET requests at a constant rate whether or not earlier ones are answered, and
// prints one line of JSON. Latency counts from the moment a request was meant to be sent, so that a stall of the proxy (or of this client) is seen by
// every request that fell into it. The clock is looked at with every answer and at least every millisecond. It reads and writes as the engine does, since it
// shares its core with the origins: at 20 000 requests/s Node's streams alone would fill that core, and what is measured would be the client.
import { connect, type Socket } from 'node:net';
import { systemClock } from '../../../src/base/clock.ts';
import { TurnClock } from '../../../src/base/turn-clock.ts';
import { SocketReader } from '../../../src/proxy/socket-reader.ts';
import { SocketWriter } from '../../../src/proxy/socket-writer.ts';
import { Sockets } from '../../../src/proxy/sockets.ts';
import { quantile } from '../../rig/statistics.ts';

const [port, rate, seconds, maxConnections] = process.argv.slice(2, 6).map(Number);
const request = Buffer.from(`GET ${process.argv[6]} HTTP/1.1\r\nHost: bench.example.com\r\n\r\n`);
const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: *(\d+)/i;
/** Part of the time that is not counted: connections open, the proxy warms up. */
const WARM_UP = 0.2;
/** After the last request is due, answers are waited for this long; then they are lost. */
const GRACE_MS = 2000;

const sockets = new Sockets(new TurnClock(systemClock));
sockets.use(true);
const idle: Connection[] = [];
const waiting: number[] = [];
const latencies: number[] = [];
let opened = 0;
let due = 0;
let failed = 0;
let startMs = 0;
const total = Math.floor(rate * seconds);
const uncounted = Math.floor(total * WARM_UP);

class Connection {
  readonly #socket: Socket;
  readonly #writer: SocketWriter;
  #meantMs = -1;
  #index = 0;
  #missing = -1;

  constructor(onReady: (connection: Connection) => void) {
    const reader = new SocketReader(sockets, (bytes) => this.#read(bytes));
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: reader.onread });
    reader.dialled(this.#socket);
    this.#writer = new SocketWriter(this.#socket, sockets, true, () => {});
    this.#socket.on('connect', () => onReady(this));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => this.#closed());
  }

  send(index: number): void {
    this.#index = index;
    this.#meantMs = startMs + (index * 1000) / rate;
    this.#missing = -1;
    this.#writer.write(request);
  }

  #read(bytes: Buffer): void {
    let body = bytes.length;
    if (this.#missing < 0) {
      const headEnd = bytes.indexOf(HEAD_END);
      // Heads of a comparison fit into one packet; one that does not is counted as a failure.
      const length = LENGTH.exec(bytes.toString('latin1', 0, headEnd + 2));
      if (headEnd < 0 || length === null || bytes[9] !== 0x32) return this.#socket.destroy() as unknown as undefined;
      this.#missing = Number(length[1]);
      body = bytes.length - headEnd - 4;
    }
    this.#missing -= body;
    if (this.#missing === 0) this.#answered();
  }

  #answered(): void {
    if (this.#index >= uncounted) latencies.push(performance.now() - this.#meantMs);
    this.#meantMs = -1;
    const next = waiting.shift();
    if (next === undefined) idle.push(this);
    else this.send(next);
    sendDue();
  }

  #closed(): void {
    opened--;
    if (this.#meantMs >= 0) failed++;
    const at = idle.indexOf(this);
    if (at >= 0) idle.splice(at, 1);
  }
}

function open(onReady: (connection: Connection) => void): void {
  opened++;
  new Connection(onReady);
}

function sendDue(): void {
  const until = Math.min(total, ((performance.now() - startMs) / 1000) * rate);
  while (due < until) {
    const index = due++;
    const connection = idle.pop();
    if (connection !== undefined) {
      connection.send(index);
      continue;
    }
    waiting.push(index);
    if (opened < maxConnections) open(useNew);
  }
}

function useNew(connection: Connection): void {
  const next = waiting.shift();
  if (next === undefined) idle.push(connection);
  else connection.send(next);
}

await new Promise<void>((resolve) => {
  let left = Math.min(32, maxConnections);
  for (let i = left; i > 0; i--) open((connection) => (idle.push(connection), --left === 0 && resolve()));
});
startMs = performance.now();
const endMs = startMs + seconds * 1000 + GRACE_MS;
const timer = setInterval(() => {
  sendDue();
  const isOver = due >= total && latencies.length + failed >= total - uncounted;
  if (!isOver && performance.now() < endMs) return;
  clearInterval(timer);
  const lost = total - uncounted - latencies.length;
  const result = { requests: total - lost, errors: Math.max(lost, failed), seconds, p50Ms: quantile(latencies, 0.5) };
  process.stdout.write(`${JSON.stringify({ ...result, p99Ms: quantile(latencies, 0.99) })}\n`, () => process.exit(0));
}, 1);
