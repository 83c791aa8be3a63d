import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, type RawClient, rawClient, request } from '../helpers/raw-client.ts';

describe('limits hold, and say so', () => {
  let origin: Origin;
  let proxy: RunningProxy;
  let release: () => void;

  beforeAll(async () => {
    origin = await startOrigin();
    const endpoints = [{ address: origin.address }];
    proxy = await startProxy({
      listeners: [
        { name: 'web', bind: '127.0.0.1:0', limits: { head: '4KiB', headers: 20, body: '1KiB' }, pool: 'wide' },
        { name: 'narrow', bind: '127.0.0.2:0', pool: 'narrow' },
        { name: 'impatient', bind: '127.0.0.3:0', pool: 'impatient' },
        { name: 'few', bind: '127.0.0.4:0', limits: { connections: 3 }, pool: 'wide' },
        { name: 'few-each', bind: '127.0.0.5:0', limits: { connectionsPerClient: 2 }, pool: 'wide' },
      ],
      pools: {
        wide: { endpoints },
        narrow: { endpoints, limits: { active: 2, pending: 3, pendingTimeout: '5s' } },
        impatient: { endpoints, limits: { active: 1, pendingTimeout: '200ms' } },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  beforeEach(() => {
    const { promise, resolve } = Promise.withResolvers<void>();
    release = resolve;
    origin.handler = async (asked, reply) => {
      await promise;
      await asked.ended;
      reply.send(200, asked.target);
    };
  });

  const HOSTS: Record<string, string> = {
    narrow: '127.0.0.2',
    impatient: '127.0.0.3',
    few: '127.0.0.4',
    'few-each': '127.0.0.5',
  };
  const connect = (listener: string, localAddress?: string) =>
    rawClient(proxy.port(listener), { host: HOSTS[listener], localAddress });

  async function askAll(listener: string, count: number): Promise<RawClient[]> {
    const clients = await Promise.all(Array.from({ length: count }, () => connect(listener)));
    clients.forEach((client, i) => client.write(request('GET', `/${listener}-${i}`)));
    return clients;
  }

  it('active and pending: so many at the endpoint, so many in the queue, 503 limit with retry-after for the rest', async () => {
    const before = origin.requests.length;
    const clients = await askAll('narrow', 7);
    await eventually(() => clients.filter(({ receivedBytes }) => receivedBytes > 0).length === 2);
    await eventually(() => origin.requests.length - before === 2);
    release();
    const responses = await Promise.all(clients.map((client) => client.response()));
    const refused = responses.filter(({ status }) => status === 503);
    expect(refused.length).toBe(2);
    for (const { fields } of refused) {
      expect(fields.get('x-evenkeel-reason')).toBe('limit');
      expect(Number(fields.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(responses.filter(({ status }) => status === 200).length).toBe(5);
    for (const client of clients) client.socket.destroy();
    await eventually(async () => (await proxy.endpoint('narrow', origin.address)).active === 0);
    expect(origin.requests.length - before).toBe(5);
  });

  it('pendingTimeout: 503 with retry-after, and the place in the queue is free again', async () => {
    const [first, second] = await askAll('impatient', 2);
    const refused = await Promise.race([first.response(), second.response()]);
    expect(refused.status).toBe(503);
    expect(refused.fields.get('x-evenkeel-reason')).toBe('pending-timeout');
    expect(Number(refused.fields.get('retry-after'))).toBeGreaterThan(0);
    await eventually(async () => (await proxy.metric('evenkeel_pool_pending', { pool: 'impatient' })) === 0);
    release();
    first.socket.destroy();
    second.socket.destroy();
  });

  it('a retry that waits for the one endpoint it has not tried does not hold up the queue behind it', async () => {
    await using failing = await startOrigin((asked, reply) =>
      asked.target === '/retried' ? void reply.send(503, 'no') : void reply.send(200, asked.target),
    );
    await using held = await startOrigin(() => {});
    await using other = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'two' }],
      pools: {
        two: {
          endpoints: [{ address: failing.address }, { address: held.address }],
          scheduler: 'first',
          ejection: 'off',
          limits: { active: 1, pendingTimeout: '5s' },
        },
      },
    });
    const open = async (target: string) => {
      const client = await rawClient(other.port());
      client.write(request('GET', target));
      return client;
    };
    const pending = (count: number) => async () =>
      (await other.metric('evenkeel_pool_pending', { pool: 'two' })) === count;
    const first = failing.handler;
    const { promise, resolve } = Promise.withResolvers<void>();
    failing.handler = async (asked, reply) => {
      await promise;
      await first(asked, reply);
    };
    // Both full, the retry's turn is next, and behind it one that any endpoint would do for.
    const retried = await open('/retried');
    await eventually(() => failing.requests.length === 1);
    const silent = await open('/silent');
    await eventually(() => held.requests.length === 1);
    const behind = await open('/behind');
    await eventually(pending(1));
    resolve();
    expect((await behind.response()).text).toBe('/behind');
    await eventually(pending(1));
    expect(retried.receivedBytes).toBe(0);
    for (const client of [retried, silent, behind]) client.socket.destroy();
    await eventually(pending(0));
  });

  it('body: 413 by content-length, before the endpoint hears of it', async () => {
    release();
    const before = origin.requests.length;
    const response = await ask(proxy.port(), 'POST', '/big', ['content-length: 1025']);
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([413, 'body-too-large']);
    expect(origin.requests.length).toBe(before);
    expect((await ask(proxy.port(), 'POST', '/fits', [], 'x'.repeat(1024))).status).toBe(200);
  });

  it('body: 413 when chunks pass the limit, and the endpoint sees the abort', async () => {
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/chunks', ['transfer-encoding: chunked'], `200\r\n${'x'.repeat(512)}\r\n`));
    const asked = await eventually(() => origin.requests.find(({ target }) => target === '/chunks') ?? null);
    client.write(`201\r\n${'x'.repeat(513)}\r\n0\r\n\r\n`);
    const response = await client.response();
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([413, 'body-too-large']);
    await asked.gone;
    expect(asked.bodyBytes).toBeLessThanOrEqual(1024);
    expect(await client.ended()).toBe('end');
  });

  it('head: 431 for too many bytes and for too many lines, 414 for too long a target', async () => {
    release();
    for (const [target, lines, status, reason] of [
      ['/', [`x-big: ${'x'.repeat(4096)}`], 431, 'head-too-large'],
      ['/', Array.from({ length: 21 }, (_, i) => `x-${i}: y`), 431, 'head-too-large'],
      [`/${'x'.repeat(9_000)}`, [], 414, 'uri-too-long'],
    ] as const) {
      const response = await ask(proxy.port(), 'GET', target, lines);
      expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([status, reason]);
      expect(response.fields.get('connection')).toBe('close');
    }
    expect((await ask(proxy.port(), 'GET', '/fits', [`x-big: ${'x'.repeat(3_900)}`])).status).toBe(200);
  });

  it('connections: 503 connections for one too many, and room again when one leaves', async () => {
    release();
    const clients: RawClient[] = [];
    for (let i = 0; i < 3; i++) {
      const client = await connect('few');
      expect((await client.ask('GET', '/')).status).toBe(200);
      clients.push(client);
    }
    await using tooMany = await connect('few');
    const response = await tooMany.response();
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([503, 'connections']);
    expect(await tooMany.ended()).toBe('end');
    clients.pop()!.socket.destroy();
    await eventually(async () => {
      await using again = await connect('few');
      return (await again.ask('GET', '/')).status === 200;
    });
    for (const client of clients) client.socket.destroy();
    await eventually(
      async () => (await proxy.metric('evenkeel_rejected_total', { listener: 'few', reason: 'connections' })) >= 1,
    );
  });

  it('connectionsPerClient: counted by address', async () => {
    release();
    const clients = [await connect('few-each', '127.0.0.1'), await connect('few-each', '127.0.0.1')];
    for (const client of clients) expect((await client.ask('GET', '/')).status).toBe(200);
    await using third = await connect('few-each', '127.0.0.1');
    expect((await third.response()).status).toBe(503);
    await using other = await connect('few-each', '127.0.0.77');
    expect((await other.ask('GET', '/')).status).toBe(200);
    for (const client of clients) client.socket.destroy();
  });
});
