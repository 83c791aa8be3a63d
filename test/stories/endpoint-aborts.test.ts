import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, type OriginReply, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

const HEAD = 'HTTP/1.1 200 OK\r\n';

describe('a response that the endpoint cuts never looks whole', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin();
    proxy = await startProxy({
      log: { access: 'stdout' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }], ejection: 'off' } },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  beforeEach(() => {
    origin.handler = (_, reply) => void reply.send(200, 'hello');
  });

  /** Lets the endpoint send `bytes`, end as `cut` says, and resolves with how the client saw it end and what it got. */
  async function clientSees(bytes: string, cut: (reply: OriginReply) => void, minor = 1) {
    const { promise: received, resolve: clientHasIt } = Promise.withResolvers<void>();
    origin.handler = async (_, reply) => {
      reply.raw(bytes);
      await received;
      cut(reply);
    };
    await using client = await rawClient(proxy.port());
    client.write(`GET /cut HTTP/1.${minor}\r\nHost: story\r\n\r\n`);
    await client.until(() => client.received.includes('half') || null, 'what was sent before the cut');
    clientHasIt();
    return { how: await client.ended(), text: client.received.toString('latin1') };
  }

  it.each([
    ['content-length, FIN', `${HEAD}content-length: 100\r\n\r\nhalf`, (reply: OriginReply) => reply.end()],
    ['content-length, RST', `${HEAD}content-length: 100\r\n\r\nhalf`, (reply: OriginReply) => reply.reset()],
    [
      'chunked within a chunk, FIN',
      `${HEAD}transfer-encoding: chunked\r\n\r\n10\r\nhalf`,
      (reply: OriginReply) => reply.end(),
    ],
    [
      'chunked between chunks, FIN',
      `${HEAD}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n`,
      (reply: OriginReply) => reply.end(),
    ],
    ['chunked, RST', `${HEAD}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n`, (reply: OriginReply) => reply.reset()],
    ['until close, RST', `${HEAD}\r\nhalf`, (reply: OriginReply) => reply.reset()],
  ])('resets the client: %s', async (_, bytes, cut) => {
    const { how, text } = await clientSees(bytes, cut);
    expect(how).toBe('reset');
    expect(text).not.toContain('\r\n0\r\n');
  });

  it.each([
    ['chunked, FIN', `${HEAD}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n`, (reply: OriginReply) => reply.end()],
    ['until close, RST', `${HEAD}\r\nhalf`, (reply: OriginReply) => reply.reset()],
  ])('resets an HTTP/1.0 client, for whom FIN would be the end of the body: %s', async (_, bytes, cut) => {
    expect((await clientSees(bytes, cut, 0)).how).toBe('reset');
  });

  it('resets the client when a chunk is malformed, and says reset in the access log', async () => {
    const { how } = await clientSees(`${HEAD}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n`, (reply) =>
      reply.raw('zz\r\n'),
    );
    expect(how).toBe('reset');
    await eventually(() => proxy.accessLines().some((line) => line.path === '/cut' && line.reason === 'reset'));
  });

  it('ends cleanly when a body that ends with the connection does', async () => {
    origin.handler = (_, reply) => reply.raw(`${HEAD}\r\nthe whole`).end();
    const response = await ask(proxy.port(), 'GET', '/');
    expect(response.text).toBe('the whole');
    expect(response.fields.get('transfer-encoding')).toBe('chunked');
  });

  it('never shows the next client a head that was thrown away with its broken body', async () => {
    origin.handler = (_, reply) =>
      void reply.raw(`${HEAD}secret: of-the-first\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n`);
    await using first = await rawClient(proxy.port());
    first.write(request('GET', '/broken'));
    expect(await first.ended()).toBe('reset');
    origin.handler = (_, reply) => void reply.send(200, 'second');
    await using second = await rawClient(proxy.port());
    const response = await second.ask('GET', '/');
    expect(response.text).toBe('second');
    expect(response.fields.names).not.toContain('secret');
    expect(second.received.length).toBe(0);
  });

  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['two lengths', `${HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\nab`],
    ['a header without a name', `${HEAD}: x\r\n\r\n`],
    ['a switch nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['a head without end', `${HEAD}${'x-filler: 0123456789\r\n'.repeat(4000)}`],
  ])('answers 502 bad-response when the endpoint sends %s', async (_, bytes) => {
    origin.handler = (_, reply) => void reply.raw(bytes);
    const response = await ask(proxy.port(), 'POST', '/', [], 'x');
    expect(response.status).toBe(502);
    expect(response.fields.get('x-evenkeel-reason')).toBe('bad-response');
  });

  it('answers 502 reset when the endpoint ends before a response to a request that cannot be repeated', async () => {
    for (const cut of ['end', 'reset'] as const) {
      origin.handler = (_, reply) => reply[cut]();
      const response = await ask(proxy.port(), 'POST', '/', [], 'x');
      expect(response.status).toBe(502);
      expect(response.fields.get('x-evenkeel-reason')).toBe('reset');
    }
  });

  it('answers 502 when the endpoint ends within the head', async () => {
    origin.handler = (_, reply) => reply.raw(`${HEAD}content-len`).end();
    const response = await ask(proxy.port(), 'GET', '/');
    expect(response.status).toBe(502);
    expect(response.fields.get('x-evenkeel-reason')).toBe('reset');
  });
});
