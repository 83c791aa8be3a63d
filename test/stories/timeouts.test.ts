import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';
import { blackhole, type HeldPort } from '../helpers/refusing-port.ts';

describe('every wait has an end', () => {
  let origin: Origin;
  let silent: Origin;
  let hole: HeldPort;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    hole = await blackhole();
    const endpoints = [{ address: origin.address }];
    silent = await startOrigin();
    silent.handler = () => {};
    const route = (pool: string) => ({ match: { path: `/${pool}` }, pool });
    proxy = await startProxy({
      listeners: [
        {
          name: 'web',
          bind: '127.0.0.1:0',
          timeouts: { head: '300ms', body: '300ms', idle: '1s' },
          routes: [
            ...['connect', 'connect-retried', 'response', 'per-try', 'request', 'between', 'idle'].map(route),
            { pool: 'response' },
          ],
        },
      ],
      pools: {
        connect: { endpoints: [{ address: hole.address }], timeouts: { connect: '200ms' }, ejection: 'off' },
        'connect-retried': {
          endpoints: [{ address: hole.address }, ...endpoints],
          timeouts: { connect: '200ms' },
          scheduler: 'weighted-round-robin',
          ejection: 'off',
        },
        response: { endpoints, timeouts: { response: '300ms' }, ejection: 'off' },
        'per-try': {
          endpoints: [...endpoints, { address: silent.address }],
          timeouts: { response: '2s' },
          retry: { perTryTimeout: '1500ms' },
          ejection: 'off',
        },
        request: { endpoints, timeouts: { request: '300ms' }, ejection: 'off' },
        between: { endpoints, timeouts: { between: '300ms' }, ejection: 'off' },
        idle: { endpoints, timeouts: { idle: '300ms' } },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
    await silent.close();
    await hole.close();
  });

  /** How long it took, and how long without what the machine made the proxy wait. */
  interface Time {
    readonly ms: number;
    readonly ownMs: number;
  }

  async function timed(act: () => Promise<unknown>): Promise<Time> {
    const [started, ownMs] = [performance.now(), stopwatch(proxy.pid)];
    await act();
    return { ms: performance.now() - started, ownMs: ownMs() };
  }

  function expectAround({ ms, ownMs }: Time, expected: number): void {
    // Our own clock starts late.
    expect(ms).toBeGreaterThan(expected * 0.6);
    expect(ownMs).toBeLessThan(expected + 700);
  }

  it('connect: 504 connect-timeout when no connection is made in time', async () => {
    // Two attempts, for nothing was sent: on the only endpoint there is.
    const { ownMs } = await timed(async () => {
      const { status, fields } = await ask(proxy.port(), 'GET', '/connect');
      expect([status, fields.get('x-evenkeel-reason')]).toEqual([504, 'connect-timeout']);
    });
    expect(ownMs).toBeLessThan(900);
  });

  it('connect: another endpoint is tried', async () => {
    origin.handler = (_, reply) => void reply.send(200, 'made it');
    for (let i = 0; i < 2; i++)
      expect((await ask(proxy.port(), 'POST', '/connect-retried', [], 'x')).text).toBe('made it');
  });

  it('response: 504 response-timeout, and the endpoint sees the abort', async () => {
    origin.handler = () => {};
    const ms = await timed(async () => {
      const { status, fields } = await ask(proxy.port(), 'GET', '/response');
      expect([status, fields.get('x-evenkeel-reason')]).toEqual([504, 'response-timeout']);
    });
    expectAround(ms, 300);
    await origin.requests.at(-1)!.gone;
  });

  it('response: holds for all attempts together, however long each may take', async () => {
    origin.handler = () => {};
    const ms = await timed(async () => {
      const { status, fields } = await ask(proxy.port(), 'GET', '/per-try');
      expect([status, fields.get('x-evenkeel-reason')]).toEqual([504, 'response-timeout']);
    });
    expectAround(ms, 2000);
  });

  it('response: the time of an upload does not count', async () => {
    origin.handler = async (asked, reply) => {
      await asked.ended;
      reply.send(200, 'all here');
    };
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/response', ['content-length: 10']));
    for (let i = 0; i < 10; i++) {
      client.write('x');
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    expect((await client.response()).text).toBe('all here');
  });

  it('request: 504 request-timeout, from arrival to the response head', async () => {
    origin.handler = () => {};
    const ms = await timed(async () => {
      const { status, fields } = await ask(proxy.port(), 'GET', '/request');
      expect([status, fields.get('x-evenkeel-reason')]).toEqual([504, 'request-timeout']);
    });
    expectAround(ms, 300);
  });

  it('request: never a limit on a stream that has begun', async () => {
    origin.handler = (_, reply) => {
      reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab');
      setTimeout(() => reply.raw('cd'), 500);
    };
    expect((await ask(proxy.port(), 'GET', '/request')).text).toBe('abcd');
  });

  it('between: a response that stalls is cut, one that goes on slowly is not', async () => {
    origin.handler = (_, reply) => {
      reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n');
      let left = 10;
      const timer = setInterval(() => (left-- > 0 ? reply.raw('x') : clearInterval(timer)), 80);
    };
    expect((await ask(proxy.port(), 'GET', '/between')).text).toBe('x'.repeat(10));
    origin.handler = (_, reply) => void reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc');
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/between'));
    expectAround(await timed(async () => expect(await client.ended()).toBe('reset')), 300);
    expect(client.received.toString()).toContain('abc');
  });

  it('between: a client that takes nothing is cut too, and the endpoint is not blamed', async () => {
    origin.handler = (_, reply) => void reply.send(200, Buffer.alloc(30_000_000, 'x'));
    const { failures } = await proxy.endpoint('between', origin.address);
    const before = origin.requests.length;
    await using client = await rawClient(proxy.port(), { paused: true });
    client.write(request('GET', '/between'));
    await eventually(() => origin.requests.length > before);
    await origin.requests.at(-1)!.gone;
    client.resume();
    expect(await client.ended()).toBe('reset');
    expect((await proxy.endpoint('between', origin.address)).failures).toBe(failures);
  });

  it('between: a client that reads little by little gets all of it', async () => {
    const size = 20_000_000;
    origin.handler = (_, reply) => void reply.send(200, Buffer.alloc(size, 'x'));
    await using client = await rawClient(proxy.port(), { paused: true });
    client.write(request('GET', '/between'));
    const started = performance.now();
    const timer = setInterval(() => {
      client.resume();
      if (performance.now() - started < 1_500) setTimeout(() => client.pause(), 2);
    }, 60);
    const response = await client.response().finally(() => clearInterval(timer));
    expect(response.body.length).toBe(size);
  });

  it('idle: an upstream connection that is not used is given up', async () => {
    origin.handler = (_, reply) => void reply.send(200, 'kept');
    await ask(proxy.port(), 'GET', '/idle');
    expectAround(await timed(() => origin.requests.at(-1)!.gone), 300);
    expect(await origin.requests.at(-1)!.gone).toBe('end');
  });

  it('head: 408 when a request head does not end, however it drips', async () => {
    await using client = await rawClient(proxy.port());
    client.write('GET / HTTP/1.1\r\nhost: story\r\nx-slow: ');
    const timer = setInterval(() => client.write('y'), 50);
    const ms = await timed(async () => {
      const { status, fields } = await client.response();
      expect([status, fields.get('x-evenkeel-reason')]).toEqual([408, 'head-timeout']);
      expect(fields.get('connection')).toBe('close');
    });
    clearInterval(timer);
    expectAround(ms, 300);
    await client.ended();
  });

  it('head: a connection on which nothing comes is closed without a word', async () => {
    await using client = await rawClient(proxy.port());
    expectAround(await timed(() => client.ended()), 300);
    expect(client.receivedBytes).toBe(0);
  });

  it('body: 408 when a request body stalls, and the endpoint sees the abort, not an end', async () => {
    origin.handler = () => {};
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/response', ['transfer-encoding: chunked'], '3\r\nabc\r\n'));
    const ms = await timed(async () => {
      const { status, fields } = await client.response();
      expect([status, fields.get('x-evenkeel-reason')]).toEqual([408, 'body-timeout']);
    });
    expectAround(ms, 300);
    expect(await client.ended()).toBe('end');
    await origin.requests.at(-1)!.gone;
    expect((await proxy.endpoint('response', origin.address)).down).toEqual([]);
  });

  it('idle: a client connection without a request is closed, and not before', async () => {
    origin.handler = (_, reply) => void reply.send(200, 'hello');
    await using client = await rawClient(proxy.port());
    await client.ask('GET', '/response');
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect((await client.ask('GET', '/response')).text).toBe('hello');
    expectAround(await timed(async () => expect(await client.ended()).toBe('end')), 1000);
    await eventually(async () => (await proxy.api('/api/v1/listeners')).listeners[0].connections.active === 0);
  });
});
