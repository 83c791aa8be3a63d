import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type Balancer, createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { eventually } from '../helpers/eventually.ts';
import type { OriginReply } from '../helpers/origin.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

async function serve(listener: RequestListener): Promise<Server & AsyncDisposable & { port: number }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(server, {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function balancerOver(endpoints: readonly { address: string }[]): Promise<Balancer> {
  return createBalancer({ pools: { orders: { endpoints, ejection: 'off' } } });
}

function endpointOf(balancer: Balancer) {
  return balancer.pools.orders.snapshot().endpoints[0];
}

describe('a middleware whose response somebody else ended', () => {
  it('lets go of the endpoint at once', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = () => {};
    await using balancer = await balancerOver(origins.settings);
    const pass = balancer.middleware('orders');
    await using host = await serve((asked, response) => {
      pass(asked, response);
      setTimeout(() => response.writeHead(503).end('too late'), 20);
    });
    expect((await ask(host.port, 'GET', '/')).text).toBe('too late');
    await eventually(() => origins[0].open === 0);
    expect(endpointOf(balancer)).toMatchObject({ active: 0, outcomes: { 'client-gone': 1 } });
  });

  it('throws nothing when the endpoint answers in the same moment, and leaves the response alone', async () => {
    await using origins = await startOrigins(1);
    let answer: OriginReply | null = null;
    origins[0].handler = (_, reply) => {
      answer = reply;
    };
    await using balancer = await balancerOver(origins.settings);
    const pass = balancer.middleware('orders');
    await using host = await serve((asked, response) => {
      pass(asked, response);
      // Its head is out, its body follows by and by.
      if (asked.url === '/late') response.writeHead(503, { 'content-length': 6 }).write('too');
    });
    await using client = await rawClient(host.port);
    client.write(request('GET', '/late'));
    await client.until(() => (client.received.includes('too') ? true : null), 'the first half');
    await eventually(() => answer !== null);
    (answer as OriginReply | null)?.send(200, 'from the endpoint');
    await eventually(() => endpointOf(balancer).active === 0);
    expect(client.over).toBeNull();
  });

  it('throws nothing when the endpoint is in the midst of its body', async () => {
    await using origins = await startOrigins(1);
    let answer: OriginReply | null = null;
    origins[0].handler = (_, reply) => {
      answer = reply.raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n');
    };
    await using balancer = await balancerOver(origins.settings);
    const pass = balancer.middleware('orders');
    await using host = await serve((asked, response) => {
      pass(asked, response);
      response.once('pipe', (source) =>
        source.once('data', () => {
          response.end();
          // As a chunk that was on its way.
          response.write('two');
        }),
      );
    });
    expect((await ask(host.port, 'GET', '/')).status).toBe(200);
    await eventually(() => endpointOf(balancer).active === 0);
    await eventually(() => (answer as OriginReply | null)?.socket.destroyed === true);
  });

  it('reads an answer whose reason phrase cannot be written', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = (_, reply) => void reply.raw('HTTP/1.1 200 O\x01K\r\ncontent-length: 2\r\n\r\nok');
    await using balancer = await balancerOver(origins.settings);
    await using host = await serve(balancer.middleware('orders'));
    expect(await ask(host.port, 'GET', '/')).toMatchObject({ status: 200, text: 'ok' });
  });
});

describe('a middleware whose host puts something into the head that cannot be sent', () => {
  it('says so to the host or the client, throws nothing and holds no endpoint', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins.settings);
    const pass = balancer.middleware('orders');
    const upgrade = balancer.upgrade('orders');
    const faults: unknown[] = [];
    await using host = await serve((asked, response) => {
      asked.headers['x-user'] = 'a\nb';
      if (asked.url === '/') return pass(asked, response);
      pass(asked, response, (error) => {
        faults.push(error);
        response.end('told');
      });
    });
    host.on('upgrade', (asked, socket, head) => {
      asked.headers['x-user'] = 'a\nb';
      upgrade(asked, socket, head);
    });
    expect((await ask(host.port, 'GET', '/')).status).toBe(500);
    expect((await ask(host.port, 'GET', '/next')).text).toBe('told');
    expect(faults).toEqual([expect.objectContaining({ code: 'ERR_INVALID_CHAR' })]);
    const switches = ['Connection: upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: a'];
    expect((await ask(host.port, 'GET', '/', switches)).status).toBe(500);
    expect([endpointOf(balancer).active, origins[0].requests]).toEqual([0, []]);
  });
});

describe('a middleware with an answer before the request has come', () => {
  it('reads on, so that the client can send the rest and ask again', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = ({ method }, reply) => void reply.send(method === 'POST' ? 413 : 200, method);
    await using balancer = await balancerOver(origins.settings);
    await using host = await serve(balancer.middleware('orders'));
    await using client = await rawClient(host.port);
    const half = 'x'.repeat(4_000_000);
    client.write(request('POST', '/', [`content-length: ${2 * half.length}`], half));
    expect(await client.response()).toMatchObject({ status: 413, text: 'POST' });
    client.write(half);
    expect(await client.ask('GET', '/')).toMatchObject({ status: 200, text: 'GET' });
    expect(origins[0].requests[1].connection).not.toBe(origins[0].requests[0].connection);
    expect(endpointOf(balancer)).toMatchObject({ active: 0, outcomes: { ok: 2 } });
  });
});

describe('a middleware with fields behind a body', () => {
  it('passes them on, but for those that mean nothing there', async () => {
    await using origins = await startOrigins(1);
    const trailers = 'X-Sum: 42\r\nSet-Cookie: a=1\r\nX-Forwarded-For: evil\r\n';
    origins[0].handler = ({ method }, reply) =>
      void reply.raw(
        `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${method === 'HEAD' ? '' : `2\r\nok\r\n0\r\n${trailers}\r\n`}`,
      );
    await using balancer = await balancerOver(origins.settings);
    await using host = await serve(balancer.middleware('orders'));
    const answer = await ask(host.port, 'GET', '/');
    expect(answer.text).toBe('ok');
    expect(answer.trailers.lines).toEqual([['x-sum', '42']]);
    expect((await ask(host.port, 'HEAD', '/')).status).toBe(200);
  });
});
