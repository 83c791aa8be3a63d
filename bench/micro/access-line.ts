/** Prints what one access-log line costs, in ns, built alone and through the worker's buffer. `node bench/micro/access-line.ts [ms per case]`. */
import type { AccessRecord } from '../../src/proxy/access-sink.ts';
import { ListenerCells } from '../../src/proxy/listener-cells.ts';
import { formatAccessLine } from '../../src/telemetry/access-line.ts';
import { AccessLogBuffer } from '../../src/telemetry/access-log-buffer.ts';

const MEASURE_MS = Number(process.argv[2] ?? 1000);
const BATCH = 2000;

const plain = {
  listenerName: 'shop',
  routeName: 'shop.example.com/orders/',
  poolName: 'orders',
  endpointId: '10.0.0.1:8080',
  clientAddress: '192.0.2.7',
  methodText: 'GET',
  path: '/orders/2024/items/1843',
  query: 'sort=price&page=3',
  status: 200,
  reason: '',
  bytesIn: 1480,
  bytesOut: 4096,
  attempts: 1,
  hedge: '',
  queueMs: 0,
  connectMs: 0,
  responseMs: 0,
  totalMs: 0,
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
} satisfies AccessRecord;
const awkward = { ...plain, path: '/search/"quoted"\\path' };

/** New numbers for every line, or their text would come out of V8's cache. */
function vary(record: { queueMs: number; responseMs: number; totalMs: number; bytesOut: number }, i: number): void {
  record.queueMs = (i % 977) / 7919;
  record.responseMs = 1 + (i % 7919) / 613;
  record.totalMs = record.responseMs + 0.2137;
  record.bytesOut = 4000 + (i % 50_000);
}

let sink = 0;
function measure(name: string, run: (i: number) => void): void {
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + MEASURE_MS;
  for (let i = 0; performance.now() < end; ) {
    const start = performance.now();
    for (let k = 0; k < BATCH; k++) run(i++);
    best = Math.min(best, ((performance.now() - start) * 1e6) / BATCH);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(0).padStart(6)} ns`);
}

const wallMs = Date.now();
// Latin-1 writing makes V8 join the pieces, as handing a batch over does; without it a line is a tree of pieces.
const bytes = Buffer.alloc(4096);
const flatten = (line: string) => {
  sink += bytes.write(line, 0, 'latin1');
};
measure('line, joined', (i) => {
  vary(plain, i);
  flatten(formatAccessLine(plain, wallMs + i / 20, false));
});
measure('line whose path needs escapes, joined', (i) => {
  vary(awkward, i);
  flatten(formatAccessLine(awkward, wallMs + i / 20, false));
});
const buffer = new AccessLogBuffer({
  cells: new ListenerCells(2),
  row: 1,
  query: false,
  send: (batch) => {
    sink += Buffer.byteLength(structuredClone(batch));
    buffer.acknowledge(batch.length);
  },
});
measure('through the buffer, batches cloned', (i) => {
  vary(plain, i);
  buffer.record(plain);
});
const full = new AccessLogBuffer({
  cells: new ListenerCells(2),
  row: 1,
  query: false,
  send: () => {},
  unacknowledgedLength: 0,
});
measure('dropped', () => full.record(plain));
if (sink === 0) throw new Error('nothing was measured');
