import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { createBalancer } from '../../src/embed/balancer.ts';
import type { PoolSettings } from '../../src/embed/balancer-options.ts';
import { type BalancedOrigins, startOrigins } from '../helpers/balanced-origins.ts';
import { eventually } from '../helpers/eventually.ts';
import type { OriginReply } from '../helpers/origin.ts';

/** One request at a time for each endpoint, and nobody waits in vain. */
const limits = { active: 1, pendingTimeout: 'off' };

function balancerOver(origins: BalancedOrigins) {
  const orders: PoolSettings = {
    endpoints: origins.settings,
    scheduler: 'weighted-round-robin',
    ejection: 'off',
    retry: { perTryTimeout: 'off' },
    limits,
  };
  return createBalancer({ pools: { orders } });
}

/** Requests are held until the test answers them, by their paths. */
function hold(origins: BalancedOrigins): Map<string, OriginReply> {
  const held = new Map<string, OriginReply>();
  for (const origin of origins.all) origin.handler = ({ target }, reply) => void held.set(target, reply);
  return held;
}

describe('who waits for an endpoint with room', () => {
  it('is served although the one before it has a head that cannot be sent', async () => {
    await using origins = await startOrigins(1);
    const held = hold(origins);
    await using balancer = await balancerOver(origins);
    const dispatcher = balancer.dispatcher('orders');
    const first = request('http://orders/first', { dispatcher });
    await eventually(() => held.has('/first'));
    const broken = request('http://orders/broken', { dispatcher, headers: { x: 'a\nb' } });
    const next = request('http://orders/next', { dispatcher });
    await eventually(() => balancer.pools.orders.snapshot().pending === 2);
    const refused = expect(broken).rejects.toThrow('invalid x header');
    held.get('/first')?.send(200);
    await refused;
    await eventually(() => held.has('/next'));
    held.get('/next')?.send(200);
    for (const answered of [first, next]) await (await answered).body.dump();
    expect(balancer.pools.orders.snapshot().endpoints[0].active).toBe(0);
  });

  it('is served by the endpoint that a retry before it may not have again', async () => {
    await using origins = await startOrigins(2);
    const held = hold(origins);
    await using balancer = await balancerOver(origins);
    const dispatcher = balancer.dispatcher('orders');
    const busy = request('http://orders/busy', { dispatcher });
    await eventually(() => held.has('/busy'));
    const retry = request('http://orders/retry', { dispatcher });
    await eventually(() => held.has('/retry'));
    const early = request('http://orders/early', { dispatcher });
    held.get('/retry')?.send(503);
    held.delete('/retry');
    await eventually(() => held.has('/early'));
    const late = request('http://orders/late', { dispatcher });
    held.get('/early')?.send(200);
    await eventually(() => held.has('/late'));
    expect(held.has('/retry')).toBe(false);
    held.get('/busy')?.send(200);
    await eventually(() => held.has('/retry'));
    for (const target of ['/late', '/retry']) held.get(target)?.send(200);
    const answers = await Promise.all([busy, retry, early, late]);
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 200]);
    for (const { body } of answers) await body.dump();
  });
});
