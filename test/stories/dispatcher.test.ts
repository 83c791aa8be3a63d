import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { interceptors, RetryAgent, request, stream, fetch as undiciFetch, WebSocket } from 'undici';
import { describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { type Balancer, createBalancer } from '../../src/embed/balancer.ts';
import type { BalancerError } from '../../src/embed/balancer-error.ts';
import { type BalancedOrigins, startOrigins } from '../helpers/balanced-origins.ts';
import { eventually } from '../helpers/eventually.ts';
import { refusingPort } from '../helpers/refusing-port.ts';

async function balancerOver(origins: BalancedOrigins, pool: object = {}): Promise<Balancer> {
  return createBalancer({
    pools: { orders: { endpoints: origins.settings, scheduler: 'weighted-round-robin', ...pool } },
  });
}

/** Nothing in flight, and as many attempts ended as are given. */
function expectSettled(balancer: Balancer, outcomes: Record<string, number>): void {
  const { endpoints } = balancer.pools.orders.snapshot();
  expect(endpoints.map(({ active }) => active)).toEqual(endpoints.map(() => 0));
  const sums: Record<string, number> = {};
  for (const endpoint of endpoints)
    for (const [word, count] of Object.entries(endpoint.outcomes))
      if (count > 0) sums[word] = (sums[word] ?? 0) + count;
  expect(sums).toEqual(outcomes);
}

describe('a dispatcher', () => {
  it.each([
    ["Node's own fetch", fetch as never as typeof undiciFetch],
    ["undici's fetch", undiciFetch],
  ])('balances %s over the endpoints, the pool named by the origin', async (_, fetchIt) => {
    await using origins = await startOrigins(2);
    await using balancer = await balancerOver(origins);
    const dispatcher = balancer.dispatcher();
    const names: string[] = [];
    for (let i = 0; i < 4; i++) names.push(await (await fetchIt('http://orders/x?y', { dispatcher })).text());
    expect(names.toSorted()).toEqual(['a', 'a', 'b', 'b']);
    expect(origins[0].requests[0].fields.get('host')).toBe('orders');
    expect(origins[0].requests[0].target).toBe('/x?y');
    // One connection each: they are kept.
    expect([origins[0].connections, origins[1].connections]).toEqual([1, 1]);
    expectSettled(balancer, { ok: 4 });
  });

  it.each([
    ["Node's own fetch", fetch as never as typeof undiciFetch],
    ["undici's fetch", undiciFetch],
  ])('sends bodies and streams responses for %s', async (_, fetchIt) => {
    await using origins = await startOrigins(1);
    origins[0].handler = async (asked, reply) => {
      await asked.ended;
      reply.send(200, asked.body);
    };
    await using balancer = await balancerOver(origins);
    const dispatcher = balancer.dispatcher('orders');
    const body = 'x'.repeat(300_000);
    const answer = await fetchIt('http://any.name/', { method: 'POST', body, dispatcher });
    expect(await answer.text()).toBe(body);
    const streamed = await request('http://any.name/', { method: 'POST', body: Readable.from([body]), dispatcher });
    expect(await streamed.body.text()).toBe(body);
    expectSettled(balancer, { ok: 2 });
  });

  it('retries a refused connection on another endpoint, also a POST whose stream nobody has read', async () => {
    await using origins = await startOrigins(1);
    await using refusing = await refusingPort();
    await using balancer = await balancerOver(origins, {
      endpoints: [{ address: `127.0.0.1:${refusing.port}` }, ...origins.settings],
      ejection: 'off',
    });
    const dispatcher = balancer.dispatcher('orders');
    for (let i = 0; i < 4; i++) {
      const body = Readable.from(['abc']);
      const answer = await request('http://orders/', { method: 'POST', body, dispatcher });
      expect(await answer.body.text()).toBe('a');
    }
    expectSettled(balancer, { ok: 4, 'connect-failed': 2 });
  });

  it('sends a GET again when its connection breaks, a POST never', async () => {
    await using origins = await startOrigins(2);
    origins[0].handler = (_, reply) => reply.reset();
    await using balancer = await balancerOver(origins, { ejection: 'off' });
    const dispatcher = balancer.dispatcher('orders');
    const got = await Promise.all([1, 2].map(() => request('http://orders/', { dispatcher })));
    expect(await Promise.all(got.map(({ body }) => body.text()))).toEqual(['b', 'b']);
    const posted = await Promise.allSettled(
      [1, 2].map(() => request('http://orders/', { method: 'POST', body: 'x', dispatcher })),
    );
    expect(posted.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const failed = posted.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
    expect(failed.reason).toMatchObject({ name: 'BalancerError', reason: 'reset', status: 502 });
    for (const one of posted) if (one.status === 'fulfilled') await one.value.body.dump();
    expectSettled(balancer, { ok: 3, reset: 2 });
  });

  it('sends a POST again whose caller gives it an Idempotency-Key, after a back-off, and says which attempt it is', async () => {
    await using origins = await startOrigins(2);
    for (const one of origins.all) one.handler = (_, reply) => reply.reset();
    await using balancer = await balancerOver(origins, { ejection: 'off', retry: { attempts: 1 } });
    const dispatcher = balancer.dispatcher('orders');
    const headers = { 'idempotency-key': '7' };
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      const started = performance.now();
      await expect(request('http://orders/', { method: 'POST', body: 'x', headers, dispatcher })).rejects.toThrow();
      waits.push(performance.now() - started);
    }
    const all = origins.all.flatMap(({ requests }) => requests);
    expect(all.map(({ fields }) => fields.get('x-evenkeel-attempt') ?? '').toSorted()).toEqual([
      ...Array.from({ length: 8 }, () => ''),
      ...Array.from({ length: 8 }, () => '2'),
    ]);
    // Up to 25 ms with full jitter: that all of eight are below 3 happens once in 25 million times.
    expect(Math.max(...waits)).toBeGreaterThan(3);
    expectSettled(balancer, { reset: 16 });
  });

  it('a request that is aborted during its back-off is not sent again', async () => {
    await using origins = await startOrigins(2);
    const abort = new AbortController();
    for (const one of origins.all)
      one.handler = (_, reply) => {
        reply.reset();
        setTimeout(() => abort.abort(), 0);
      };
    await using balancer = await balancerOver(origins, { ejection: 'off' });
    const dispatcher = balancer.dispatcher('orders');
    await expect(request('http://orders/', { dispatcher, signal: abort.signal })).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(origins.all.flatMap(({ requests }) => requests).length).toBeLessThanOrEqual(2);
    expect(balancer.pools.orders.snapshot().endpoints.map(({ active }) => active)).toEqual([0, 0]);
  });

  it('takes another endpoint for a 503, and hands over the last one when there is no other', async () => {
    await using origins = await startOrigins(2);
    origins[0].handler = (_, reply) => void reply.send(503, 'busy');
    await using balancer = await balancerOver(origins, { ejection: 'off' });
    const dispatcher = balancer.dispatcher('orders');
    for (let i = 0; i < 4; i++) expect(await text((await request('http://orders/', { dispatcher })).body)).toBe('b');
    origins[1].handler = (_, reply) => void reply.send(503, 'busy too');
    const answer = await request('http://orders/', { dispatcher });
    expect(answer.statusCode).toBe(503);
    await answer.body.dump();
  });

  it('ejects what fails, says so, and takes it back', async () => {
    await using origins = await startOrigins(2);
    origins[0].handler = (_, reply) => void reply.send(500);
    await using balancer = await balancerOver(origins, {
      ejection: { consecutiveFailures: 3, base: '1s', max: '1s' },
    });
    const ejected: string[] = [];
    const restored: string[] = [];
    balancer.on('ejected', ({ endpoint }) => ejected.push(endpoint));
    balancer.on('restored', ({ endpoint }) => restored.push(endpoint));
    const dispatcher = balancer.dispatcher('orders');
    const ask = async () => (await request('http://orders/', { dispatcher })).body.dump();
    for (let i = 0; i < 8; i++) await ask();
    await eventually(() => ejected.length === 1);
    expect(ejected).toEqual([origins[0].address]);
    expect(balancer.pools.orders.snapshot().endpoints[0]).toMatchObject({ available: false, down: ['ejected'] });
    const before = origins[0].requests.length;
    for (let i = 0; i < 4; i++) await ask();
    expect(origins[0].requests.length).toBe(before);
    // It comes back by a trial with a request of the program's own.
    origins[0].handler = (_, reply) => void reply.send(200, 'a');
    await eventually(async () => {
      await ask();
      return restored.length === 1;
    });
  });

  it('lets go of the endpoint when a request is aborted: while it waits, and in the midst of a response', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = ({ target }, reply) => {
      if (target === '/part') reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc');
    };
    await using balancer = await balancerOver(origins, { ejection: 'off' });
    const dispatcher = balancer.dispatcher('orders');
    for (const fetchIt of [fetch as never as typeof undiciFetch, undiciFetch]) {
      const waiting = new AbortController();
      const never = fetchIt('http://orders/never', { dispatcher, signal: waiting.signal });
      await eventually(() => balancer.pools.orders.snapshot().endpoints[0].active === 1);
      waiting.abort();
      await expect(never).rejects.toThrow(/abort/i);
      const midst = new AbortController();
      const part = await fetchIt('http://orders/part', { dispatcher, signal: midst.signal });
      midst.abort();
      await expect(part.text()).rejects.toThrow(/abort/i);
    }
    expectSettled(balancer, { 'client-gone': 4 });
    await eventually(() => origins[0].open === 0);
  });

  it('a response that is cut is an error for who reads it, and a reset of the endpoint', async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = (_, reply) => reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc').reset();
    await using balancer = await balancerOver(origins, { ejection: 'off' });
    const answer = await request('http://orders/', { dispatcher: balancer.dispatcher('orders') });
    await expect(answer.body.text()).rejects.toThrow();
    expectSettled(balancer, { reset: 1 });
  });

  it('a kept connection that died meanwhile costs nothing', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins, { retry: 'off', ejection: 'off' });
    const dispatcher = balancer.dispatcher('orders');
    await (await request('http://orders/', { dispatcher })).body.dump();
    let isFirst = true;
    origins[0].handler = (_, reply) => {
      if (isFirst) reply.reset();
      else reply.send(200, 'again');
      isFirst = false;
    };
    expect(await (await request('http://orders/', { dispatcher })).body.text()).toBe('again');
    expectSettled(balancer, { ok: 2 });
  });

  it("keeps the pool's times and limits", async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = () => {};
    await using balancer = await balancerOver(origins, {
      ejection: 'off',
      retry: 'off',
      timeouts: { response: '400ms' },
      limits: { active: 1, pending: 1, pendingTimeout: '20ms' },
    });
    const dispatcher = balancer.dispatcher('orders');
    const all = await Promise.allSettled([1, 2, 3].map(() => request('http://orders/', { dispatcher })));
    const reasons = all.map((one) => ((one as PromiseRejectedResult).reason as BalancerError).reason);
    expect(reasons).toEqual(['response-timeout', 'pending-timeout', 'limit']);
    expectSettled(balancer, { 'timed-out': 1 });
  });

  it("works under undici's own interceptors, RetryAgent, stream and WebSocket", async () => {
    await using origins = await startOrigins(1);
    origins[0].handler = ({ target }, reply) =>
      void (target === '/here' ? reply.send(302, '', ['location: /there']) : reply.send(200, target));
    await using balancer = await balancerOver(origins, { ejection: 'off' });
    const dispatcher = balancer.dispatcher('orders');
    const redirecting = dispatcher.compose(interceptors.redirect({ maxRedirections: 1 }));
    expect(await (await request('http://orders/here', { dispatcher: redirecting })).body.text()).toBe('/there');
    const agent = new RetryAgent(dispatcher);
    expect(await (await request('http://orders/agent', { dispatcher: agent })).body.text()).toBe('/agent');
    const pieces: string[] = [];
    const sink = new Writable({ write: (chunk, _e, done) => (pieces.push(String(chunk)), done()) });
    await stream('http://orders/streamed', { method: 'GET', dispatcher }, () => sink);
    expect(pieces.join('')).toBe('/streamed');
    expectSettled(balancer, { ok: 4 });

    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    server.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)));
    const address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    await using sockets = await createBalancer({ pools: { orders: { endpoints: [{ address }] } } });
    const client = new WebSocket('ws://orders/', { dispatcher: sockets.dispatcher('orders') });
    const echoed = Promise.withResolvers<string>();
    client.addEventListener('open', () => client.send('hello'));
    client.addEventListener('message', ({ data }) => echoed.resolve(String(data)));
    client.addEventListener('error', (event) => echoed.reject((event as ErrorEvent).error));
    expect(await echoed.promise).toBe('echo hello');
    expect(sockets.pools.orders.snapshot().endpoints[0].active).toBe(1);
    client.close();
    await eventually(() => sockets.pools.orders.snapshot().endpoints[0].active === 0);
    await new Promise((resolve) => server.close(resolve));
  });

  it('says what is wrong: an unknown pool, no endpoint, a closed dispatcher', async () => {
    await using origins = await startOrigins(1);
    await using balancer = await balancerOver(origins);
    expect(() => balancer.dispatcher('ordres')).toThrow('there is no pool "ordres"; there are: orders');
    await expect(request('http://other/', { dispatcher: balancer.dispatcher() })).rejects.toMatchObject({
      code: 'EVENKEEL_NO_ROUTE',
    });
    balancer.pools.orders.setEndpoint(origins[0].address, { state: 'maintenance' });
    const dispatcher = balancer.dispatcher('orders');
    await expect(request('http://orders/', { dispatcher })).rejects.toMatchObject({
      reason: 'no-endpoint',
      status: 503,
    });
    await expect(balancerOver(origins, { affinity: { cookie: 'at' } })).rejects.toThrow(
      /pools\.orders\.affinity {2}cookies are set/,
    );
    await expect(balancerOver(origins, { proxyProtocol: 'v2' })).rejects.toThrow(
      /proxyProtocol {2}is spoken by listeners/,
    );
    await dispatcher.close();
    await expect(request('http://orders/', { dispatcher })).rejects.toMatchObject({ reason: 'draining' });
  });
});
