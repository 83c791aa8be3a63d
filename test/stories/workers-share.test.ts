import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { type RawClient, rawClient } from '../helpers/raw-client.ts';

describe('workers share the connections and the counts', () => {
  let origins: Origin[];
  let proxy: RunningProxy;

  beforeAll(async () => {
    origins = await Promise.all([1, 2].map(() => startOrigin({ name: 'fine' })));
    proxy = await startProxy({
      runtime: { workers: 2 },
      listeners: [
        { name: 'web', bind: ['127.0.0.1:0', '127.0.0.2:0'], pool: 'web' },
        { name: 'few', bind: '127.0.0.1:0', limits: { connectionsPerClient: 6 }, pool: 'few' },
      ],
      pools: {
        few: { endpoints: origins.map(({ address }) => ({ address })) },
        web: {
          endpoints: origins.map(({ address }) => ({ address })),
          scheduler: 'weighted-round-robin',
          limits: { active: 4, pending: 100, pendingTimeout: '5s' },
        },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    for (const origin of origins) await origin.close();
  });

  it('each takes a part of the connections', async () => {
    // A worker keeps the upstream connection of its own: two workers, two endpoints, one connection each.
    const clients: RawClient[] = [];
    for (let i = 0; i < 40; i++) {
      const client = await rawClient(proxy.port());
      clients.push(client);
      for (let j = 0; j < 2; j++) expect((await client.ask('GET', '/')).status).toBe(200);
    }
    for (const origin of origins) expect(origin.connections).toBe(2);
    const parts = origins[0].requests.reduce((counts, { connection }) => {
      counts[connection] = (counts[connection] ?? 0) + 1;
      return counts;
    }, [] as number[]);
    for (const part of parts) expect(part).toBeGreaterThan(4);
    for (const client of clients) client.socket.destroy();
  });

  it('so do the connections of a client', async () => {
    const clients: RawClient[] = [];
    let refused = 0;
    for (let i = 0; i < 24; i++) {
      const client = await rawClient(proxy.port('few'), { localAddress: '127.0.0.9' });
      if ((await client.ask('GET', '/')).status === 503) refused++;
      else clients.push(client);
    }
    expect([clients.length, refused]).toEqual([6, 18]);
    await using other = await rawClient(proxy.port('few'), { localAddress: '127.0.0.10' });
    expect((await other.ask('GET', '/')).status).toBe(200);
    for (const client of clients) client.socket.destroy();
    await eventually(async () => {
      await using again = await rawClient(proxy.port('few'), { localAddress: '127.0.0.9' });
      return (await again.ask('GET', '/')).status === 200;
    });
  });

  it('the limit of an endpoint holds over both, but for one request', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    for (const origin of origins) {
      origin.handler = async (_, reply) => {
        await released;
        reply.send(200, 'fine');
      };
    }
    const clients = await Promise.all(Array.from({ length: 30 }, () => rawClient(proxy.port())));
    for (const client of clients) client.write('GET /held HTTP/1.1\r\nhost: story\r\n\r\n');
    const held = () => origins.map(({ requests }) => requests.filter(({ target }) => target === '/held').length);
    await eventually(() => held().every((count) => count >= 4));
    // For one that should not have come.
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (const count of held()) {
      expect(count).toBeGreaterThanOrEqual(4);
      expect(count).toBeLessThanOrEqual(5);
    }
    release();
    for (const client of clients) expect((await client.response()).status).toBe(200);
    for (const client of clients) client.socket.destroy();
  });
});
