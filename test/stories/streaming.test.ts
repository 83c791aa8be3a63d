import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { patternBytes } from '../helpers/http-message.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient, request } from '../helpers/raw-client.ts';

const MIB = 1024 * 1024;
/** EVENKEEL_STREAM_MIB=1024 streams a gibibyte. */
const SIZE = Number(process.env.EVENKEEL_STREAM_MIB ?? 256) * MIB;
const PIECE = patternBytes(251 * 1024);
/** What the proxy may grow by while SIZE bytes go through it: buffers of two sockets, and what the collector leaves lying. */
const FLAT = 80 * MIB;

describe('bodies stream both ways in flat memory', () => {
  let origin: Origin;
  let proxy: RunningProxy;
  let expected: string;

  beforeAll(async () => {
    origin = await startOrigin();
    proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }] } },
    });
    const hash = createHash('sha1');
    for (const piece of pieces()) hash.update(piece);
    expected = hash.digest('hex');
    // A process that has just begun grows by what it compiles, too.
    origin.handler = async (asked, reply) => {
      await asked.ended;
      reply.send(200, 'warm');
    };
    await fetch(`${proxy.url}/warm`, { method: 'PUT', body: new Uint8Array(4 * MIB) });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  /** SIZE bytes in pieces. */
  function* pieces(): Generator<Buffer> {
    for (let left = SIZE; left > 0; left -= PIECE.length) yield left >= PIECE.length ? PIECE : PIECE.subarray(0, left);
  }

  /** Runs `act` and returns by how much the proxy's memory grew meanwhile. */
  async function growth(act: () => Promise<void>): Promise<number> {
    const before = await proxy.memory();
    let most = before;
    const timer = setInterval(async () => {
      most = Math.max(most, await proxy.memory().catch(() => 0));
    }, 20);
    await act().finally(() => clearInterval(timer));
    return most - before;
  }

  it.each([
    ['content-length', { 'content-length': String(SIZE) }],
    ['chunked', { 'transfer-encoding': 'chunked' }],
  ])('uploads %s byte for byte', { timeout: 120_000 }, async (_, headers) => {
    origin.handler = async (asked, reply) => {
      const hash = createHash('sha1');
      asked.onData = (piece) => void hash.update(piece);
      await asked.ended;
      reply.send(200, hash.digest('hex'));
    };
    let answer = '';
    const grown = await growth(async () => {
      const sent = httpRequest(`${proxy.url}/up`, { method: 'PUT', headers });
      const answered = once(sent, 'response');
      for (const piece of pieces()) if (!sent.write(piece)) await once(sent, 'drain');
      sent.end();
      const [response] = await answered;
      for await (const piece of response) answer += piece;
    });
    expect(answer).toBe(expected);
    expect(origin.requests.at(-1)!.bodyBytes).toBe(SIZE);
    expect(grown).toBeLessThan(FLAT);
  });

  it.each([
    ['content-length', `content-length: ${SIZE}`],
    ['chunked', 'transfer-encoding: chunked'],
    ['until close', 'x: y'],
  ])('downloads %s byte for byte', { timeout: 120_000 }, async (framing, line) => {
    origin.handler = async (_, { socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\n${line}\r\n\r\n`);
      for (const piece of pieces()) {
        if (framing === 'chunked') socket.write(`${piece.length.toString(16)}\r\n`);
        const goesOn = socket.write(piece);
        if (framing === 'chunked') socket.write('\r\n');
        if (!goesOn) await once(socket, 'drain');
      }
      if (framing === 'chunked') socket.write('0\r\n\r\n');
      if (framing === 'until close') socket.end();
    };
    const hash = createHash('sha1');
    let size = 0;
    const grown = await growth(async () => {
      const sent = httpRequest(`${proxy.url}/down`).end();
      const [response] = await once(sent, 'response');
      for await (const piece of response) {
        size += piece.length;
        hash.update(piece);
      }
    });
    expect(size).toBe(SIZE);
    expect(hash.digest('hex')).toBe(expected);
    expect(grown).toBeLessThan(FLAT);
  });

  it('holds the endpoint back while the client does not read, and goes on when it does', async () => {
    let written = 0;
    const total = 64 * MIB;
    origin.handler = async (_, { socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      while (written < total) {
        const piece = PIECE.subarray(0, Math.min(PIECE.length, total - written));
        written += piece.length;
        if (!socket.write(piece)) await once(socket, 'drain');
      }
    };
    await using client = await rawClient(proxy.port(), { paused: true });
    client.write(request('GET', '/slow'));
    const halted = await eventually(async () => {
      const first = written;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return first > 0 && first === written && first;
    });
    expect(halted).toBeLessThan(total / 2);
    client.resume();
    expect((await client.response({ timeoutMs: 20_000 })).body.length).toBe(total);
  });

  it('holds the client back while the endpoint does not read, and goes on when it does', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async (asked, reply) => {
      reply.socket.pause();
      await released;
      reply.socket.resume();
      await asked.ended;
      reply.send(200, String(asked.bodyBytes));
    };
    await using client = await rawClient(proxy.port());
    const total = 64 * MIB;
    client.write(request('POST', '/slow', [`content-length: ${total}`]));
    client.write(patternBytes(total));
    const halted = await eventually(async () => {
      const first = client.socket.writableLength;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return first === client.socket.writableLength && first;
    });
    expect(halted).toBeGreaterThan(total / 2);
    release();
    expect((await client.response({ timeoutMs: 20_000 })).text).toBe(String(total));
  });

  it('gives a client that stops reading for a while the whole of a last response, by length and until close', async () => {
    // How much fits between the endpoint and a client that reads nothing.
    const bytesOut = async () => (await proxy.api('/api/v1/listeners')).listeners[0].bytes.out as number;
    const before = await bytesOut();
    origin.handler = (_, reply) => void reply.raw('HTTP/1.1 200 OK\r\n\r\n').raw(patternBytes(40 * MIB));
    const probe = await rawClient(proxy.port(), { paused: true });
    probe.write(request('GET', '/probe'));
    const capacity = await eventually(async () => {
      const first = (await bytesOut()) - before;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return first > MIB && first === (await bytesOut()) - before && first;
    });
    probe.reset();

    // Bodies that just fit: the endpoint is done while the last bytes still wait in the proxy.
    origin.handler = (asked, reply) => {
      const body = patternBytes(Number(asked.target.slice(1)));
      const framing = asked.fields.get('x-framing') === 'length' ? `content-length: ${body.length}` : 'x: y';
      reply.raw(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`).raw(body).end();
    };
    const sizes = Array.from({ length: 20 }, (_, i) => capacity - 64_000 + i * 24_000);
    const clients = await Promise.all(sizes.map(() => rawClient(proxy.port(), { paused: true })));
    clients.forEach((client, i) => {
      if (i % 2 === 0) client.write(request('GET', `/${sizes[i]}`, ['x-framing: length', 'connection: close']));
      else client.write(`GET /${sizes[i]} HTTP/1.0\r\nhost: story\r\n\r\n`);
    });
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    const received = await Promise.all(
      clients.map(async (client) => {
        client.resume();
        return client.response({ timeoutMs: 20_000 }).then(
          ({ body }) => body.length,
          (error) => String(error).slice(0, 120),
        );
      }),
    );
    for (const client of clients) client.socket.destroy();
    expect(received).toEqual(sizes);
  });
});
