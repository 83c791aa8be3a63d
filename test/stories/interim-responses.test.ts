import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient, request } from '../helpers/raw-client.ts';

describe('interim responses reach the client', () => {
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

  it('passes Expect: 100-continue on, and the 100 back before the client sends its body', async () => {
    origin.handler = async (asked, reply) => {
      reply.raw('HTTP/1.1 100 Continue\r\n\r\n');
      await asked.ended;
      reply.send(200, `got ${asked.body}`);
    };
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/', ['Expect: 100-continue', 'content-length: 4']));
    const interim = await client.head();
    expect(interim.startLine).toBe('HTTP/1.1 100 Continue');
    expect(origin.requests.at(-1)!.fields.get('expect')).toBe('100-continue');
    expect(origin.requests.at(-1)!.bodyBytes).toBe(0);
    client.write('body');
    expect((await client.response()).text).toBe('got body');
  });

  it('passes a refusal of Expect on and closes, for the body may come or not', async () => {
    origin.handler = (_, reply) => void reply.send(417, 'no');
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/', ['Expect: 100-continue', 'content-length: 4']));
    expect((await client.response()).status).toBe(417);
    expect(await client.ended()).toBe('end');
  });

  it('passes 103 on, with its header lines, any number of times', async () => {
    origin.handler = (_, reply) =>
      void reply
        .raw('HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n')
        .raw('HTTP/1.1 103 Early Hints\r\nlink: </b.css>; rel=preload\r\n\r\n')
        .send(200, 'page');
    await using client = await rawClient(proxy.port());
    const response = await client.ask('GET', '/');
    expect(response.interim.map(({ status, fields }) => [status, fields.get('link')])).toEqual([
      [103, '</a.css>; rel=preload'],
      [103, '</b.css>; rel=preload'],
    ]);
    expect(response.text).toBe('page');
    expect(response.fields.get('link')).toBeUndefined();
  });

  it('keeps interim responses from HTTP/1.0 clients', async () => {
    origin.handler = (_, reply) =>
      void reply.raw('HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n').send(200, 'page');
    await using client = await rawClient(proxy.port());
    client.write('GET / HTTP/1.0\r\nHost: story\r\n\r\n');
    const response = await client.response();
    expect(response.interim).toEqual([]);
    expect(response.text).toBe('page');
  });

  it('reads an interim and a final head however they are cut into packets', async () => {
    const bytes =
      'HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nx-long: 0123456789\r\ncontent-length: 4\r\n\r\npage';
    await using client = await rawClient(proxy.port());
    for (let cut = 1; cut < bytes.length; cut += 3) {
      origin.handler = async (_, reply) => {
        reply.raw(bytes.slice(0, cut));
        await new Promise((resolve) => setImmediate(resolve));
        reply.raw(bytes.slice(cut));
      };
      const response = await client.ask('GET', `/${cut}`);
      expect([response.interim.length, response.status, response.fields.get('x-long'), response.text]).toEqual([
        1,
        200,
        '0123456789',
        'page',
      ]);
    }
  });
});
