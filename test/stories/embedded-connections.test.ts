import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { type Balancer, createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { ask } from '../helpers/raw-client.ts';

interface Opened extends AsyncDisposable {
  /** The text of the answer. */
  send(method: string, streamed?: boolean): Promise<string>;
}

async function openDispatcher(balancer: Balancer): Promise<Opened> {
  const dispatcher = balancer.dispatcher('orders');
  return {
    async send(method, streamed = false) {
      const body = method === 'GET' ? null : streamed ? Readable.from(['x']) : 'x';
      return (await request('http://orders/', { method, body, dispatcher })).body.text();
    },
    async [Symbol.asyncDispose]() {},
  };
}

async function openMiddleware(balancer: Balancer): Promise<Opened> {
  const server = createServer(balancer.middleware('orders')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    send: async (method) => (await ask(port, method, '/', [], method === 'GET' ? '' : 'x')).text,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe.each([
  ['dispatcher', openDispatcher],
  ['middleware', openMiddleware],
])('kept connections of a %s', (face, open) => {
  it('take what must not be sent twice only within a second of their last use', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await createBalancer({ pools: { orders: { endpoints: origins.settings, retry: 'off' } } });
    await using opened = await open(balancer);
    await opened.send('GET');
    await opened.send('POST');
    expect(origins[0].connections).toBe(1);
    // A second and more, in which the endpoint may have given the connection up.
    await pause(1100);
    const [kept] = origins[0].requests;
    origins[0].handler = ({ connection, target }, reply) => {
      if (connection === kept.connection) reply.reset();
      else reply.send(200, target);
    };
    // A stream that was begun cannot be sent again, whatever its method.
    const sent = face === 'dispatcher' ? [opened.send('POST'), opened.send('PUT', true)] : [opened.send('POST')];
    for (const answer of await Promise.all(sent)) expect(answer).toBe('/');
    const [{ outcomes, active }] = balancer.pools.orders.snapshot().endpoints;
    expect([outcomes.reset, active]).toEqual([0, 0]);
  });

  it('take what may be sent twice whenever they were used', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await createBalancer({ pools: { orders: { endpoints: origins.settings } } });
    await using opened = await open(balancer);
    await opened.send('GET');
    await pause(1100);
    await opened.send('PUT');
    expect(origins[0].connections).toBe(1);
  });
});
