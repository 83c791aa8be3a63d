import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

describe('what an endpoint sends out of turn reaches nobody else', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }], ejection: 'off' } },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  it('passes a response on before the request body ends, then closes both connections', async () => {
    origin.handler = (_, reply) => void reply.send(413, 'too much');
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/', ['content-length: 1000000'], 'first piece'));
    const response = await client.response();
    expect(response.status).toBe(413);
    expect(response.text).toBe('too much');
    expect(await client.ended()).toBe('end');
    await origin.requests.at(-1)!.gone;
    const { connection } = origin.requests.at(-1)!;
    origin.handler = (_, reply) => void reply.send(200, 'fine');
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('fine');
    expect(origin.requests.at(-1)!.connection).not.toBe(connection);
  });

  it('does not reset away a response that the client reads late, although it goes on sending its body', async () => {
    origin.handler = (_, reply) => void reply.send(413, 'too much'.repeat(1000));
    const before = origin.requests.length;
    await using client = await rawClient(proxy.port(), { paused: true });
    client.write(request('POST', '/', ['content-length: 10000000'], 'x'.repeat(1_000_000)));
    await eventually(() => origin.requests.length > before);
    await origin.requests.at(-1)!.gone;
    client.resume();
    expect((await client.response()).body.length).toBe(8000);
  });

  // By the documented API a failed write destroys the socket, and with it what was not read.
  it.skipIf(process.env.EVENKEEL_STORIES_FAST_PATH === 'off')(
    'passes an answer on that came before the endpoint reset the upload, every time',
    async () => {
      await using refusing = await refuseUploads();
      await using proxy = await startProxy({
        listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
        pools: { web: { endpoints: [{ address: refusing.address }], ejection: 'off' } },
      });
      for (let i = 0; i < 20; i++) {
        await using client = await rawClient(proxy.port());
        client.write(request('POST', '/', ['content-length: 20000000']));
        for (let piece = 0; piece < 60; piece++) client.write('x'.repeat(32_768));
        expect((await client.response()).status).toBe(413);
      }
    },
  );

  it('lets a request body go on while its response is on its way', async () => {
    origin.handler = async (asked, reply) => {
      reply.raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      asked.onData = (piece) => void reply.raw(`${piece.length.toString(16)}\r\n${piece}\r\n`);
      await asked.ended;
      reply.raw('0\r\n\r\n');
    };
    await using client = await rawClient(proxy.port());
    client.write(request('POST', '/echo', ['Transfer-Encoding: chunked']));
    await client.until(() => client.received.includes('\r\n\r\n') || null, 'the head before the body');
    for (const word of ['one', 'two', 'six']) {
      client.write(`3\r\n${word}\r\n`);
      await client.until(() => client.received.includes(word) || null, word);
    }
    client.write('0\r\n\r\n');
    expect((await client.response()).text).toBe('onetwosix');
  });

  it.each([
    ['in the same packet', 0],
    ['a moment later', 20],
  ])('closes the upstream connection when bytes follow a response %s, and never shows them', async (_, delayMs) => {
    origin.handler = (_, reply) => {
      const smuggled = 'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled';
      if (delayMs === 0) return void reply.raw(`HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood${smuggled}`);
      reply.send(200, 'good');
      setTimeout(() => reply.raw(smuggled), delayMs);
    };
    await using client = await rawClient(proxy.port());
    expect((await client.ask('GET', '/')).text).toBe('good');
    const { connection, gone } = origin.requests.at(-1)!;
    await gone;
    origin.handler = (_, reply) => void reply.send(200, 'second');
    expect((await client.ask('GET', '/')).text).toBe('second');
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('second');
    expect(client.received.length).toBe(0);
    expect(origin.requests.slice(-2).map((one) => one.connection)).not.toContain(connection);
  });

  it.each([
    ['a body behind 204', 'HTTP/1.1 204 No Content\r\n\r\nbody'],
    ['a body behind 304', 'HTTP/1.1 304 Not Modified\r\n\r\nbody'],
    ['more than content-length', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokbody'],
    ['bytes behind the last chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nbody'],
  ])('closes the upstream connection after %s', async (_, bytes) => {
    origin.handler = (_, reply) => void reply.raw(bytes);
    await using client = await rawClient(proxy.port());
    const first = await client.ask('GET', '/');
    expect(first.text).not.toContain('body');
    await origin.requests.at(-1)!.gone;
    origin.handler = (_, reply) => void reply.send(200, 'second');
    expect((await client.ask('GET', '/')).text).toBe('second');
  });

  it('closes the upstream connection after a body behind the response to HEAD', async () => {
    origin.handler = (_, reply) => void reply.raw('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody');
    await using client = await rawClient(proxy.port());
    await client.ask('HEAD', '/');
    await origin.requests.at(-1)!.gone;
    origin.handler = (_, reply) => void reply.send(200, 'second');
    expect((await client.ask('GET', '/')).text).toBe('second');
  });
});

/** Answers 413 at the first bytes and closes with the rest unread, so that the kernel resets what still comes. */
async function refuseUploads() {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.pause();
      socket.end('HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig', () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
