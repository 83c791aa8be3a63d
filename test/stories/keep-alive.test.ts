import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient } from '../helpers/raw-client.ts';

describe('connections are kept on both sides', () => {
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

  beforeEach(async () => {
    origin.handler = (_, reply) => void reply.send(200, 'hello');
    origin.endAll('end');
    await eventually(() => origin.open === 0);
  });

  it('carries many requests over one client and one upstream connection', async () => {
    const before = origin.connections;
    await using client = await rawClient(proxy.port());
    for (let i = 0; i < 20; i++) {
      const response = await client.ask('GET', `/${i}`);
      expect(response.text).toBe('hello');
      expect(response.fields.get('connection')).toBeUndefined();
    }
    expect(origin.connections).toBe(before + 1);
    expect(origin.requests.slice(-20).map(({ target }) => target)).toEqual(
      Array.from({ length: 20 }, (_, i) => `/${i}`),
    );
  });

  it('shares an upstream connection between clients that come one after the other', async () => {
    const before = origin.connections;
    for (let i = 0; i < 5; i++) await ask(proxy.port(), 'GET', '/');
    expect(origin.connections).toBe(before + 1);
  });

  it('closes after a response when the client says Connection: close, and keeps the upstream connection', async () => {
    const before = origin.connections;
    for (let i = 0; i < 2; i++) {
      await using client = await rawClient(proxy.port());
      const response = await client.ask('GET', '/', ['Connection: close']);
      expect(response.text).toBe('hello');
      expect(response.fields.get('connection')).toBe('close');
      expect(await client.ended()).toBe('end');
    }
    expect(origin.connections).toBe(before + 1);
    expect(origin.requests.at(-1)!.fields.get('connection')).toBeUndefined();
  });

  it('closes after a response to HTTP/1.0, and says so', async () => {
    await using client = await rawClient(proxy.port());
    client.write('GET / HTTP/1.0\r\nHost: story\r\n\r\n');
    const response = await client.response();
    expect(response.text).toBe('hello');
    expect(response.fields.get('connection')).toBe('close');
    expect(await client.ended()).toBe('end');
  });

  it('keeps an HTTP/1.0 connection whose client asks for it', async () => {
    await using client = await rawClient(proxy.port());
    for (let i = 0; i < 3; i++) {
      client.write('GET / HTTP/1.0\r\nHost: story\r\nConnection: keep-alive\r\n\r\n');
      const response = await client.response();
      expect(response.text).toBe('hello');
      expect(response.fields.get('connection')).toBe('keep-alive');
    }
  });

  it('ends a chunked response to HTTP/1.0 by closing, without chunks', async () => {
    origin.handler = (_, reply) =>
      void reply.raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n');
    await using client = await rawClient(proxy.port());
    client.write('GET / HTTP/1.0\r\nHost: story\r\nConnection: keep-alive\r\n\r\n');
    const response = await client.response();
    expect(response.fields.names).not.toContain('transfer-encoding');
    expect(response.fields.get('connection')).toBe('close');
    expect(response.text).toBe('hello world');
  });

  it('does not use an upstream connection again whose endpoint says Connection: close', async () => {
    origin.handler = (_, reply) => void reply.send(200, 'last', ['connection: close']);
    const before = origin.connections;
    await using client = await rawClient(proxy.port());
    for (let i = 0; i < 3; i++) {
      const response = await client.ask('GET', '/');
      expect(response.text).toBe('last');
      expect(response.fields.get('connection')).toBeUndefined();
    }
    expect(origin.connections).toBe(before + 3);
  });

  it('does not keep an upstream connection of an HTTP/1.0 endpoint, unless it says keep-alive', async () => {
    const before = origin.connections;
    origin.handler = (_, reply) => void reply.raw('HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok');
    for (let i = 0; i < 2; i++) expect((await ask(proxy.port(), 'GET', '/')).text).toBe('ok');
    expect(origin.connections).toBe(before + 2);
    origin.handler = (_, reply) =>
      void reply.raw('HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok');
    for (let i = 0; i < 3; i++) expect((await ask(proxy.port(), 'GET', '/')).text).toBe('ok');
    expect(origin.connections).toBe(before + 3);
  });

  it('ends an upstream connection cleanly that the endpoint wants to close', async () => {
    origin.handler = (_, reply) => void reply.send(200, 'last', ['connection: close']);
    await ask(proxy.port(), 'GET', '/');
    expect(await origin.requests.at(-1)!.gone).toBe('end');
  });

  it('gives an idle upstream connection up before the endpoint does, as Keep-Alive: timeout says', async () => {
    origin.handler = (_, reply) => void reply.send(200, 'kept', ['keep-alive: timeout=1']);
    const before = origin.connections;
    for (let i = 0; i < 2; i++) await ask(proxy.port(), 'GET', '/');
    expect(origin.connections).toBe(before + 2);
    origin.handler = (_, reply) => void reply.send(200, 'kept', ['keep-alive: timeout=2']);
    for (let i = 0; i < 3; i++) await ask(proxy.port(), 'GET', '/');
    expect(origin.connections).toBe(before + 3);
    const sinceMs = stopwatch(proxy.pid);
    expect(await origin.requests.at(-1)!.gone).toBe('end');
    expect(sinceMs()).toBeLessThan(1_500);
  });
});
