import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

describe('every request leaves one line in the access log', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin({ name: 'fine' });
    proxy = await startProxy({
      log: { access: 'stdout' },
      runtime: { workers: 2 },
      listeners: [
        {
          name: 'shop',
          bind: '127.0.0.1:0',
          trustForwarded: ['127.0.0.0/8', '10.0.0.0/8'],
          routes: [{ name: 'orders', match: { path: '/orders/' }, pool: 'web' }],
        },
      ],
      pools: { web: { endpoints: [{ address: origin.address }] } },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  const line = (path: string) => eventually(() => proxy.accessLines().find((one) => one.path === path) ?? null);

  it("has the contract's fields, in its order", async () => {
    origin.handler = async (asked, reply) => {
      await asked.ended;
      setTimeout(() => reply.send(201, 'created'), 50);
    };
    const before = Date.now();
    const sent = request(
      'POST',
      '/orders/7?card=4111',
      ['traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
      'body',
    );
    await using client = await rawClient(proxy.port());
    client.write(sent);
    await client.response();
    const received = client.receivedBytes;
    const found = await line('/orders/7');
    expect(Object.keys(found)).toEqual([
      'time',
      'listener',
      'route',
      'pool',
      'endpoint',
      'client',
      'method',
      'path',
      'status',
      'reason',
      'bytesIn',
      'bytesOut',
      'attempts',
      'queue',
      'connect',
      'response',
      'total',
      'traceId',
    ]);
    expect(found).toMatchObject({
      listener: 'shop',
      route: 'orders',
      pool: 'web',
      endpoint: origin.address,
      client: '127.0.0.1',
      method: 'POST',
      status: 201,
      reason: null,
      bytesIn: sent.length,
      bytesOut: received,
      attempts: 1,
      traceId: '0af7651916cd43dd8448eb211c80319c',
    });
    expect(Date.parse(found.time as string)).toBeGreaterThanOrEqual(before);
    const { queue, connect, response, total } = found as Record<string, number>;
    for (const phase of [queue, connect, response, total]) expect(phase).toBeGreaterThanOrEqual(0);
    expect(response).toBeGreaterThan(45);
    expect(total).toBeGreaterThanOrEqual(response);
    expect(total).toBeLessThan(5_000);
  });

  it('names the client a trusted peer speaks for', async () => {
    await ask(proxy.port(), 'GET', '/orders/forwarded', ['X-Forwarded-For: 203.0.113.9, 10.0.0.1']);
    expect((await line('/orders/forwarded')).client).toBe('203.0.113.9');
  });

  it('counts the bytes of each pipelined request by itself', async () => {
    origin.handler = (_, reply) => void reply.send(200, 'fine');
    await using client = await rawClient(proxy.port());
    const one = request('GET', '/orders/pipelined');
    client.write(one.repeat(5));
    for (let i = 0; i < 5; i++) await client.response();
    const lines = await eventually(() => {
      const all = proxy.accessLines().filter(({ path }) => path === '/orders/pipelined');
      return all.length === 5 ? all : null;
    });
    expect(lines.map(({ bytesIn }) => bytesIn)).toEqual(Array(5).fill(one.length));
  });

  it('is whole JSON whatever the client sends', async () => {
    await ask(proxy.port(), 'GET', '/nowhere/"quoted"\\and', ['Host: "x'.replace('"', '')]);
    await using client = await rawClient(proxy.port());
    client.write('\x00\x01garbage "\r\n\r\n');
    await client.response();
    await line('/nowhere/"quoted"\\and').catch(() => null);
    const refused = await eventually(() => proxy.accessLines().find(({ reason }) => reason === 'bad-request') ?? null);
    expect(refused).toMatchObject({ status: 400, listener: 'shop', route: '', endpoint: null, attempts: 0 });
  });

  it('has as many lines as there were requests, after load and an end by SIGTERM', async () => {
    const load = startLoad(proxy.port(), { connections: 8, target: '/orders/load', pauseMs: 0, reconnects: false });
    await eventually(() => load.answered > 2_000);
    proxy.child.kill('SIGTERM');
    await proxy.child.exited;
    await load.stop();
    expect(load.lost).toEqual([]);
    expect(proxy.accessLines().filter(({ path }) => path === '/orders/load').length).toBe(load.answered);
  });
});
