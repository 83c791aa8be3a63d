import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, type OriginHandler, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

describe('an endpoint that fails live traffic is taken out and comes back', () => {
  let good: Origin;
  let bad: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    good = await startOrigin({ name: 'good' });
    bad = await startOrigin({ name: 'bad' });
    const pool = (...origins: Origin[]) => ({
      endpoints: origins.map(({ address }) => ({ address })),
      scheduler: 'weighted-round-robin',
      retry: 'off',
      ejection: { consecutiveFailures: 3, successRate: 'off', base: '1300ms', max: '2s' },
    });
    proxy = await startProxy({
      runtime: { workers: 2 },
      listeners: [
        { name: 'both', bind: '127.0.0.1:0', pool: 'both' },
        { name: 'alone', bind: '127.0.0.2:0', pool: 'alone' },
      ],
      pools: { both: pool(good, bad), alone: pool(bad) },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await good.close();
    await bad.close();
  });

  beforeEach(async () => {
    bad.handler = (_, reply) => void reply.send(200, 'bad');
    await comesBack();
    await statuses(4);
  });

  /** Requests go on: one of them is the trial after the ejection's time. */
  async function comesBack(): Promise<void> {
    await eventually(
      async () => {
        await statuses(1);
        return (await proxy.endpoint('both', bad.address)).available;
      },
      { timeoutMs: 5_000 },
    );
  }

  async function statuses(count: number, listener = 'both'): Promise<number[]> {
    const all: number[] = [];
    // A connection each, so that both workers take part.
    for (let i = 0; i < count; i++) {
      await using client = await rawClient(proxy.port(listener), {
        host: listener === 'alone' ? '127.0.0.2' : '127.0.0.1',
      });
      all.push((await client.ask('GET', '/')).status);
    }
    return all;
  }

  const FAULTS: Record<string, OriginHandler> = {
    'answers of 500': (_, reply) => void reply.send(500, 'broken'),
    resets: (_, reply) => reply.reset(),
  };

  it.each(Object.keys(FAULTS))('after %s in a row, over all workers; events and metrics say so', async (fault) => {
    bad.handler = FAULTS[fault];
    const ejections = await proxy.metric('evenkeel_ejections_total');
    const events = proxy.events('ejected').length;
    const restored = proxy.events('restored').length;
    const first = await statuses(16);
    expect(first.filter((status) => status >= 500).length).toBe(3);
    expect(await proxy.endpoint('both', bad.address)).toMatchObject({ available: false, down: ['ejected'] });
    await eventually(() => proxy.events('ejected').length === events + 1);
    expect(proxy.events('ejected').at(-1)).toMatchObject({
      pool: 'both',
      endpoint: bad.address,
      cause: 'consecutive-failures',
    });
    await eventually(async () => (await proxy.metric('evenkeel_ejections_total')) === ejections + 1);
    await eventually(
      async () => (await proxy.metric('evenkeel_endpoint_available', { pool: 'both', endpoint: bad.address })) === 0,
    );
    bad.handler = (_, reply) => void reply.send(200, 'bad');
    await comesBack();
    await eventually(() => proxy.events('restored').length > restored);
    expect(proxy.events('restored').at(-1)).toMatchObject({ pool: 'both', endpoint: bad.address });
    const served = bad.requests.length;
    expect(await statuses(8)).toEqual(Array(8).fill(200));
    expect(bad.requests.length).toBeGreaterThan(served);
  });

  it('is tried by one request when its time is over, and stays out for longer when that fails', async () => {
    const before = proxy.events('ejected').length;
    bad.handler = (_, reply) => void reply.send(500, 'broken');
    await statuses(8);
    const served = bad.requests.length;
    // Its line may come later than the answers.
    await eventually(() => proxy.events('ejected').length > before);
    await eventually(
      async () => {
        await statuses(1);
        return proxy.events('ejected').length > before + 1;
      },
      { timeoutMs: 5_000 },
    );
    expect(proxy.events('ejected').at(-1)).toMatchObject({ endpoint: bad.address, cause: 'trial' });
    expect(bad.requests.length).toBe(served + 1);
    expect(await proxy.endpoint('both', bad.address)).toMatchObject({ available: false, down: ['ejected'] });
  });

  it('is not tried by a request that may be sent once only, also when that one has waited for its turn', async () => {
    const held = Promise.withResolvers<void>();
    await using busy = await startOrigin({
      handler: async (asked, reply) => {
        if (asked.target === '/held') await held.promise;
        reply.send(200, 'busy');
      },
    });
    await using failing = await startOrigin({ handler: (_, reply) => void reply.send(500, 'broken') });
    await using other = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: {
        web: {
          endpoints: [busy, failing].map(({ address }) => ({ address })),
          scheduler: 'first',
          retry: 'off',
          ejection: { consecutiveFailures: 1, base: '100ms', max: '100ms' },
          limits: { active: 1, pending: 1, pendingTimeout: '10s' },
        },
      },
    });
    await using first = await rawClient(other.port());
    first.write(request('GET', '/held'));
    await eventually(() => busy.requests.length === 1);
    expect((await ask(other.port(), 'GET', '/')).status).toBe(500);
    await using second = await rawClient(other.port());
    const posted = second.ask('POST', '/posted', [], 'once');
    await eventually(async () => (await other.metric('evenkeel_pool_pending', { pool: 'web' })) === 1);
    // The queue is full: 503 until the trial is open. Then who comes last is the trial, not who waits.
    await eventually(async () => (await ask(other.port(), 'GET', '/trial')).status === 500);
    expect(failing.requests.map(({ target }) => target)).toEqual(['/', '/trial']);
    held.resolve();
    expect((await posted).status).toBe(200);
  });

  it('not for what the client did: 4xx, 501, a body too large', async () => {
    for (const status of [400, 404, 429, 501]) {
      bad.handler = (_, reply) => void reply.send(status, 'your fault');
      await statuses(8);
    }
    expect((await proxy.endpoint('both', bad.address)).down).toEqual([]);
  });

  it('never the last one', async () => {
    bad.handler = (_, reply) => void reply.send(500, 'broken');
    expect(await statuses(10, 'alone')).toEqual(Array(10).fill(500));
    expect(await proxy.endpoint('alone', bad.address)).toMatchObject({ available: true, down: [] });
  });
});
