import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { type Balancer, createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { eventually } from '../helpers/eventually.ts';
import { rawClient } from '../helpers/raw-client.ts';

function endpointOf(balancer: Balancer) {
  return balancer.pools.orders.snapshot().endpoints[0];
}

describe('an endpoint is not to blame', () => {
  it('for a body that breaks while it is read, and the caller hears what broke', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = () => {};
    const orders = { endpoints: origins.settings, ejection: { consecutiveFailures: 1 } };
    await using balancer = await createBalancer({ pools: { orders } });
    const dispatcher = balancer.dispatcher('orders');
    async function* body() {
      yield Buffer.from('one');
      await eventually(() => origins[0].requests.at(-1)?.body.toString() === 'one');
      throw new Error('out of ink');
    }
    for (let i = 0; i < 2; i++)
      await expect(request('http://orders/', { method: 'POST', body: body() as never, dispatcher })).rejects.toThrow(
        'out of ink',
      );
    expect(endpointOf(balancer)).toMatchObject({ active: 0, available: true });
    expect(endpointOf(balancer).outcomes).toMatchObject({ reset: 0, 'client-gone': 2 });
  });

  it('for a limit of our own machine in the midst of its response', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = (_, reply) => void reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc');
    await using balancer = await createBalancer({ pools: { orders: { endpoints: origins.settings } } });
    const dialled: Socket[] = [];
    const onSocket = (message: unknown) => void dialled.push((message as { socket: Socket }).socket);
    subscribe('net.client.socket', onSocket);
    const answer = await request('http://orders/', { dispatcher: balancer.dispatcher('orders') });
    unsubscribe('net.client.socket', onSocket);
    expect(dialled).toHaveLength(1);
    const read = expect(answer.body.text()).rejects.toThrow('no buffer space');
    dialled[0].destroy(Object.assign(new Error('no buffer space'), { code: 'ENOBUFS' }));
    await read;
    expect(endpointOf(balancer).active).toBe(0);
    expect(endpointOf(balancer).outcomes).toMatchObject({ ok: 0, reset: 0, 'client-gone': 1 });
  });

  it.each([
    ['a request', []],
    ['a WebSocket', ['Connection: upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: a']],
  ])('for a limit of our own machine when %s of a host needs a connection', async (_, lines) => {
    await using origins = await startOrigins(1);
    await using balancer = await createBalancer({ pools: { orders: { endpoints: origins.settings } } });
    const server = createServer(balancer.middleware('orders')).on('upgrade', balancer.upgrade('orders'));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    await using client = await rawClient((server.address() as AddressInfo).port);
    const onSocket = (message: unknown) => {
      const limit = Object.assign(new Error('no port left'), { code: 'EADDRNOTAVAIL' });
      process.nextTick(() => (message as { socket: Socket }).socket.destroy(limit));
    };
    subscribe('net.client.socket', onSocket);
    const answer = await client.ask('GET', '/', lines);
    unsubscribe('net.client.socket', onSocket);
    expect([answer.status, answer.fields.get('x-evenkeel-reason')]).toEqual([503, 'limit']);
    expect(endpointOf(balancer)).toMatchObject({ active: 0, failures: 0 });
    await client[Symbol.asyncDispose]();
    await new Promise((resolve) => server.close(resolve));
  });

  it('for what timed out while the program itself stood still', async () => {
    await using origins = await startOrigins(2);
    for (const origin of origins.all) origin.handler = () => {};
    const orders = {
      endpoints: origins.settings,
      ejection: { consecutiveFailures: 1 },
      retry: 'off' as const,
      timeouts: { response: '300ms' },
    };
    await using balancer = await createBalancer({ pools: { orders } });
    const ejected: string[] = [];
    balancer.on('ejected', ({ endpoint }) => ejected.push(endpoint));
    const ask = () =>
      expect(request('http://orders/', { dispatcher: balancer.dispatcher('orders') })).rejects.toMatchObject({
        reason: 'response-timeout',
      });
    const asked = ask();
    await eventually(() => origins.all.some(({ requests }) => requests.length === 1), { intervalMs: 1 });
    for (const untilMs = performance.now() + 600; performance.now() < untilMs; );
    await asked;
    expect(ejected).toEqual([]);
    // It is, when nothing stands still.
    await eventually(async () => {
      await ask();
      return ejected.length === 1;
    });
  });
});
