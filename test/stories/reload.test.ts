import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { freePort } from '../helpers/ports.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

type Route = { name?: string; match?: object; pool: string };

describe('a reload changes what is served and loses nothing', () => {
  let red: Origin;
  let blue: Origin;
  let proxy: RunningProxy;

  const pool = (...origins: Origin[]) => ({ endpoints: origins.map(({ address }) => ({ address })) });
  const toRed: Route[] = [{ pool: 'red' }];

  function document(routes: Route[], pools: Record<string, object>, more: object = {}) {
    return { runtime: { workers: 2 }, listeners: [{ name: 'web', bind: '127.0.0.1:0', routes }], pools, ...more };
  }

  beforeAll(async () => {
    red = await startOrigin({ name: 'red' });
    blue = await startOrigin({ name: 'blue' });
    proxy = await startProxy(document(toRed, { red: pool(red) }));
  });

  afterAll(async () => {
    await proxy.stop();
    await red.close();
    await blue.close();
  });

  /** Every story begins with the first document. */
  beforeEach(async () => {
    await proxy.write(document(toRed, { red: pool(red) }));
    await proxy.reload();
  });

  const versionNow = async () => (await proxy.api('/api/v1/config')).number as number;

  const answer = async (target = '/', port = proxy.port()) => {
    const { status, text, fields } = await ask(port, 'GET', target);
    return status === 200 ? text : `${status} ${fields.get('x-evenkeel-reason')}`;
  };

  it('serves a route, a pool and an endpoint that are new, on every worker', async () => {
    await proxy.write(
      document([{ match: { path: '/blue' }, pool: 'blue' }, ...toRed], { red: pool(red), blue: pool(blue) }),
    );
    expect(await proxy.reload()).toBe('reloaded');
    for (let i = 0; i < 16; i++) expect([await answer('/'), await answer('/blue')]).toEqual(['red', 'blue']);
  });

  it('changes the endpoints of a pool', async () => {
    await proxy.write(document(toRed, { red: pool(blue) }));
    await proxy.reload();
    for (let i = 0; i < 8; i++) expect(await answer()).toBe('blue');
    expect((await proxy.api('/api/v1/pools/red')).endpoints.map(({ id }: { id: string }) => id)).toEqual([
      blue.address,
    ]);
  });

  it('answers what a route that left would have served as unknown', async () => {
    await proxy.write(document([{ match: { path: '/only' }, pool: 'red' }], { red: pool(red) }));
    await proxy.reload();
    expect(await answer('/only')).toBe('red');
    expect(await answer('/')).toBe('404 no-route');
  });

  it('loses no request under load, whatever changes', async () => {
    const documents = [
      document(toRed, { red: pool(red, blue) }),
      document([{ pool: 'blue' }], { blue: pool(blue) }),
      document([{ match: { path: '/x' }, pool: 'blue' }, ...toRed], { red: pool(red), blue: pool(blue) }),
      document([{ name: 'again', pool: 'red' }], {
        red: { ...pool(red), scheduler: 'random', timeouts: { response: '3s' } },
      }),
      document(toRed, { red: pool(red) }),
    ];
    const version = await versionNow();
    await using load = startLoad(proxy.port(), { connections: 6, target: '/x' });
    for (const next of [...documents, ...documents]) {
      const before = load.answered;
      await eventually(() => load.answered > before + 20);
      await proxy.write(next);
      expect(await proxy.reload()).toBe('reloaded');
    }
    await load.stop();
    expect(load.lost).toEqual([]);
    expect(load.refused).toBe(0);
    expect([...load.statuses.keys()]).toEqual([200]);
    expect(await versionNow()).toBe(version + 10);
  });

  it('refuses a bad document and runs on with the old one', async () => {
    const version = await versionNow();
    await proxy.write(document([{ pool: 'missing' }], { red: pool(red) }));
    expect(await proxy.reload()).toBe('reload-refused');
    expect(await answer()).toBe('red');
    await proxy.write('listeners: [');
    expect(await proxy.reload()).toBe('reload-refused');
    expect(await answer()).toBe('red');
    expect(JSON.stringify(proxy.events('reload-refused')[0].problems)).toContain('missing');
    expect(await versionNow()).toBe(version);
  });

  it('says over the API what is wrong with a document', async () => {
    await proxy.write(document([{ pool: 'missing' }], { red: pool(red) }));
    await expect(proxy.api('/api/v1/reload', { method: 'POST' })).rejects.toThrow(/422.*document-refused.*missing/s);
    await proxy.write(document([{ pool: 'blue' }], { blue: pool(blue) }));
    expect((await proxy.api('/api/v1/reload', { method: 'POST' })).changed).toBe(true);
    expect(await answer()).toBe('blue');
  });

  it('refuses a document that wants a busy port', async () => {
    const busy = { name: 'busy', bind: blue.address, pool: 'red' };
    const both = document(toRed, { red: pool(red), blue: pool(blue) });
    await proxy.write({ ...both, listeners: [...both.listeners, busy] });
    expect(await proxy.reload()).toBe('reload-refused');
    expect(JSON.stringify(proxy.events('reload-refused').at(-1)!.problems)).toContain(blue.address);
    expect(await answer()).toBe('red');
  });

  it('opens a listener that is new and closes one that left', async () => {
    const port = await freePort();
    const both = document(toRed, { red: pool(red) });
    await proxy.write({
      ...both,
      listeners: [...both.listeners, { name: 'second', bind: `127.0.0.1:${port}`, pool: 'red' }],
    });
    await proxy.reload();
    await eventually(async () => (await answer('/', port)) === 'red');
    await proxy.write(both);
    await proxy.reload();
    await eventually(() =>
      answer('/', port).then(
        () => false,
        () => true,
      ),
    );
    expect(await answer()).toBe('red');
  });

  it('serves on when a listener gets another name', async () => {
    const port = await freePort();
    const both = document(toRed, { red: pool(red) });
    const named = (name: string) => {
      return { ...both, listeners: [...both.listeners, { name, bind: `127.0.0.1:${port}`, pool: 'red' }] };
    };
    await proxy.write(named('one'));
    await proxy.reload();
    await eventually(async () => (await answer('/', port)) === 'red');
    await proxy.write(named('two'));
    expect(await proxy.reload()).toBe('reloaded');
    for (let i = 0; i < 8; i++) await eventually(async () => (await answer('/', port)) === 'red');
    await eventually(async () => (await proxy.metric('evenkeel_connections_total', { listener: 'two' })) >= 8);
  });

  it('lets an exchange finish on the pool it began with, although the pool left', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    red.handler = async (_, reply) => {
      await released;
      reply.send(200, 'red');
    };
    await using client = await rawClient(proxy.port());
    const asked = red.requests.length;
    client.write(request('GET', '/slow'));
    await eventually(() => red.requests.length > asked);
    await proxy.write(document([{ pool: 'blue' }], { blue: pool(blue) }));
    await proxy.reload();
    expect(await answer()).toBe('blue');
    release();
    expect((await client.response()).text).toBe('red');
    // The next one on the same connection is served by what holds now.
    expect((await client.ask('GET', '/')).text).toBe('blue');
    red.handler = (_, reply) => void reply.send(200, 'red');
  });

  it('keeps what the admin API set', async () => {
    await proxy.write(document(toRed, { red: pool(red, blue) }));
    await proxy.reload();
    await proxy.api(`/api/v1/pools/red/endpoints/${red.address}`, { method: 'PATCH', body: { state: 'maintenance' } });
    await proxy.write(document(toRed, { red: { ...pool(red, blue), timeouts: { response: '3s' } } }));
    await proxy.reload();
    for (let i = 0; i < 8; i++) expect(await answer()).toBe('blue');
    expect((await proxy.endpoint('red', red.address)).down).toEqual(['admin']);
    await proxy.api(`/api/v1/pools/red/endpoints/${red.address}`, { method: 'PATCH', body: { state: 'ready' } });
  });

  it('takes new limits and timeouts for requests that come after it', async () => {
    red.handler = (asked, reply) => void (asked.target === '/never' || reply.send(200, 'red'));
    await proxy.write(document(toRed, { red: { ...pool(red), retry: 'off', timeouts: { response: '100ms' } } }));
    await proxy.reload();
    expect(await answer('/never')).toBe('504 response-timeout');
    red.handler = (_, reply) => void reply.send(200, 'red');
  });
});
