import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient } from '../helpers/raw-client.ts';

describe('responses without a body leave the connection in step', () => {
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

  it.each([
    ['HEAD with content-length', 'HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n', '12345'],
    ['HEAD with transfer-encoding', 'HEAD', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', undefined],
    ['HEAD without either', 'HEAD', 'HTTP/1.1 200 OK\r\nx: y\r\n\r\n', undefined],
    ['204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\n', undefined],
    [
      '304 with the length of what is not sent',
      'GET',
      'HTTP/1.1 304 Not Modified\r\ncontent-length: 777\r\netag: "a"\r\n\r\n',
      '777',
    ],
    ['200 with content-length: 0', 'GET', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', '0'],
  ])('%s', async (_, method, bytes, length) => {
    const connections = origin.connections;
    await using client = await rawClient(proxy.port());
    for (let i = 0; i < 3; i++) {
      origin.handler = (_, reply) => void reply.raw(bytes);
      const response = await client.ask(method, '/bodiless');
      expect(response.body.length).toBe(0);
      if (bytes.includes('304')) expect(response.fields.get('content-length') ?? length).toBe(length);
      else if (!bytes.includes('chunked')) expect(response.fields.get('content-length')).toBe(length);
      // What follows on the same connection is read as what it is.
      origin.handler = (_, reply) => void reply.send(200, 'next');
      expect((await client.ask('GET', '/next')).text).toBe('next');
    }
    expect(client.received.length).toBe(0);
    expect(origin.connections - connections).toBeLessThanOrEqual(1);
  });

  it('answers HEAD itself without a body, with the length GET would have', async () => {
    await using client = await rawClient(proxy.port());
    origin.handler = (_, reply) => reply.reset();
    const get = await client.ask('POST', '/', [], 'x');
    expect(get.status).toBe(502);
    origin.handler = (_, reply) => void reply.raw('nonsense\r\n\r\n');
    const head = await client.ask('HEAD', '/');
    expect(head.status).toBe(502);
    expect(Number(head.fields.get('content-length'))).toBeGreaterThan(0);
    origin.handler = (_, reply) => void reply.send(200, 'next');
    expect((await client.ask('GET', '/next')).text).toBe('next');
  });
});
