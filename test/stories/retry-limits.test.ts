import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';
import { type HeldPort, refusingPort } from '../helpers/refusing-port.ts';

describe('retries are bounded', () => {
  let origins: Origin[];
  let dead: HeldPort[];
  let proxy: RunningProxy;

  beforeAll(async () => {
    origins = await Promise.all([1, 2, 3, 4].map(() => startOrigin((_, reply) => void reply.send(503, 'overloaded'))));
    dead = await Promise.all([1, 2, 3, 4].map(() => refusingPort()));
    const failing = origins.map(({ address }) => ({ address }));
    const common = { scheduler: 'weighted-round-robin', ejection: 'off' };
    proxy = await startProxy({
      listeners: [
        {
          name: 'web',
          bind: '127.0.0.1:0',
          routes: [
            { match: { path: '/two' }, pool: 'two' },
            { match: { path: '/none' }, pool: 'none' },
            { match: { path: '/dead' }, pool: 'dead' },
            { match: { path: '/budget' }, pool: 'budget' },
          ],
        },
      ],
      pools: {
        two: { ...common, endpoints: failing, retry: { attempts: 2 } },
        none: { ...common, endpoints: failing, retry: { attempts: 0 } },
        dead: { ...common, endpoints: dead.map(({ address }) => ({ address })), retry: { attempts: 3 } },
        budget: { ...common, endpoints: failing, retry: { attempts: 1, budget: '0%' } },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    for (const one of [...origins, ...dead]) await one.close();
  });

  const asked = (target: string) =>
    origins.map(({ requests }) => requests.filter((one) => one.target === target).length);

  it('makes as many attempts beyond the first as the pool allows, each on another endpoint', async () => {
    expect((await ask(proxy.port(), 'GET', '/two')).status).toBe(503);
    expect(asked('/two').sort()).toEqual([0, 1, 1, 1]);
    expect((await ask(proxy.port(), 'GET', '/none')).status).toBe(503);
    expect(asked('/none').sort()).toEqual([0, 0, 0, 1]);
  });

  it('gives up with 502 when every attempt was refused', async () => {
    const { status, fields } = await ask(proxy.port(), 'GET', '/dead');
    expect([status, fields.get('x-evenkeel-reason')]).toEqual([502, 'connect-failed']);
  });

  it('stops retrying when the budget is used up, so that a pool in trouble is not asked twice as much', async () => {
    const started = performance.now();
    const count = 400;
    for (let i = 0; i < count; i += 20) {
      await Promise.all(Array.from({ length: 20 }, () => ask(proxy.port(), 'GET', '/budget')));
    }
    const extra = asked('/budget').reduce((sum, one) => sum + one, 0) - count;
    // Ten a second, of which ten seconds' worth may be saved up.
    const seconds = (performance.now() - started) / 1000;
    expect(extra).toBeGreaterThan(50);
    expect(extra).toBeLessThanOrEqual(100 + 10 * (seconds + 1));
    expect(100 + 10 * (seconds + 1)).toBeLessThan(count);
  });
});
