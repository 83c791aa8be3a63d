import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Registry, RegistrySink } from '../../src/discovery/registry.ts';
import { createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { eventually } from '../helpers/eventually.ts';

/** A registry that starts when the test lets it, and what is left of it. */
function slowRegistry() {
  const gate = Promise.withResolvers<void>();
  const running = { starting: 0, registries: 0, subscriptions: 0, open: gate.resolve };
  const create = (): Registry => ({
    async start() {
      running.starting++;
      await gate.promise;
      running.registries++;
    },
    subscribe(_service, _sink: RegistrySink) {
      running.subscriptions++;
      return { close: () => void running.subscriptions-- };
    },
    async close() {
      if (running.starting > 0) running.registries--;
    },
  });
  return { running, kind: { kind: 'slow', summary: 'starts late', options: z.strictObject({}), create } };
}

const settings = (kind: object) => ({
  registries: { slow: { kind } },
  pools: { orders: { discover: { registry: 'slow', service: 'orders' }, probe: { kind: 'tcp' } } },
});

describe('a dispatcher that is closed twice while a request runs', () => {
  it('tells both, and who destroys it', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = () => {};
    await using balancer = await createBalancer({ pools: { web: { endpoints: origins.settings } } });
    const dispatcher = balancer.dispatcher('web');
    const asked = expect(request('http://web/', { dispatcher })).rejects.toMatchObject({ reason: 'draining' });
    await eventually(() => origins[0].requests.length === 1);
    const told: string[] = [];
    const closed = [1, 2].map((i) => dispatcher.close().then(() => told.push(`closed ${i}`)));
    dispatcher.close(() => told.push('called'));
    expect(told).toEqual([]);
    await dispatcher.destroy();
    await Promise.all([...closed, asked]);
    expect(told.toSorted()).toEqual(['called', 'closed 1', 'closed 2']);
  });
});

describe("an endpoint's weight, set by the program", () => {
  it('is judged as the admin API judges it', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await createBalancer({ pools: { web: { endpoints: origins.settings } } });
    const { web } = balancer.pools;
    for (const change of [
      { weight: Number.NaN },
      { weight: -1 },
      { weight: 1e9 },
      { weight: 0.001 },
      { state: 'off' },
      {},
    ])
      expect(() => web.setEndpoint(origins[0].address, change as never)).toThrow(
        expect.objectContaining({ code: 'bad-change' }),
      );
    expect(web.snapshot().endpoints[0].weight).toBe(1);
    expect(web.setEndpoint(origins[0].address, { weight: 0.25 })).toBe(true);
    expect(web.snapshot().endpoints[0].weight).toBe(0.25);
  });
});

describe('a balancer that is closed while it is reloaded', () => {
  it('ends the registries that were about to start', async () => {
    await using origins = await startOrigins(1);
    const { running, kind } = slowRegistry();
    const balancer = await createBalancer({ pools: { web: { endpoints: origins.settings } } });
    const reloaded = expect(balancer.reload(settings(kind) as never)).rejects.toMatchObject({ code: 'draining' });
    await eventually(() => running.starting === 1);
    const closed = balancer.close();
    running.open();
    await closed;
    await reloaded;
    expect(running).toMatchObject({ registries: 0, subscriptions: 0 });
  });

  it('asks nothing more of a registry whose first answer it was waiting for, and puts nothing in force', async () => {
    await using origins = await startOrigins(1);
    const { running, kind } = slowRegistry();
    running.open();
    const balancer = await createBalancer({ pools: { web: { endpoints: origins.settings } } });
    const reloaded = expect(balancer.reload(settings(kind) as never)).rejects.toMatchObject({ code: 'draining' });
    await eventually(() => running.subscriptions === 1);
    await balancer.close();
    await reloaded;
    expect(running).toMatchObject({ registries: 0, subscriptions: 0 });
    expect(balancer.pools).toHaveProperty('web');
  });
});
