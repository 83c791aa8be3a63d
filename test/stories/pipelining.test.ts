import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient, request } from '../helpers/raw-client.ts';

describe('pipelined requests are answered in their order', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }] } },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  it('a hundred in one packet', async () => {
    origin.handler = (asked, reply) => void reply.send(200, asked.target);
    await using client = await rawClient(proxy.port());
    client.write(Array.from({ length: 100 }, (_, i) => request('GET', `/${i}`)).join(''));
    for (let i = 0; i < 100; i++) expect((await client.response()).text).toBe(`/${i}`);
  });

  it('a slow first one before fast ones, of which none is sent on before it is answered', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async (asked, reply) => {
      if (asked.target === '/slow') await released;
      reply.send(200, asked.target);
    };
    const before = origin.requests.length;
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/slow') + request('GET', '/fast') + request('GET', '/faster'));
    await eventually(() => origin.requests.length === before + 1);
    release();
    for (const target of ['/slow', '/fast', '/faster']) expect((await client.response()).text).toBe(target);
  });

  it('bodies between them, by length and chunked, whatever packet they come in', async () => {
    origin.handler = async (asked, reply) => {
      await asked.ended;
      reply.send(200, `${asked.target} ${asked.body}`);
    };
    const bytes =
      request('POST', '/a', [], 'alpha') +
      request('POST', '/b', ['Transfer-Encoding: chunked'], '4\r\nbeta\r\n0\r\n\r\n') +
      request('GET', '/c') +
      request('PUT', '/d', [], 'delta');
    await using client = await rawClient(proxy.port());
    for (const step of [bytes.length, 1, 7, 64]) {
      for (let at = 0; at < bytes.length; at += step) {
        client.write(bytes.slice(at, at + step));
        if (step > 1 || at % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      for (const text of ['/a alpha', '/b beta', '/c ', '/d delta']) expect((await client.response()).text).toBe(text);
    }
    expect(origin.faults).toEqual([]);
  });

  it('answers what came before a bad request, then the bad request, then closes', async () => {
    origin.handler = (asked, reply) => void reply.send(200, asked.target);
    const before = origin.requests.length;
    await using client = await rawClient(proxy.port());
    client.write(`${request('GET', '/good')}GET / HTTP/1.1\r\nno host\r\n\r\n${request('GET', '/never')}`);
    expect((await client.response()).text).toBe('/good');
    const bad = await client.response();
    expect(bad.status).toBe(400);
    expect(bad.fields.get('connection')).toBe('close');
    expect(await client.ended()).toBe('end');
    expect(client.received.length).toBe(0);
    expect(origin.requests.length).toBe(before + 1);
  });

  it('reads no further ahead than a bounded buffer while a request waits', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async (asked, reply) => {
      if (asked.target === '/slow') await released;
      reply.send(200, 'x');
    };
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/slow'));
    const one = request('GET', '/next', [`x-filler: ${'f'.repeat(2000)}`]);
    client.write(one.repeat(8_000));
    // What is read is counted; it comes to a halt while most of what was sent is still here.
    const bytesIn = () => proxy.metric('evenkeel_bytes_total', { direction: 'in' });
    const halted = await eventually(async () => {
      const first = await bytesIn();
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      return first === (await bytesIn()) && first;
    });
    expect(halted).toBeLessThan(512 * 1024);
    expect(client.socket.writableLength).toBeGreaterThan(0);
    release();
    expect((await client.response()).text).toBe('x');
    expect((await client.response()).text).toBe('x');
  });
});
