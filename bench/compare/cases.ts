import { get, type RequestShape } from '../rig/load/shape.ts';

/** What one case asks of every peer. */
export interface Case {
  readonly name: string;
  readonly title: string;
  /** `closed`: as fast as the connections go. `open`: a constant rate, 70 % of what evenkeel can. `idle`: connections that do nothing. */
  readonly kind: 'closed' | 'open' | 'idle';
  readonly connections: number;
  readonly shape: RequestShape;
  readonly accessLog: boolean;
  readonly tls: boolean;
  /** Worker threads or processes. With more than one, proxies may use both cores. */
  readonly workers: number;
  /** A peer's turn is at least this long: opening so many connections, or handshakes, is not what the case measures. */
  readonly leastSeconds: number;
  /** Part of `--quick`, with this many rounds; 0 is not. */
  readonly quickRounds: number;
}

const post = (chunked: boolean): RequestShape => ({ path: '/64', headers: [], bodyBytes: 10 * 1024, chunked });

/** 20 lines with Host, as a browser sends them, with a cookie of 1 KiB. */
const BROWSER: RequestShape['headers'] = [
  ['Connection', 'keep-alive'],
  ['sec-ch-ua', '"Chromium";v="136", "Google Chrome";v="136", "Not.A/Brand";v="99"'],
  ['sec-ch-ua-mobile', '?0'],
  ['sec-ch-ua-platform', '"Linux"'],
  ['Upgrade-Insecure-Requests', '1'],
  [
    'User-Agent',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36',
  ],
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'],
  ['Sec-Fetch-Site', 'same-origin'],
  ['Sec-Fetch-Mode', 'navigate'],
  ['Sec-Fetch-User', '?1'],
  ['Sec-Fetch-Dest', 'document'],
  ['Referer', 'https://shop.example.com/orders/2024/'],
  ['Accept-Encoding', 'gzip, deflate, br, zstd'],
  ['Accept-Language', 'en-GB,en;q=0.9,de;q=0.8'],
  ['Cookie', 'session=0123456789abcdef; preference=dark-mode; '.repeat(22).slice(0, 1024)],
  ['If-None-Match', 'W/"5d8c72a5edda8d6a"'],
  ['Cache-Control', 'max-age=0'],
  ['X-Request-Id', '7b1d9a52-8f3e-4c7a-9a58-0f0e4a4c5d11'],
  ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
];

const base = {
  kind: 'closed',
  connections: 32,
  shape: get('/64'),
  accessLog: false,
  tls: false,
  workers: 1,
  leastSeconds: 1,
  quickRounds: 0,
} as const;

export const cases: readonly Case[] = [
  { ...base, name: 'get-64', title: 'GET, 64 bytes, 32 connections', quickRounds: 5 },
  { ...base, name: 'get-64-512', title: 'GET, 64 bytes, 512 connections', connections: 512, leastSeconds: 3 },
  { ...base, name: 'get-64k', title: 'GET, 64 KiB', shape: get('/64k'), quickRounds: 3 },
  { ...base, name: 'get-1m', title: 'GET, 1 MiB', shape: get('/1m') },
  { ...base, name: 'browser', title: 'GET, 20 header lines, 1 KiB cookie', shape: get('/64', BROWSER), quickRounds: 3 },
  { ...base, name: 'post-length', title: 'POST, 10 KiB with a length', shape: post(false) },
  { ...base, name: 'post-chunked', title: 'POST, 10 KiB in chunks', shape: post(true) },
  { ...base, name: 'access-log', title: 'GET, 64 bytes, JSON access log', accessLog: true },
  { ...base, name: 'short', title: 'GET, a connection per request', shape: get('/64', [['Connection', 'close']]) },
  { ...base, name: 'tls', title: 'GET, 64 bytes, TLS (P-256)', tls: true, leastSeconds: 3 },
  { ...base, name: 'two-workers', title: 'GET, 64 bytes, two workers', workers: 2, connections: 64 },
  { ...base, name: 'p99', title: 'p99 at 70 % of saturation', kind: 'open', connections: 256 },
  { ...base, name: 'idle', title: 'memory of 8000 idle connections', kind: 'idle', connections: 8000 },
];
