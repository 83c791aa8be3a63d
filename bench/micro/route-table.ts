/** Prints what finding a route costs, in ns, by table and request. Target: at most 300 ns. `node bench/micro/route-table.ts`. */
import { z } from 'zod';
import { routeOptions } from '../../src/routing/options.ts';
import { RouteTable } from '../../src/routing/route-table.ts';

/** Many short rounds: the best one is that which nothing else on the machine disturbed. */
const ROUNDS = 200;
const MATCHES = 5000;
const schema = routeOptions(z.never());

function tableOf(matches: readonly unknown[]): RouteTable {
  return new RouteTable(
    matches.map((match, i) => schema.parse({ name: `r${i}`, match, pool: 'p' })),
    () => 0,
  );
}

const everything = tableOf([{}]);
const small = tableOf([
  { host: 'shop.example.com', path: '/orders' },
  { host: '*.example.com' },
  { path: '/static' },
  {},
]);
const large = tableOf([
  ...Array.from({ length: 500 }, (_, i) => ({ host: `service-${i}.example.com`, path: `/api/v${i % 7}/orders` })),
  ...Array.from({ length: 500 }, (_, i) => ({ host: `*.zone-${i}.example.com` })),
  ...Array.from({ length: 500 }, (_, i) => ({ path: `/service/${i}/orders` })),
  {},
]);

const cases: readonly (readonly [string, RouteTable, string, string])[] = [
  ['one route', everything, 'shop.example.com', '/orders/17'],
  ['4 routes, host and prefix', small, 'shop.example.com:8080', '/orders/17'],
  ['4 routes, wildcard', small, 'www.example.com', '/some/page.html'],
  ['4 routes, nothing but the last', small, '127.0.0.1:8080', '/some/page.html'],
  ['1501 routes, host and prefix', large, 'service-250.example.com', '/api/v5/orders/17/items'],
  ['1501 routes, wildcard', large, 'a.zone-321.example.com', '/api/v5/orders/17/items'],
  ['1501 routes, path', large, 'other.org', '/service/321/orders/17'],
  ['1501 routes, last', large, 'other.org', '/some/page.html'],
  ['4 routes, encoded path', small, 'shop.example.com', '/%6frders/a%20b'],
  ['4 routes, path of 1 KiB', small, 'shop.example.com', `/orders/${'segment/'.repeat(127)}`],
];

for (const [name, table, host, path] of cases) {
  const buf = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n`, 'latin1');
  const hostStart = buf.indexOf('Host: ') + 6;
  let best = Number.POSITIVE_INFINITY;
  let found = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const before = performance.now();
    for (let i = 0; i < MATCHES; i++) {
      const route = table.match(buf, hostStart, hostStart + host.length, 4, 4 + path.length, 0, null);
      if (route !== null) found += route.index;
    }
    best = Math.min(best, ((performance.now() - before) * 1e6) / MATCHES);
  }
  if (found < 0) throw new Error('kept so that the loop is not left out');
  console.log(`${best.toFixed(0).padStart(6)} ns  ${name}`);
}
