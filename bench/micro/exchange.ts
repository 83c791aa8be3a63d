/**
 * Prints what one exchange costs in our own code, in ns: from the bytes of a request to those of its response, with sockets that take and bring
 * bytes for nothing. `node bench/micro/exchange.ts [ms per case]`.
 */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { z } from 'zod';
import { systemClock } from '../../src/base/clock.ts';
import { FineTimers } from '../../src/base/fine-timers.ts';
import { systemRandom } from '../../src/base/random.ts';
import { TimerWheel } from '../../src/base/timer-wheel.ts';
import { TurnClock } from '../../src/base/turn-clock.ts';
import { packDelta } from '../../src/endpoint/delta.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { PoolWords } from '../../src/endpoint/pool-words.ts';
import { SlotChunk, SlotTable } from '../../src/endpoint/slots.ts';
import { ejectionOptions } from '../../src/health/ejection-options.ts';
import { poolOptions } from '../../src/pool/options.ts';
import { Pool } from '../../src/pool/pool.ts';
import { Http1Engine } from '../../src/proxy/http1/engine.ts';
import { Refusals } from '../../src/proxy/http1/refusals.ts';
import { UpstreamConnections } from '../../src/proxy/http1/upstream-connections.ts';
import type { UpstreamDialer } from '../../src/proxy/http1/upstream-dialer.ts';
import { ListenerCells } from '../../src/proxy/listener-cells.ts';
import type { DirectHandle, OnRead, PrivateSockets } from '../../src/proxy/private-sockets.ts';
import type { SocketReader } from '../../src/proxy/socket-reader.ts';
import { Sockets } from '../../src/proxy/sockets.ts';
import { UniqueIds } from '../../src/proxy/unique-ids.ts';
import { routeOptions } from '../../src/routing/options.ts';
import { RouteCells } from '../../src/routing/route-cells.ts';
import { RouteTable } from '../../src/routing/route-table.ts';
import { schedulers } from '../../src/scheduling/catalog.ts';

const MEASURE_MS = Number(process.argv[2] ?? 1000);
const ROWS = 3;
const ROW = 1;
const CONNECTIONS = 32;
const BATCH = 256;

const wrk = 'GET /64 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n';
const browser = [
  'GET /orders/2024/items/1843?sort=price&page=3 HTTP/1.1',
  'Host: shop.example.com',
  'Connection: keep-alive',
  'sec-ch-ua: "Chromium";v="136", "Google Chrome";v="136", "Not.A/Brand";v="99"',
  'sec-ch-ua-mobile: ?0',
  'sec-ch-ua-platform: "Linux"',
  'Upgrade-Insecure-Requests: 1',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36',
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8',
  'Sec-Fetch-Site: same-origin',
  'Sec-Fetch-Mode: navigate',
  'Sec-Fetch-User: ?1',
  'Sec-Fetch-Dest: document',
  'Referer: https://shop.example.com/orders/2024/',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Accept-Language: en-GB,en;q=0.9,de;q=0.8',
  `Cookie: ${'session=0123456789abcdef; preference=dark-mode; '.repeat(22).slice(0, 1024)}`,
  'If-None-Match: W/"5d8c72a5edda8d6a"',
  'Cache-Control: max-age=0',
  'X-Request-Id: 7b1d9a52-8f3e-4c7a-9a58-0f0e4a4c5d11',
  'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  '\r\n',
].join('\r\n');
const response = [
  'HTTP/1.1 200 OK',
  'Server: nginx/1.22.1',
  'Date: Mon, 01 Jan 2024 00:00:00 GMT',
  'Content-Type: application/octet-stream',
  'Content-Length: 64',
  'Connection: keep-alive',
  '',
  '0123456789abcdef'.repeat(4),
].join('\r\n');

/** A socket that takes everything, and brings what it is told to. */
class IdleSocket extends EventEmitter {
  readonly remoteAddress = '127.0.0.1';
  readonly connecting = false;
  readonly destroyed = false;
  readonly readableLength = 0;
  readonly writableLength = 0;
  readonly writableNeedDrain = false;
  onRead: OnRead = () => {};
  pause(): void {}
  resume(): void {}
  destroy(): void {}
}

/** Bytes that went to endpoints; the endpoint that was written to last has its answer due. */
let asked: IdleSocket | null = null;
const toEndpoint = (socket: IdleSocket): DirectHandle => ({
  useUserBuffer: () => {},
  writeBuffer: () => {
    asked = socket;
    return 0;
  },
  writev: () => 0,
});
let answered = 0;
const toClient: DirectHandle = {
  useUserBuffer: () => {},
  writeBuffer: () => {
    answered++;
    return 0;
  },
  writev: () => 0,
};

const clients: IdleSocket[] = [];
const fast = {
  handleOf: (socket: unknown) => (clients.includes(socket as IdleSocket) ? toClient : toEndpoint(socket as IdleSocket)),
  readInto: (socket: unknown, _handle: DirectHandle, _buffer: Buffer, onRead: OnRead) => {
    (socket as IdleSocket).onRead = onRead;
  },
};

const clock = new TurnClock(systemClock);
const sockets = new Sockets(clock);
sockets.fast = fast as unknown as PrivateSockets;
const wheel = new TimerWheel(50);
const upstreams = new UpstreamConnections(clock, wheel, sockets);
const table = new SlotTable(ROWS, [new SlotChunk(ROWS).buffer]);
table.usedRows = 2;
const pool = new Pool('bench', optionsOfPool(), new PoolWords(ROWS), {
  clock,
  random: systemRandom,
  worker: 0,
  workers: 1,
  row: ROW,
  table,
  onEjected: () => {},
  onGone: () => {},
});
function optionsOfPool() {
  const parts = { scheduler: schedulers.schema(), probe: z.never(), ejection: ejectionOptions };
  return poolOptions(parts).parse({ endpoints: [{ address: '127.0.0.1:1' }] });
}

const spec = { host: '127.0.0.1', weight: 1, zone: '', backup: false, version: '', tags: [], metadata: {} };
const endpoints = [1, 2, 3].map((port, slot) => new Endpoint(slot, { ...spec, port }, table, ROW));
for (const delta of packDelta('bench', 1, endpoints, [])) pool.apply(delta);
const dialer: UpstreamDialer = {
  readyEvent: 'connect',
  retired: false,
  dial: (_endpoint, reader: SocketReader) => {
    const socket = new IdleSocket();
    socket.onRead = reader.onread.callback.bind(socket as never) as unknown as OnRead;
    process.nextTick(() => socket.emit('connect'));
    return { socket: socket as unknown as Socket, transport: socket as unknown as Socket };
  },
};
const routes = [routeOptions(z.never()).parse({ name: 'all', pool: 'bench' })];
const settings = {
  listenerName: 'bench',
  table: new RouteTable(routes, () => 0),
  routes: [{ name: 'all', pool, dialer, cells: new RouteCells(ROWS), connect: false, stages: [] }],
  trusted: null,
  via: null,
  timeouts: { head: 15_000, body: 15_000, idle: 75_000, tunnel: 3_600_000 },
  limits: { head: 16_384, headers: 100, target: 8192, body: 0, bodyRate: 100, chunkExtensions: 4096, trailers: 16_384 },
};
const context = {
  row: ROW,
  clock,
  wheel,
  fine: new FineTimers(clock),
  upstreams,
  sockets,
  uniqueIds: new UniqueIds(),
  refusals: new Refusals(1),
};
const engine = new Http1Engine(settings, new ListenerCells(ROWS), context, null);
for (let i = 0; i < CONNECTIONS; i++) {
  const socket = new IdleSocket();
  clients.push(socket);
  engine.accept(socket as unknown as Socket);
}

const { shared } = sockets.buffers;
const reply = Buffer.from(response);

function exchange(client: IdleSocket, request: Buffer): void {
  asked = null;
  shared.set(request);
  client.onRead(request.length);
  if (asked === null) throw new Error('nothing was forwarded');
  shared.set(reply);
  (asked as IdleSocket).onRead(reply.length);
}

/** Opens connections to the endpoints: each time to one that has the fewest. */
async function warmUp(): Promise<void> {
  const opened: IdleSocket[] = [];
  for (const client of clients) {
    asked = null;
    Buffer.from(wrk).copy(shared);
    client.onRead(wrk.length);
    await new Promise((resolve) => setImmediate(resolve));
    if (asked !== null) opened.push(asked);
  }
  for (const socket of opened) {
    reply.copy(shared);
    socket.onRead(reply.length);
  }
}

function measure(name: string, text: string): void {
  const request = Buffer.from(text);
  const before = answered;
  let best = Number.POSITIVE_INFINITY;
  let count = 0;
  const stop = performance.now() + MEASURE_MS;
  while (performance.now() < stop) {
    const begin = performance.now();
    for (let i = 0; i < BATCH; i++) exchange(clients[i % CONNECTIONS], request);
    // The best batch is one that nothing else on the machine disturbed.
    best = Math.min(best, ((performance.now() - begin) * 1e6) / BATCH);
    count += BATCH;
  }
  if (answered - before !== count) throw new Error(`${name}: ${count} requests, ${answered - before} answers`);
  console.log(`${name.padEnd(44)} ${best.toFixed(0).padStart(6)} ns`);
}

await warmUp();
for (let i = 0; i < 3; i++) {
  measure('GET of 64 bytes', wrk);
  measure('the same, 20 lines of a browser', browser);
}
process.exit(0);
