/** Prints what reading one head costs, in ns, for heads as clients and endpoints send them. `node bench/micro/head-reader.ts [ms per case]`. */
import { ChunkedReader, ChunkedStatus } from '../../src/wire/http1/chunked-reader.ts';
import { HeadStatus } from '../../src/wire/http1/head-status.ts';
import { RequestHead } from '../../src/wire/http1/request-head.ts';
import { ResponseHead } from '../../src/wire/http1/response-head.ts';

const MEASURE_MS = Number(process.argv[2] ?? 1000);
/** Heads between two looks at the clock: some milliseconds, so that the best batch is one that nothing else on the machine disturbed. */
const BATCH = 512;
const BUFFERS = 32;
const LIMITS = { headBytes: 16 * 1024, headers: 100, target: 8 * 1024 };

const wrk = 'GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n';
const curl =
  'GET /orders/17?full=1 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n';
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
  'Server: nginx',
  'Date: Mon, 01 Jan 2024 00:00:00 GMT',
  'Content-Type: application/json; charset=utf-8',
  'Content-Length: 64',
  'Connection: keep-alive',
  'Keep-Alive: timeout=5',
  'ETag: W/"40-5d8c72a5edda8d6a"',
  '\r\n',
].join('\r\n');

function measure(name: string, text: string, read: (buf: Buffer) => number): void {
  // A buffer a message, as sockets deliver them.
  const buffers = Array.from({ length: BUFFERS }, () => Buffer.from(text));
  let best = Number.POSITIVE_INFINITY;
  let sum = 0;
  const stop = performance.now() + MEASURE_MS;
  for (let begin = performance.now(); begin < stop; begin = performance.now()) {
    for (let i = 0; i < BATCH; i++) sum += read(buffers[i % BUFFERS]);
    best = Math.min(best, ((performance.now() - begin) * 1e6) / BATCH);
  }
  if (!(sum > 0)) throw new Error(`${name} was not read`);
  console.log(`${name.padEnd(44)} ${String(text.length).padStart(6)} B  ${best.toFixed(0).padStart(6)} ns`);
}

const request = new RequestHead(LIMITS);
const reply = new ResponseHead(LIMITS);
const chunked = new ChunkedReader({ extensionBytes: 4096, trailerBytes: 8192, trailers: 50 });
let carried = 0;
const sink = {
  onChunkData(_buf: Buffer, start: number, end: number) {
    carried += end - start;
  },
};
const readRequest = (buf: Buffer) =>
  request.read(buf, 0, buf.length) === HeadStatus.COMPLETE ? request.end : Number.NaN;
const readResponse = (buf: Buffer) => (reply.read(buf, 0, buf.length) === HeadStatus.COMPLETE ? reply.end : Number.NaN);
const readChunked = (buf: Buffer) => {
  chunked.reset();
  const end = chunked.read(buf, 0, buf.length, sink);
  return chunked.status === ChunkedStatus.DONE ? end : Number.NaN;
};

// Every shape first, so that no case is measured on code specialised to it alone.
for (let i = 0; i < 3; i++) {
  measure('request, wrk', wrk, readRequest);
  measure('request, curl', curl, readRequest);
  measure('request, browser with 1 KiB cookie', browser, readRequest);
  measure('response, 7 headers', response, readResponse);
  measure('chunked body, 4 chunks of 1 KiB', `${`400\r\n${'x'.repeat(1024)}\r\n`.repeat(4)}0\r\n\r\n`, readChunked);
  console.log('');
}
if (carried === 0) throw new Error('no payload was carried');
