import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient } from '../helpers/raw-client.ts';

describe('explain says where a request would go, and it goes there', () => {
  let origins: Origin[];
  let proxy: RunningProxy;

  beforeAll(async () => {
    origins = await Promise.all(['red', 'green', 'blue'].map((name) => startOrigin({ name })));
    for (const origin of origins) origin.handler = (_, reply) => void reply.send(200, origin.address);
    const endpoints = origins.map(({ address }) => ({ address }));
    proxy = await startProxy({
      runtime: { workers: 2 },
      log: { decisions: '1/3' },
      listeners: [
        {
          name: 'shop',
          bind: '127.0.0.1:0',
          routes: [
            { name: 'beta', match: { path: '/orders', header: { 'x-beta': 'yes' } }, pool: 'hashed' },
            { name: 'orders', match: { host: 'shop.example.com', path: '/orders' }, pool: 'hashed' },
            { name: 'posts', match: { method: 'POST' }, pool: 'turns' },
            { name: 'all', pool: 'turns' },
          ],
        },
      ],
      pools: {
        hashed: { endpoints, scheduler: { kind: 'hash', on: 'header:x-user' } },
        turns: { endpoints: [{ ...endpoints[0], weight: 3 }, endpoints[1], { ...endpoints[2], backup: true }] },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    for (const origin of origins) await origin.close();
  });

  async function cli(...argv: string[]): Promise<{ status: number; out: string; error: string }> {
    let out = '';
    let error = '';
    const status = await runCommandLine([...argv, '--admin', proxy.admin.slice('http://'.length)], {
      out: (text) => {
        out += text;
      },
      error: (text) => {
        error += text;
      },
      environment: {},
      directory: proxy.directory,
    });
    return { status, out, error };
  }

  const ask = (url: string, ...headers: string[]) => {
    const query = new URLSearchParams([['method', 'GET'], ['url', url], ...headers.map((line) => ['header', line])]);
    return proxy.api(`/api/v1/explain?${query}`);
  };

  it('names the route, why no other got it, and for a hash the very endpoint, without changing anything', async () => {
    await using client = await rawClient(proxy.port());
    for (const user of ['ann', 'bob', 'cleo', 'dan']) {
      const said = await ask('http://shop.example.com/orders/1?x=2', `x-user: ${user}`);
      expect(said).toMatchObject({ listener: 'shop', route: { name: 'orders' }, refusal: null });
      expect(said.others).toEqual([
        { route: 'beta', because: 'header x-beta is not as asked' },
        { route: 'posts', because: 'method is not POST' },
        { route: 'all', because: 'matches too, but orders is more specific' },
      ]);
      expect(said.pool).toMatchObject({ scheduler: 'hash', isCertain: true, candidateCount: 3, outCount: 0 });
      const answer = await client.ask('GET', '/orders/1', ['host: shop.example.com', `x-user: ${user}`]);
      expect(answer.text).toBe(said.pool.picked);
    }
  });

  it('gives shares by weight, and says why every other endpoint is out', async () => {
    const backup = origins[2].address;
    const before = await ask('http://any.example/');
    expect(before.route.name).toBe('all');
    expect(before.pool).toMatchObject({ isCertain: false, picked: origins[0].address });
    expect(before.pool.out).toEqual([{ endpoint: backup, down: [], because: 'backup: others are fit' }]);
    const [first, second] = before.pool.candidates;
    expect(first.share).toBeGreaterThan(0.7);
    expect(first.share + second.share).toBeCloseTo(1, 2);
    expect((await cli('endpoint', 'drain', 'turns', origins[0].address, '--weight', '7')).status).toBe(0);
    const after = await ask('http://any.example/');
    expect(after.pool).toMatchObject({ isCertain: true, picked: origins[1].address });
    expect(after.pool.out[0]).toMatchObject({ endpoint: origins[0].address, down: ['admin'] });
    expect(after.pool.out[0].because).toBe('admin API set drain');
    const back = await cli('endpoint', 'ready', 'turns', origins[0].address);
    expect(back).toMatchObject({ status: 0, out: `turns ${origins[0].address}: ready, weight 7, 0 in flight\n` });
  });

  it('refuses what no client could send, and says what a client would be answered', async () => {
    expect(await cli('explain', 'GET', 'shop.example.com/orders')).toMatchObject({ status: 2 });
    const bad = await cli('explain', 'GET', 'http://shop.example.com/orders', '--header', 'x y: z');
    expect(bad.status).toBe(2);
    expect(bad.error).toContain('no client could send this');
    expect(await ask('http://shop.example.com/a/../b')).toMatchObject({ route: null, refusal: { status: 400 } });
  });

  it('prints a table for people and the same as JSON', async () => {
    const { status, out } = await cli('explain', 'GET', 'http://shop.example.com/orders', '--header', 'x-user: ann');
    expect(status).toBe(0);
    expect(out).toContain('route orders\n');
    expect(out).toContain('not beta:');
    expect(out).toMatch(/pool hashed, hash: 127\.0\.0\.1:\d+\n/);
    expect(out).toContain('budget for');
    const json = await cli('explain', 'GET', 'http://shop.example.com/orders', '--header', 'x-user: ann', '--json');
    expect(JSON.parse(json.out).route.name).toBe('orders');
  });

  it('endpoint says what is wrong, and top shows every pool', async () => {
    expect(await cli('endpoint', 'drain', 'nope', '127.0.0.1:1')).toMatchObject({ status: 1 });
    expect(await cli('endpoint', 'drain', 'turns', '127.0.0.1:1')).toMatchObject({ status: 1 });
    const { status, out } = await cli('top', '--count', '2', '--interval', '0.1');
    expect(status).toBe(0);
    expect(out.match(/^evenkeel ready/gm)?.length).toBe(2);
    expect(out).toContain('turns (response-time)');
    for (const { address } of origins) expect(out).toContain(address);
  });

  it('logs one decision in so many, in the same form', async () => {
    await using client = await rawClient(proxy.port());
    const before = proxy.events('decision').length;
    for (let i = 0; i < 30; i++) await client.ask('GET', '/', ['host: shop.example.com']);
    await eventually(() => proxy.events('decision').length >= before + 10);
    const [decision] = proxy.events('decision').slice(-1) as { candidates: { endpoint: string }[]; picked: string }[];
    expect(decision).toMatchObject({ pool: 'turns', scheduler: 'response-time', candidateCount: 2 });
    expect(decision.candidates.map(({ endpoint }) => endpoint)).toContain(decision.picked);
  });
});
