import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

describe('what is known of endpoints survives a restart of the process', () => {
  let origins: Origin[];
  let state: TemporaryDirectory;

  beforeAll(async () => {
    state = await temporaryDirectory('state');
    origins = await Promise.all(['good', 'bad', 'slow'].map((name) => startOrigin({ name })));
    const [, bad, slow] = origins;
    bad.handler = (asked, reply) => void reply.send(asked.target === '/healthz' ? 500 : 503, 'bad');
    slow.handler = (_, reply) => void setTimeout(() => reply.send(200, 'slow'), 150);
  });
  afterAll(async () => {
    await Promise.all(origins.map((origin) => origin.close()));
    await state.close();
  });

  const start = (pool: object) =>
    startProxy({
      runtime: { state: state.path },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: origins.map(({ address }) => ({ address })), retry: 'off', ...pool } },
    });
  const file = () => join(state.path, 'health.json');
  const requests = async (proxy: RunningProxy, count: number) => {
    for (let i = 0; i < count; i++) await ask(proxy.port(), 'GET', '/');
  };

  it('ejections go on for what was left of them, and the slow one stays the slow one', async () => {
    const [good, bad, slow] = origins;
    const pool = { ejection: { consecutiveFailures: 2, base: '30s' }, scheduler: 'weighted-round-robin' };
    const first = await start(pool);
    await eventually(async () => {
      await requests(first, 3);
      return (await first.endpoint('web', bad.address)).down.includes('ejected');
    });
    expect(await first.stop()).toBe(0);
    const before = bad.requests.length;
    await using second = await start({ ...pool, scheduler: 'response-time' });
    expect((await second.endpoint('web', bad.address)).down).toEqual(['ejected']);
    expect((await second.endpoint('web', good.address)).down).toEqual([]);
    const used = await eventually(() => second.events('health of an earlier process is used')[0] ?? null);
    expect(used).toMatchObject({ endpoints: 3 });
    const asked = slow.requests.length;
    await requests(second, 12);
    expect(bad.requests.length).toBe(before);
    // Cold, the first twelve would have found out anew.
    expect(slow.requests.length - asked).toBeLessThanOrEqual(1);
  });

  it('what a probe found unfit is not used before it has passed one', async () => {
    const [, bad] = origins;
    const probe = { kind: 'http', path: '/healthz', interval: '200ms' };
    const first = await start({ probe, ejection: 'off' });
    await eventually(async () => (await first.endpoint('web', bad.address)).down.includes('probe'));
    await first.stop();
    const before = bad.requests.filter(({ target }) => target === '/').length;
    await using second = await start({ probe: { ...probe, interval: '5s' }, ejection: 'off', scheduler: 'random' });
    expect((await second.endpoint('web', bad.address)).down).toEqual(['probe']);
    await requests(second, 12);
    expect(bad.requests.filter(({ target }) => target === '/').length).toBe(before);
  });

  it('a state set by the admin API does not', async () => {
    const [good] = origins;
    const first = await start({});
    await first.api(`/api/v1/pools/web/endpoints/${good.address}`, { method: 'PATCH', body: { state: 'drain' } });
    await first.stop();
    await using second = await start({});
    expect((await second.endpoint('web', good.address)).down).toEqual([]);
  });

  it.each([
    [
      'of a newer format',
      async () => ({ ...JSON.parse(await readFile(file(), 'utf8')), format: 99 }),
      /newer than ours/,
    ],
    [
      'too old',
      async () => ({ ...JSON.parse(await readFile(file(), 'utf8')), savedAt: Date.now() - 3_600_000 }),
      /36\d\d s old/,
    ],
    ['of another kind', async () => ['nothing'], /does not hold the health/],
  ])('a file that is %s is not used, which is said', async (_, content, reason) => {
    await writeFile(file(), JSON.stringify(await content()));
    await using proxy = await start({});
    const said = await eventually(() => proxy.events('saved health is not used')[0] ?? null);
    expect(said.reason).toMatch(reason);
    expect((await ask(proxy.port(), 'GET', '/')).status).toBeLessThan(504);
  });

  it('a directory that cannot be written costs a line in the log and nothing else', async () => {
    const blocked = await state.write('blocked', 'a file');
    const first = await startProxy({
      runtime: { state: blocked },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origins[0].address }] } },
    });
    expect((await ask(first.port(), 'GET', '/')).status).toBe(200);
    expect(await first.stop()).toBe(0);
    expect(first.events('health cannot be saved; going on without').length).toBe(1);
  });
});
