// `udp-clients.ts PORT SECONDS CLIENTS`: each client sends 64 bytes, waits for the answer and sends again. Prints one line of JSON. What is not answered
// in time is an error, and the client goes on.
import { createSocket } from 'node:dgram';
import { quantile } from '../rig/statistics.ts';

const [port, seconds, count] = process.argv.slice(2, 5).map(Number);
const MESSAGE = Buffer.from('0123456789abcdef'.repeat(4));
const LOST_MS = 250;

const latencies: number[] = [];
let errors = 0;

class Client {
  readonly #socket = createSocket('udp4');
  sentMs = Number.POSITIVE_INFINITY;

  constructor() {
    this.#socket.on('message', (bytes) => this.#onAnswer(bytes));
    this.#socket.on('error', () => errors++);
    this.#socket.connect(port, '127.0.0.1', () => this.send());
  }

  send(): void {
    this.sentMs = performance.now();
    this.#socket.send(MESSAGE);
  }

  #onAnswer(bytes: Buffer): void {
    if (bytes.length === MESSAGE.length) latencies.push(performance.now() - this.sentMs);
    else errors++;
    this.send();
  }
}

const clients = Array.from({ length: count }, () => new Client());
const startMs = performance.now();
setInterval(() => {
  const nowMs = performance.now();
  for (const client of clients) {
    if (nowMs - client.sentMs < LOST_MS) continue;
    errors++;
    client.send();
  }
}, LOST_MS);
setTimeout(() => {
  const elapsed = (performance.now() - startMs) / 1000;
  const result = { requests: latencies.length, errors, seconds: elapsed, p50Ms: quantile(latencies, 0.5) };
  process.stdout.write(`${JSON.stringify({ ...result, p99Ms: quantile(latencies, 0.99) })}\n`, () => process.exit(0));
}, seconds * 1000);
