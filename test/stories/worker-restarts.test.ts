import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, type RawClient, rawClient, request } from '../helpers/raw-client.ts';

describe('workers are restarted and nothing is lost', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  const document = (runtime: object) => ({
    runtime: { workers: 2, ...runtime },
    listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
    // Requests that are held are held until they are released.
    pools: { web: { endpoints: [{ address: origin.address }], timeouts: { response: 'off', request: 'off' } } },
  });
  const restart = () => proxy.api('/api/v1/workers/restart', { method: 'POST' });

  beforeEach(async () => {
    origin = await startOrigin();
    proxy = await startProxy(document({}), { faults: true });
  });

  afterEach(async () => {
    await proxy.stop();
    await origin.close();
  });

  it('on kept connections and on short ones', async () => {
    const short = new OpenLoop(proxy.url, 150, 3_000, { connectionEach: true });
    await using kept = startLoad(proxy.port(), { connections: 6 });
    for (let i = 0; i < 3; i++) {
      const before = kept.answered;
      expect(await restart()).toEqual({ restarted: [0, 1] });
      await eventually(() => kept.answered > before + 50);
      // The old threads go when they have nothing left, and give their rows back.
      await eventually(() => proxy.events('worker-retired').length === 2 * (i + 1), { timeoutMs: 15_000 });
    }
    await kept.stop();
    const seen = await short.stop();
    expect(seen.sent).toBeGreaterThan(150);
    expect(seen.failures).toEqual({});
    expect(kept.lost).toEqual([]);
    expect(kept.refused).toBe(0);
    expect(proxy.events('worker-died')).toEqual([]);
    await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 0);
    // Asked for: none of them died.
    expect(await proxy.metric('evenkeel_worker_restarts_total')).toBe(0);
  });

  it('while an exchange is under way, which ends on its old thread', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async (asked, reply) => {
      if (asked.target === '/slow') await released;
      reply.send(200, 'done');
    };
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/slow'));
    await eventually(() => origin.requests.length === 1);
    await restart();
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('done');
    expect(proxy.events('worker-retired').length).toBeLessThan(2);
    release();
    expect((await client.response()).text).toBe('done');
    await eventually(() => proxy.events('worker-retired').length === 2, { timeoutMs: 15_000 });
  });

  it('is refused, and does no harm, when the predecessors of all workers still have work', async () => {
    origin.handler = () => {};
    const clients: RawClient[] = [];
    const results: string[] = [];
    for (let i = 0; i < 6; i++) {
      const fresh = await Promise.all(Array.from({ length: 6 }, () => rawClient(proxy.port())));
      for (const client of fresh) client.write(request('GET', '/'));
      clients.push(...fresh);
      await eventually(() => origin.requests.length === (i + 1) * 6);
      results.push(await restart().then(() => 'done', String));
    }
    expect(results.at(-1)).toMatch(/409.*still have connections to finish/);
    origin.handler = (_, reply) => void reply.send(200, 'ok');
    expect((await ask(proxy.port(), 'GET', '/')).status).toBe(200);
    for (const client of clients) client.socket.destroy();
  });

  it('and a reload that wants more threads than there is room for beside them is refused before anything changes', async () => {
    await proxy.stop();
    proxy = await startProxy(document({ workers: 1 }));
    origin.handler = () => {};
    const clients: RawClient[] = [];
    for (let isRefused = false; !isRefused; ) {
      const client = await rawClient(proxy.port());
      client.write(request('GET', '/'));
      clients.push(client);
      await eventually(() => origin.requests.length === clients.length);
      isRefused = await restart().then(
        () => false,
        () => true,
      );
    }
    const before = await proxy.api('/api/v1/config');
    await proxy.write(document({ workers: 2 }));
    expect(await proxy.reload()).toBe('reload-refused');
    expect(proxy.events('reload-refused')[0].problems).toEqual([expect.stringMatching(/^runtime\.workers: 2 is more/)]);
    expect((await proxy.api('/api/v1/config')).document).toEqual(before.document);
    for (const client of clients) client.socket.destroy();
    await eventually(() => proxy.events('worker-retired').length === clients.length - 1, { timeoutMs: 15_000 });
    expect(await proxy.reload()).toBe('reloaded');
    expect((await restart()).restarted).toEqual([0, 1]);
    expect((await proxy.api('/api/v1/status')).workers).toMatchObject([{ restarts: 0 }, { restarts: 0 }]);
  });

  it('when a worker has grown past the limit of its memory', async () => {
    await using kept = startLoad(proxy.port(), { connections: 4 });
    await proxy.write(document({ memory: '1MiB' }));
    expect(await proxy.reload()).toBe('reloaded');
    await eventually(() => proxy.events('worker-restarted').length === 2, { timeoutMs: 8_000 });
    expect(String(proxy.events('worker-restarted')[0].reason)).toMatch(/^its memory, \d+ MiB$/);
    await kept.stop();
    expect(kept.lost).toEqual([]);
    // Once, not again and again, although the limit is too low for any worker.
    expect(proxy.events('worker-restarted').length).toBe(2);
  });

  it('and a worker that dies right after it took over is replaced like any other', async () => {
    await restart();
    proxy.fault('die', 0);
    await eventually(() => proxy.events('worker-started').length === 1);
    await eventually(async () => (await ask(proxy.port(), 'GET', '/')).status === 200);
    for (let i = 0; i < 10; i++) expect((await ask(proxy.port(), 'GET', '/')).status).toBe(200);
    expect((await restart()).restarted).toEqual([0, 1]);
  });
});
