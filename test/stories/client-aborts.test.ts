import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

describe('a client that leaves frees the endpoint at once', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    proxy = await startProxy({
      log: { access: 'stdout' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: {
        web: { endpoints: [{ address: origin.address }], limits: { active: 1, pending: 1, pendingTimeout: '5s' } },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  beforeEach(() => {
    origin.handler = (_, reply) => void reply.send(200, 'fine');
  });

  const LEAVES = ['end', 'reset'] as const;

  async function arrived(target: string) {
    return eventually(() => origin.requests.find((one) => one.target === target) ?? null);
  }

  async function expectFreed(target: string): Promise<void> {
    const sinceMs = stopwatch(proxy.pid);
    await origin.requests.find((one) => one.target === target)!.gone;
    expect(sinceMs()).toBeLessThan(1_000);
    await eventually(async () => (await proxy.endpoint('web', origin.address)).active === 0);
    origin.handler = (_, reply) => void reply.send(200, 'fine');
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('fine');
  }

  it.each(LEAVES)('while it waits for the response: %s', async (leave) => {
    origin.handler = () => {};
    await using client = await rawClient(proxy.port());
    client.write(request('GET', `/waiting-${leave}`));
    await arrived(`/waiting-${leave}`);
    client[leave]();
    await expectFreed(`/waiting-${leave}`);
    const line = await eventually(() => proxy.accessLines().find(({ path }) => path === `/waiting-${leave}`) ?? null);
    expect(line).toMatchObject({ status: 499, reason: 'client-gone' });
  });

  it.each(LEAVES)('within the request body: %s', async (leave) => {
    origin.handler = () => {};
    await using client = await rawClient(proxy.port());
    client.write(request('POST', `/body-${leave}`, ['content-length: 1000'], 'a part'));
    const asked = await arrived(`/body-${leave}`);
    await eventually(() => asked.bodyBytes === 6);
    client[leave]();
    await expectFreed(`/body-${leave}`);
  });

  it.each(LEAVES)('within a chunked request body, which never looks whole to the endpoint: %s', async (leave) => {
    origin.handler = () => {};
    await using client = await rawClient(proxy.port());
    client.write(request('POST', `/chunks-${leave}`, ['transfer-encoding: chunked'], '6\r\na part\r\n'));
    const asked = await arrived(`/chunks-${leave}`);
    await eventually(() => asked.bodyBytes === 6);
    let whole = false;
    void asked.ended.then(() => {
      whole = true;
    });
    client[leave]();
    await expectFreed(`/chunks-${leave}`);
    expect(whole).toBe(false);
  });

  it('within the response', async () => {
    let sent = 0;
    origin.handler = (_, reply) => {
      reply.raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      const timer = setInterval(() => {
        sent++;
        reply.raw('4\r\nmore\r\n');
      }, 5);
      reply.socket.on('close', () => clearInterval(timer));
    };
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/endless'));
    await client.until(() => client.received.includes('more') || null, 'a part of the body');
    client.reset();
    await expectFreed('/endless');
    const last = sent;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sent).toBe(last);
    const line = await eventually(() => proxy.accessLines().find(({ path }) => path === '/endless') ?? null);
    expect(line).toMatchObject({ status: 200, reason: 'client-gone' });
  });

  it('within the response, while it does not read', async () => {
    const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
    origin.handler = (_, reply) => {
      reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n').raw(Buffer.alloc(50_000_000));
      reply.socket.on('close', onClosed);
    };
    await using client = await rawClient(proxy.port(), { paused: true });
    client.write(request('GET', '/stuck'));
    await arrived('/stuck');
    await new Promise((resolve) => setTimeout(resolve, 100));
    client.reset();
    await closed;
    await eventually(async () => (await proxy.endpoint('web', origin.address)).active === 0);
  });

  it('while it waits in the queue: its place is free again and the endpoint never hears of it', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async (_, reply) => {
      await released;
      reply.send(200, 'fine');
    };
    await using first = await rawClient(proxy.port());
    first.write(request('GET', '/holds'));
    await arrived('/holds');
    await using second = await rawClient(proxy.port());
    second.write(request('GET', '/queued'));
    await eventually(async () => (await proxy.metric('evenkeel_pool_pending')) === 1);
    second.reset();
    await eventually(async () => (await proxy.metric('evenkeel_pool_pending')) === 0);
    await using third = await rawClient(proxy.port());
    third.write(request('GET', '/third'));
    release();
    expect((await first.response()).text).toBe('fine');
    expect((await third.response()).text).toBe('fine');
    expect(origin.requests.some(({ target }) => target === '/queued')).toBe(false);
  });

  it('says nothing against the endpoint, however many leave', async () => {
    origin.handler = () => {};
    for (let i = 0; i < 8; i++) {
      await using client = await rawClient(proxy.port());
      client.write(request('GET', `/leaver-${i}`));
      await arrived(`/leaver-${i}`);
      client.reset();
      await origin.requests.at(-1)!.gone;
    }
    origin.handler = (_, reply) => void reply.send(200, 'fine');
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('fine');
    const { failures, down } = await proxy.endpoint('web', origin.address);
    expect([failures, down]).toEqual([0, []]);
  });
});
