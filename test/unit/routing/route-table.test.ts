import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { normalPath, type PathRules } from '../../../src/routing/normal-path.ts';
import { type RouteOptions, routeOptions } from '../../../src/routing/options.ts';
import type { RequestValues } from '../../../src/routing/route.ts';
import { METHOD_LABELS } from '../../../src/routing/route-cells.ts';
import { RouteTable } from '../../../src/routing/route-table.ts';
import { type PlainRequest, referenceMatch } from './reference-matcher.ts';

const schema = routeOptions(z.never());

/** Routes as a document has them, each with a pool of its own whose name is the route's. */
function routesOf(matches: Record<string, unknown>): RouteOptions[] {
  return Object.entries(matches).map(([name, match]) => schema.parse({ name, match, pool: name }));
}

function valuesOf(request: PlainRequest): RequestValues {
  return { header: (name) => request.headers[name] ?? null, queryValue: (name) => request.query[name] ?? null };
}

function find(table: RouteTable, asked: Partial<PlainRequest>) {
  const request: PlainRequest = { host: '', path: '/', method: 0, headers: {}, query: {}, ...asked };
  // Bytes around the parts, as in a real head: a matcher that looks beyond its bounds is caught.
  const buf = Buffer.from(`GET ${request.path}/x HTTP/1.1\r\nhost: ${request.host}.example\r\n`, 'latin1');
  const host = buf.indexOf('host: ') + 6;
  const pathEnd = 4 + request.path.length;
  return table.match(buf, host, host + request.host.length, 4, pathEnd, request.method, valuesOf(request));
}

function tableOf(matches: Record<string, unknown>) {
  const table = new RouteTable(routesOf(matches), (name) => name.length);
  return { table, name: (asked: Partial<PlainRequest>) => find(table, asked)?.name ?? null };
}

describe('hosts', () => {
  const { name } = tableOf({
    shop: { host: 'shop.example.com' },
    below: { host: '*.example.com' },
    deep: { host: '*.eu.example.com' },
    v6: { host: '[::1]' },
    rest: {},
  });

  it.each([
    ['shop.example.com', 'shop'],
    ['SHOP.Example.COM', 'shop'],
    ['shop.example.com:8080', 'shop'],
    ['shop.example.com.', 'shop'],
    ['shop.example.com.:80', 'shop'],
    ['blog.example.com', 'below'],
    ['a.b.example.com', 'below'],
    ['a.eu.example.com', 'deep'],
    ['eu.example.com', 'below'],
    ['example.com', 'rest'],
    ['.example.com', 'rest'],
    ['badexample.com', 'rest'],
    ['[::1]:80', 'v6'],
    ['[::1]', 'v6'],
    ['', 'rest'],
    [`${'a'.repeat(400)}.example.com`, 'rest'],
  ])('%s goes to %s', (host, expected) => {
    expect(name({ host })).toBe(expected);
  });

  it('goes on with the wider host when no path of the narrower one fits', () => {
    const { name } = tableOf({
      orders: { host: 'shop.example.com', path: '/orders' },
      media: { host: '*.example.com', path: '/media' },
      web: {},
    });
    expect(name({ host: 'shop.example.com', path: '/orders/1' })).toBe('orders');
    expect(name({ host: 'shop.example.com', path: '/media/1' })).toBe('media');
    expect(name({ host: 'shop.example.com', path: '/' })).toBe('web');
  });

  it('gives null when nothing matches', () => {
    const { name, table } = tableOf({ shop: { host: 'shop.example.com' } });
    expect(name({ host: 'other.example.com' })).toBeNull();
    expect(table.isPathRefused).toBe(false);
  });
});

describe('paths', () => {
  it('matches a prefix in whole segments, with or without its last slash', () => {
    for (const path of ['/orders', '/orders/']) {
      const { name } = tableOf({ orders: { path } });
      expect(name({ path: '/orders' })).toBe('orders');
      expect(name({ path: '/orders/' })).toBe('orders');
      expect(name({ path: '/orders/x' })).toBe('orders');
      expect(name({ path: '/ordersx' })).toBeNull();
      expect(name({ path: '/order' })).toBeNull();
      expect(name({ path: '/x/orders' })).toBeNull();
    }
  });

  it('prefers exact, then a pattern, then the longest prefix', () => {
    const { name } = tableOf({
      root: { path: '/' },
      short: { path: '/a' },
      long: { path: '/a/b' },
      any: { path: { pattern: '/a/*/c' } },
      deep: { path: { pattern: '/a/x/**' } },
      exact: { path: { exact: '/a/b/c' } },
    });
    expect(name({ path: '/a/b/c' })).toBe('exact');
    expect(name({ path: '/a/q/c' })).toBe('any');
    expect(name({ path: '/a/x/c' })).toBe('deep');
    expect(name({ path: '/a/x' })).toBe('deep');
    expect(name({ path: '/a/b/d' })).toBe('long');
    expect(name({ path: '/a//c' })).toBe('short');
    expect(name({ path: '/b' })).toBe('root');
    expect(name({ path: '' })).toBe('root');
    expect(name({ path: '*' })).toBeNull();
  });

  it('takes an exact path to the letter', () => {
    const { name } = tableOf({ exact: { path: { exact: '/a' } } });
    expect(name({ path: '/a' })).toBe('exact');
    expect(name({ path: '/a/' })).toBeNull();
    expect(name({ path: '/A' })).toBeNull();
  });

  it.each(['/%61dmin/x', '//admin', '/admin%2fx', '/admin%5Cx', '/admin\\x', '/%2fadmin', '///%61%64min//x'])(
    'sees through the spelling %s',
    (path) => {
      const { name } = tableOf({ admin: { path: '/admin' }, web: {} });
      expect(name({ path })).toBe('admin');
    },
  );

  it.each([
    '/a/../admin',
    '/admin/..',
    '/./admin',
    '/a/%2e%2E/admin',
    '/a/.%2e/admin',
    '/a/..%2fadmin',
    '/a/..\\admin',
    '/a/..;x=1/admin',
    '/a/.;/admin',
    '/..',
    '/a%00',
  ])('refuses %s', (path) => {
    const { table, name } = tableOf({ admin: { path: '/admin' }, web: {} });
    expect(name({ path })).toBeNull();
    expect(table.isPathRefused).toBe(true);
    expect(name({ path: '/a' })).toBe('web');
    expect(table.isPathRefused).toBe(false);
  });

  it.each(['/.well-known/x', '/a/...', '/a..b', '/100%', '/%zz', '/a%2', '/a;b=../c'])('lets %s pass', (path) => {
    const { name } = tableOf({ web: {} });
    expect(name({ path })).toBe('web');
  });

  it('decodes only once', () => {
    const { name } = tableOf({ admin: { path: '/admin' }, web: {} });
    expect(name({ path: '/%2561dmin' })).toBe('web');
    expect(name({ path: '/a/%252e%252e/admin' })).toBe('web');
  });

  it('reads a path that is longer than its buffer', () => {
    const { name } = tableOf({ admin: { path: '/admin' }, web: {} });
    expect(name({ path: `/%61dmin/${'x'.repeat(20_000)}` })).toBe('admin');
  });
});

describe('conditions', () => {
  const { name } = tableOf({
    plain: { path: '/a' },
    write: { path: '/a', method: ['POST', 'PUT'] },
    canary: { path: '/a', method: 'POST', header: { 'X-Canary': 'yes' } },
    beta: { path: '/', query: { beta: ['1', 'true'] } },
    signed: { path: '/s', header: { authorization: { present: true } } },
    open: { path: '/s', header: { authorization: { present: false } } },
  });

  it('asks the stricter route first and goes on when its conditions fail', () => {
    expect(name({ path: '/a', method: 2, headers: { 'x-canary': 'yes' } })).toBe('canary');
    expect(name({ path: '/a', method: 2, headers: { 'x-canary': 'no' } })).toBe('write');
    expect(name({ path: '/a', method: 3 })).toBe('write');
    expect(name({ path: '/a', method: 0 })).toBe('plain');
    expect(name({ path: '/a', method: METHOD_LABELS.indexOf('other') })).toBe('plain');
  });

  it('compares query parameters and the presence of headers', () => {
    expect(name({ path: '/b', query: { beta: '1' } })).toBe('beta');
    expect(name({ path: '/b', query: { beta: '2' } })).toBeNull();
    expect(name({ path: '/s', headers: { authorization: '' } })).toBe('signed');
    expect(name({ path: '/s' })).toBe('open');
  });
});

describe('routes', () => {
  it('carry what the engine binds to them', () => {
    const { table } = tableOf({ a: { path: '/a' }, 'long-name': {} });
    expect(find(table, { path: '/x' })).toMatchObject({
      index: 1,
      name: 'long-name',
      poolName: 'long-name',
      poolIndex: 9,
    });
    expect(table.routes.map((route) => route.index)).toEqual([0, 1]);
  });

  it('are named by their host and path when the document gives no name', () => {
    const names = [{}, { host: 'A.example.com', path: '/x/' }, { path: '/x', method: 'GET' }].map(
      (match) => schema.parse({ match, pool: 'p' }).name,
    );
    expect(names).toEqual(['/', 'a.example.com/x', 'GET /x']);
  });
});

// Few letters, so that matches, near matches and odd spellings of the same path are common.
const word = fc.constantFrom('a', 'b', 'ab', 'orders', 'x');
const host = fc.oneof(fc.constantFrom('a.com', 'b.a.com', 'c.b.a.com', 'ab.a.com', 'other.org', ''));
const pattern = fc.constantFrom('a.com', 'b.a.com', '*.a.com', '*.b.a.com', '*.com');
const prefixText = fc.array(word, { maxLength: 4 }).map((words) => `/${words.join('/')}`);
const patternText = fc
  .tuple(fc.array(fc.oneof(word, fc.constant('*')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([words, open]) => `/${[...words, ...(open ? ['**'] : [])].join('/')}`);
const pathMatch = fc.oneof(
  prefixText,
  prefixText.map((prefix) => ({ prefix })),
  prefixText.map((exact) => ({ exact })),
  patternText.map((text) => ({ pattern: text })),
);
const place = { host: fc.oneof(pattern, fc.array(pattern, { minLength: 1, maxLength: 2 })), path: pathMatch };
const conditions = {
  method: fc.constantFrom('GET', 'POST'),
  header: fc.constantFrom({ 'x-a': '1' }, { 'x-a': { present: false } }),
  query: fc.constantFrom({ q: '1' }, { q: { present: true } }),
};
const match = fc.oneof(
  fc.record(place, { requiredKeys: [] }),
  fc.record({ ...place, ...conditions }, { requiredKeys: [] }),
);
const path = fc.oneof(
  prefixText,
  fc
    .array(
      fc.oneof(word, fc.constantFrom('/', '//', '/', '%2f', '%61', '\\', '..', '.', '%2e', ';', '%', '%zz', '*')),
      {
        maxLength: 8,
      },
    )
    .map((parts) => `/${parts.join('')}`),
);
const request: fc.Arbitrary<PlainRequest> = fc.record({
  host: fc.tuple(host, fc.constantFrom('', ':80', '.')).map(([name, end]) => (name === '' ? '' : name + end)),
  path,
  method: fc.constantFrom(0, 2, 9),
  headers: fc.constantFrom<Record<string, string>[]>({}, { 'x-a': '1' }, { 'x-a': '2' }),
  query: fc.constantFrom<Record<string, string>[]>({}, { q: '1' }, { q: '2' }),
});

describe('any table and any request', () => {
  it('chooses as the naive matcher does', () => {
    let matched = 0;
    fc.assert(
      fc.property(
        fc.array(match, { minLength: 1, maxLength: 12 }),
        fc.array(request, { minLength: 5, maxLength: 10 }),
        (matches, requests) => {
          const routes = matches.map((one, i) => schema.parse({ name: `r${i}`, match: one, pool: 'p' }));
          const table = new RouteTable(routes, () => 0);
          for (const one of requests) {
            const expected = referenceMatch(routes, one);
            if (expected !== null) matched++;
            expect(find(table, one)?.index ?? null, JSON.stringify(one)).toBe(expected);
          }
        },
      ),
      { numRuns: 1500 },
    );
    expect(matched).toBeGreaterThan(2000);
  });

  it('with rules for paths: chooses, and leaves behind, what the normal form says', () => {
    const rules = fc.record({
      dotSegments: fc.constantFrom('refuse', 'resolve'),
      emptySegments: fc.constantFrom('refuse', 'merge', 'keep'),
      encodedSlash: fc.constantFrom('refuse', 'decode', 'keep'),
      backslash: fc.constantFrom('refuse', 'slash'),
    }) as fc.Arbitrary<PathRules>;
    let matched = 0;
    fc.assert(
      fc.property(fc.array(match, { minLength: 1, maxLength: 12 }), request, rules, (matches, one, rules) => {
        const routes = matches.map((match, i) => schema.parse({ name: `r${i}`, match, pool: 'p' }));
        const table = new RouteTable(routes, () => 0, rules);
        const bytes = Buffer.from(`${one.path}?x/..`, 'latin1');
        const out = Buffer.alloc(one.path.length);
        const length = normalPath(bytes, 0, one.path.length, rules, out);
        const form = length < 0 ? null : out.toString('latin1', 0, length);
        const expected = form === null ? null : referenceMatch(routes, { ...one, path: form });
        if (expected !== null) matched++;
        const host = Buffer.from(one.host, 'latin1');
        const buf = Buffer.concat([host, bytes]);
        const end = host.length + one.path.length;
        const found = table.match(buf, 0, host.length, host.length, end, one.method, valuesOf(one));
        expect(found?.index ?? null, JSON.stringify([one, rules])).toBe(expected);
        if (found !== null) expect(buf.toString('latin1', host.length, table.pathEnd)).toBe(form);
      }),
      { numRuns: 1000 },
    );
    expect(matched).toBeGreaterThan(150);
  });

  it('is not fooled: what a prefix matches byte for byte it matches in every case, or the path is refused', () => {
    fc.assert(
      fc.property(path, (tail) => {
        const { table, name } = tableOf({ admin: { path: '/admin' }, web: {} });
        expect(name({ path: `/admin${tail}` }) ?? table.isPathRefused).toSatisfy(
          (found) => found === 'admin' || found === true,
        );
      }),
    );
  });
});

describe('options', () => {
  it.each([
    [{ path: 'orders' }, /must begin with/],
    [{ path: '/a/../b' }, /dot segment/],
    [{ path: '/a%20b' }, /decoded/],
    [{ path: '/a//b' }, /empty segment/],
    [{ path: '/a?b' }, /query/],
    [{ path: { pattern: '/a*/b' } }, /whole segment/],
    [{ path: { pattern: '/**/b' } }, /whole segment/],
    [{ host: 'a.com:80' }, /without a port/],
    [{ host: 'a.*.com' }, /not a host/],
    [{ host: '*' }, /not a host/],
    [{ header: { 'x y': '1' } }, /not a header name/],
  ])('refuse %j', (one, message) => {
    const { error } = schema.safeParse({ match: one, pool: 'p' });
    expect(JSON.stringify(error?.issues)).toMatch(message);
  });
});
