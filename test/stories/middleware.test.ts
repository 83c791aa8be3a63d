import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import middie from '@fastify/middie';
import fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { type Balancer, createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { eventually } from '../helpers/eventually.ts';
import { refusingPort } from '../helpers/refusing-port.ts';

// Brings no types of its own.
const express = createRequire(import.meta.url)('express');

interface Served extends AsyncDisposable {
  readonly url: string;
  readonly server: Server;
}

async function serve(listener: RequestListener): Promise<Served> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function balancerOver(endpoints: readonly { address: string }[], pool: object = {}): Promise<Balancer> {
  return createBalancer({
    pools: { orders: { endpoints, scheduler: 'weighted-round-robin', ejection: 'off', ...pool } },
  });
}

function outcomesOf(balancer: Balancer): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { outcomes, active } of balancer.pools.orders.snapshot().endpoints) {
    expect(active).toBe(0);
    for (const [word, count] of Object.entries(outcomes)) if (count > 0) sums[word] = (sums[word] ?? 0) + count;
  }
  return sums;
}

describe('a middleware', () => {
  it('balances the requests of node:http, bodies both ways, over kept connections', async () => {
    await using origins = await startOrigins(2);
    for (const origin of origins.all)
      origin.handler = async (asked, reply) => {
        await asked.ended;
        reply.send(200, asked.body, [
          'x-origin: 1',
          'set-cookie: a=1',
          'set-cookie: b=2',
          'connection: x-hop',
          'x-hop: 1',
        ]);
      };
    await using balancer = await balancerOver(origins.settings);
    await using served = await serve(balancer.middleware('orders'));
    for (const size of [0, 10, 300_000, 300_000]) {
      const body = 'x'.repeat(size);
      const answer = await fetch(`${served.url}/a?b`, { method: 'POST', body });
      expect(await answer.text()).toBe(body);
      expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
      expect(answer.headers.has('x-hop')).toBe(false);
    }
    expect(origins.all.map(({ requests, connections }) => [requests.length, connections])).toEqual([
      [2, 1],
      [2, 1],
    ]);
    const [{ fields, target }] = origins[0].requests;
    expect(target).toBe('/a?b');
    expect(fields.get('host')).toBe(served.url.slice('http://'.length));
    expect(fields.get('x-forwarded-for')).toBe('127.0.0.1');
    expect(outcomesOf(balancer)).toEqual({ ok: 4 });
  });

  it('retries by the safe rules: a refused connection always, a broken one for a GET only, a 503 while others are left', async () => {
    await using origins = await startOrigins(2);
    await using refusing = await refusingPort();
    await using balancer = await balancerOver([{ address: refusing.address }, ...origins.settings]);
    await using served = await serve(balancer.middleware('orders'));
    for (let i = 0; i < 6; i++) expect((await fetch(served.url, { method: 'POST', body: 'x' })).status).toBe(200);
    const { 'connect-failed': refused = 0 } = outcomesOf(balancer);
    expect(refused).toBeGreaterThan(0);
    origins[0].handler = (_, reply) => reply.reset();
    origins[1].handler = (_, reply) => reply.reset();
    const got = await fetch(served.url);
    const posted = await fetch(served.url, { method: 'POST', body: 'x' });
    for (const answer of [got, posted]) {
      expect(answer.status).toBe(502);
      expect(answer.headers.get('x-evenkeel-reason')).toMatch(/reset|connect-failed/);
    }
    origins[0].handler = (_, reply) => void reply.send(503);
    origins[1].handler = (_, reply) => void reply.send(200, 'b');
    await using two = await balancerOver(origins.settings);
    await using over = await serve(two.middleware('orders'));
    for (let i = 0; i < 4; i++) expect(await (await fetch(over.url)).text()).toBe('b');
  });

  it('says which attempt an endpoint sees, and makes none of its own for a proxy in front that is at it', async () => {
    await using origins = await startOrigins(2);
    for (const one of origins.all) one.handler = (_, reply) => reply.reset();
    await using balancer = await balancerOver(origins.settings, { ejection: 'off', retry: { attempts: 1 } });
    await using stranger = await serve(balancer.middleware('orders'));
    await using behind = await serve(balancer.middleware('orders', { trustForwarded: true }));
    const said = async (url: string, method: string, headers: Record<string, string>) => {
      for (const { requests } of origins.all) requests.length = 0;
      expect((await fetch(url, { method, headers })).status).toBe(502);
      const all = origins.all.flatMap(({ requests }) => requests);
      return all.map(({ fields }) => fields.get('x-evenkeel-attempt') ?? '-').toSorted();
    };
    expect(await said(stranger.url, 'GET', { 'x-evenkeel-attempt': '3' })).toEqual(['-', '2']);
    expect(await said(behind.url, 'GET', { 'x-evenkeel-attempt': '3' })).toEqual(['3']);
    expect(await said(stranger.url, 'POST', { 'idempotency-key': 'a' })).toEqual(['-', '2']);
    expect(await said(stranger.url, 'POST', {})).toEqual(['-']);
  });

  it('lets go of the endpoint when the client leaves, without blaming it', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = ({ target }, reply) => {
      if (target === '/part') reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc');
    };
    await using balancer = await balancerOver(origins.settings);
    await using served = await serve(balancer.middleware('orders'));
    const leaving = new AbortController();
    const asked = fetch(`${served.url}/never`, { signal: leaving.signal });
    await eventually(() => balancer.pools.orders.snapshot().endpoints[0].active === 1);
    leaving.abort();
    await expect(asked).rejects.toThrow();
    const midst = new AbortController();
    await fetch(`${served.url}/part`, { signal: midst.signal });
    midst.abort();
    await eventually(() => balancer.pools.orders.snapshot().endpoints[0].active === 0);
    await eventually(() => origins[0].open === 0);
    await eventually(() => expect(outcomesOf(balancer)).toEqual({ 'client-gone': 2 }) === undefined || true);
  });

  it('a response that is cut is cut for the client, too', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = (_, reply) => reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc').reset();
    await using balancer = await balancerOver(origins.settings);
    await using served = await serve(balancer.middleware('orders'));
    const cut = fetch(served.url).then((answer) => answer.text());
    await expect(cut).rejects.toThrow();
    expect(outcomesOf(balancer)).toEqual({ reset: 1 });
  });

  it("keeps the pool's response timeout", async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = () => {};
    await using balancer = await balancerOver(origins.settings, { retry: 'off', timeouts: { response: '100ms' } });
    await using served = await serve(balancer.middleware('orders'));
    const answer = await fetch(served.url);
    expect([answer.status, answer.headers.get('x-evenkeel-reason')]).toEqual([504, 'response-timeout']);
    expect(outcomesOf(balancer)).toEqual({ 'timed-out': 1 });
  });

  it('serves an Express app behind its own code, errors go to next', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins.settings);
    const app = express();
    app.use(
      (
        request: { headers: Record<string, string> },
        response: { sendStatus(status: number): void },
        next: () => void,
      ) => (request.headers.authorization === 'yes' ? next() : response.sendStatus(401)),
    );
    app.use('/orders', balancer.middleware('orders'));
    app.set('env', 'test');
    await using served = await serve(app);
    expect((await fetch(`${served.url}/orders/1`)).status).toBe(401);
    const headers = { authorization: 'yes' };
    expect(await (await fetch(`${served.url}/orders/1`, { headers })).text()).toBe('a');
    expect(origins[0].requests.map(({ target }) => target)).toEqual(['/1']);
    balancer.pools.orders.setEndpoint(origins[0].address, { state: 'maintenance' });
    const refused = await fetch(`${served.url}/orders/1`, { headers });
    expect([refused.status, refused.headers.get('x-evenkeel-reason')]).toEqual([503, 'no-endpoint']);
  });

  it('serves a Fastify app, as a middleware of middie and by a handler of its own', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins.settings);
    const app = fastify({ forceCloseConnections: true });
    await app.register(middie);
    app.use('/by-middie', balancer.middleware('orders'));
    const pass = balancer.middleware('orders');
    app.all('/by-hand', (request, reply) => {
      reply.hijack();
      pass(request.raw, reply.raw);
    });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    expect(await (await fetch(`${url}/by-middie`)).text()).toBe('a');
    expect(await (await fetch(`${url}/by-hand`)).text()).toBe('a');
    await app.close();
    expect(outcomesOf(balancer)).toEqual({ ok: 2 });
  });

  it('passes WebSockets on, tries another endpoint for a refused connection, and answers 502 when there is none', async () => {
    await using refusing = await refusingPort();
    const sockets = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(sockets, 'listening');
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)));
    const address = `127.0.0.1:${(sockets.address() as AddressInfo).port}`;
    await using balancer = await balancerOver([{ address: refusing.address }, { address }]);
    await using served = await serve((_, response) => response.end());
    served.server.on('upgrade', balancer.upgrade('orders'));
    for (let i = 0; i < 2; i++) {
      const client = new WebSocket(served.url.replace('http', 'ws'));
      await once(client, 'open');
      client.send('hello');
      expect(String((await once(client, 'message'))[0])).toBe('echo hello');
      expect(balancer.pools.orders.snapshot().endpoints[1].active).toBe(1);
      client.close();
      await eventually(() => balancer.pools.orders.snapshot().endpoints[1].active === 0);
    }
    expect(outcomesOf(balancer)).toEqual({ ok: 2, 'connect-failed': 1 });
    balancer.pools.orders.setEndpoint(address, { state: 'maintenance' });
    const refused = new WebSocket(served.url.replace('http', 'ws'));
    const [, answer] = await once(refused, 'unexpected-response');
    expect([answer.statusCode, answer.headers['x-evenkeel-reason']]).toEqual([502, 'connect-failed']);
    refused.on('error', () => {});
    refused.terminate();
    await new Promise((resolve) => sockets.close(resolve));
  });
});
