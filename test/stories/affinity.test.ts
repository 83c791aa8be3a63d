import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';

describe('affinity by cookie', () => {
  let origins: Origin[];
  let proxies: RunningProxy[];

  beforeAll(async () => {
    origins = await Promise.all(['red', 'green', 'blue'].map((name) => startOrigin({ name })));
    for (const origin of origins)
      origin.handler = (_, reply) => void reply.send(200, origin.name, ['set-cookie: own=1', 'set-cookie: two=2']);
    const document = {
      runtime: { workers: 2 },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: {
        web: {
          endpoints: origins.map(({ address }) => ({ address })),
          scheduler: 'weighted-round-robin',
          affinity: { cookie: 'seat', secret: 'the same for both of them', maxAge: '1h' },
        },
      },
    };
    proxies = await Promise.all([startProxy(document), startProxy(document)]);
  });

  afterAll(async () => {
    for (const proxy of proxies) await proxy.stop();
    for (const origin of origins) await origin.close();
  });

  /** A new connection each time: any worker. Returns who served and the cookie that was set, if any. */
  async function visit(
    proxy: RunningProxy,
    ...cookies: string[]
  ): Promise<{ by: string; set: string | null; all: string[] }> {
    const lines = cookies.length === 0 ? [] : [`cookie: ${cookies.join('; ')}`];
    const answer = await ask(proxy.port(), 'GET', '/', lines);
    const all = answer.fields.all('set-cookie');
    return { by: answer.text, set: all.find((line) => line.startsWith('seat=')) ?? null, all };
  }

  it('keeps a client at its endpoint on every worker and every evenkeel with the secret, and sets the cookie once', async () => {
    const first = await visit(proxies[0]);
    expect(first.set).toMatch(/^seat=[A-Za-z0-9_-]{24}; Path=\/; Max-Age=3600; SameSite=Lax; HttpOnly$/);
    expect(first.all).toEqual(['own=1', 'two=2', first.set]);
    const seat = (first.set as string).split(';')[0];
    for (let i = 0; i < 8; i++) {
      const again = await visit(proxies[i % 2], 'other=1', seat);
      expect(again).toMatchObject({ by: first.by, set: null });
    }
  });

  it('ignores what nobody signed, and gives a cookie in its place', async () => {
    for (const forged of ['seat=', 'seat=127.0.0.1', `seat=${'A'.repeat(24)}`, `seat=${origins[0].address}`]) {
      const { set } = await visit(proxies[0], forged);
      expect(set).toMatch(/^seat=/);
    }
    const served = new Set<string>();
    for (let i = 0; i < 12; i++) served.add((await visit(proxies[0], 'seat=forged')).by);
    expect(served.size).toBe(3);
  });

  it('yields to a drain: another endpoint and a new cookie, which then holds', async () => {
    const first = await visit(proxies[0]);
    const { address } = origins.find(({ name }) => name === first.by) as Origin;
    const seat = (first.set as string).split(';')[0];
    const path = `/api/v1/pools/web/endpoints/${address}`;
    await proxies[0].api(path, { method: 'PATCH', body: { state: 'drain' } });
    const moved = await visit(proxies[0], seat);
    expect(moved.by).not.toBe(first.by);
    const newSeat = (moved.set as string).split(';')[0];
    expect(newSeat).not.toBe(seat);
    expect(await visit(proxies[0], newSeat)).toMatchObject({ by: moved.by, set: null });
    await proxies[0].api(path, { method: 'PATCH', body: { state: 'ready' } });
    expect(await visit(proxies[0], seat)).toMatchObject({ by: first.by, set: null });
  });
});
