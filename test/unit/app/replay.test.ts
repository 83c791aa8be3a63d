import { describe, expect, it } from 'vitest';
import { catalogs } from '../../../src/app/catalogs.ts';
import { readDocument } from '../../../src/app/document.ts';
import { replay } from '../../../src/app/replay.ts';
import { type RequestSample, RequestSampler, sampledNames } from '../../../src/telemetry/request-sampler.ts';

const documentOf = (routes: string) =>
  readDocument(
    `listeners: [{ bind: "127.0.0.1:0", name: web, routes: ${routes} }]
pools: { a: { endpoints: [{ address: "127.0.0.1:1" }] }, b: { endpoints: [{ address: "127.0.0.1:2" }] } }`,
    'doc',
    {},
    catalogs,
  ).document;

const sample = (more: Partial<RequestSample> = {}): RequestSample => ({
  listener: 'web',
  method: 'GET',
  host: 'shop.example.com',
  path: '/orders/1',
  headers: {},
  query: {},
  route: '/',
  pool: 'a',
  status: 200,
  ...more,
});
const never = () => false;

describe('a replay of sampled requests', () => {
  it('tells which would go to another route or pool, and which would stay', () => {
    const next = documentOf('[{ pool: a }, { name: orders, match: { path: /orders, method: GET }, pool: b }]');
    const samples = [sample(), sample({ path: '/orders/2' }), sample({ method: 'POST' }), sample({ path: '/' })];
    const { moved, failing, unknown } = replay(samples, next, never);
    const example = 'GET shop.example.com/orders/1';
    expect(moved).toEqual([{ listener: 'web', from: '/ → a', to: 'orders → b', requests: 2, example }]);
    expect([failing, unknown]).toEqual([[], 0]);
  });

  it('tells which would fail: no route, no listener, an empty pool; not those that had no route before', () => {
    const next = documentOf('[{ name: /, match: { host: shop.example.com }, pool: a }]');
    const samples = [
      sample({ host: 'else' }),
      sample({ listener: 'old' }),
      sample({ host: 'else', route: '', pool: '' }),
    ];
    const reasons = (isEmpty: (pool: string) => boolean) => replay(samples, next, isEmpty).failing.map(({ to }) => to);
    expect(reasons(never)).toEqual(['no route', 'there is no listener old any more']);
    expect(replay([sample()], next, (pool) => pool === 'a').failing).toMatchObject([{ to: 'pool a has no endpoints' }]);
  });

  it('says that it does not know where a route asks for a header that was not kept', () => {
    const next = documentOf('[{ pool: a }, { name: beta, match: { header: { x-beta: "1" } }, pool: b }]');
    expect(replay([sample()], next, never)).toMatchObject({ moved: [], unknown: 1 });
    expect(replay([sample({ headers: { 'x-beta': '1' } })], next, never).moved).toMatchObject([{ to: 'beta → b' }]);
    expect(replay([sample({ headers: { 'x-beta': null } })], next, never)).toMatchObject({ moved: [], unknown: 0 });
  });
});

describe('the sampler', () => {
  it('keeps one request in so many, with what routes ask for and no secret, and passes all on', () => {
    const { listeners } = documentOf(
      '[{ match: { header: { x-beta: "1", cookie: { present: true } }, query: { v: "2" } }, pool: a }]',
    );
    const names = sampledNames(listeners[0].routes, (name) => name === 'cookie');
    expect(names).toEqual({ headers: ['x-beta'], query: ['v'] });
    const sent: RequestSample[] = [];
    let passed = 0;
    const sampler = new RequestSampler({
      every: 3,
      names,
      next: { record: () => void passed++ },
      send: (samples) => void sent.push(...samples),
    });
    const record = {
      listenerName: 'web',
      routeName: 'r',
      poolName: 'a',
      methodText: 'GET',
      path: '/x',
      status: 200,
      host: 'h',
      header: (name: string) => `value of ${name}`,
      queryValue: () => null,
    };
    for (let i = 0; i < 7; i++) sampler.record(record as never);
    sampler.flush();
    expect([passed, sent.length]).toEqual([7, 3]);
    expect(sent[0]).toMatchObject({ headers: { 'x-beta': 'value of x-beta' }, query: { v: null }, path: '/x' });
  });
});
