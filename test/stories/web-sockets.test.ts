import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { eventually } from '../helpers/eventually.ts';
import { patternBytes } from '../helpers/http-message.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient } from '../helpers/raw-client.ts';

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n';
const ASK = 'GET /raw HTTP/1.1\r\nhost: story\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n';

describe('an upgraded connection is a tunnel', () => {
  let server: WebSocketServer;
  let raw: Origin;
  let proxy: RunningProxy;
  const closed: { code: number; reason: string }[] = [];
  const errors: unknown[] = [];

  beforeAll(async () => {
    server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    server.on('connection', (socket) => {
      socket.on('error', (error) => errors.push(error));
      socket.on('close', (code, reason) => closed.push({ code, reason: reason.toString() }));
      socket.on('message', (data, isBinary) => {
        if (data.toString() === 'close me') socket.close(4001, 'as asked');
        else if (data.toString() === 'drop me') socket.terminate();
        else socket.send(data, { binary: isBinary });
      });
    });
    await new Promise((resolve) => server.once('listening', resolve));
    raw = await startOrigin();
    const routes = [{ match: { path: '/raw' }, pool: 'raw' }, { pool: 'sockets' }];
    proxy = await startProxy({
      log: { access: 'stdout' },
      listeners: [
        { name: 'web', bind: '127.0.0.1:0', timeouts: { idle: '200ms' }, routes },
        { name: 'impatient', bind: '127.0.0.1:0', timeouts: { tunnel: '400ms' }, routes },
      ],
      pools: {
        raw: { endpoints: [{ address: raw.address }] },
        sockets: { endpoints: [{ address: `127.0.0.1:${(server.address() as { port: number }).port}` }] },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    for (const client of server.clients) client.terminate();
    server.close();
    await raw.close();
  });

  async function opened(path = '/socket', listener = 'web'): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port(listener)}${path}`);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return socket;
  }

  const message = (socket: WebSocket) => new Promise<Buffer>((resolve) => socket.once('message', resolve));
  const close = (socket: WebSocket) =>
    new Promise<[number, Buffer]>((resolve) => socket.once('close', (...all) => resolve(all)));

  it('echoes text and binary messages, small and of 8 MiB', async () => {
    const socket = await opened();
    for (const sent of [Buffer.from('hello'), patternBytes(100), patternBytes(8 * 1024 * 1024)]) {
      const answer = message(socket);
      socket.send(sent);
      expect((await answer).equals(sent)).toBe(true);
    }
    socket.close();
    await close(socket);
  });

  it('passes the close of the client on, with code and reason, and neither side sees an error', async () => {
    const socket = await opened();
    const before = closed.length;
    const own = close(socket);
    socket.close(4000, 'enough');
    expect((await own)[0]).toBe(4000);
    await eventually(() => closed.length > before);
    expect(closed.at(-1)).toEqual({ code: 4000, reason: 'enough' });
    expect(errors).toEqual([]);
  });

  it('passes the close of the endpoint on', async () => {
    const socket = await opened();
    const own = close(socket);
    socket.send('close me');
    const [code, reason] = await own;
    expect([code, reason.toString()]).toEqual([4001, 'as asked']);
    expect(errors).toEqual([]);
  });

  it('passes the abort of either side on', async () => {
    const first = await opened();
    const before = closed.length;
    first.terminate();
    await eventually(() => closed.length > before);
    expect(closed.at(-1)!.code).toBe(1006);
    const second = await opened();
    second.on('error', () => {});
    const own = close(second);
    second.send('drop me');
    expect((await own)[0]).toBe(1006);
  });

  it('carries what came with the request and with the 101', async () => {
    raw.handler = (_, reply) => {
      reply.raw(`${SWITCH}welcome`);
      reply.socket.on('data', (bytes) => reply.raw(bytes));
    };
    await using client = await rawClient(proxy.port());
    client.write(`${ASK}early`);
    const response = await client.response();
    expect(response.status).toBe(101);
    expect(response.fields.get('upgrade')).toBe('echo');
    expect(response.fields.get('connection')?.toLowerCase()).toBe('upgrade');
    await client.until(() => client.received.includes('welcome') || null, 'welcome');
    client.write(' bird');
    await client.until(() => client.received.toString().includes('early bird') || null, 'the echo');
  });

  it('delivers what one side wrote before it ended', async () => {
    const lastWords = patternBytes(3_000_000);
    raw.handler = (_, reply) => void reply.raw(SWITCH).raw(lastWords).end();
    await using client = await rawClient(proxy.port());
    client.write(ASK);
    await client.response();
    expect(await client.ended()).toBe('end');
    expect(client.received.equals(lastWords)).toBe(true);

    let got = 0;
    const { promise: over, resolve: onOver } = Promise.withResolvers<void>();
    raw.handler = (_, reply) => {
      reply.raw(SWITCH);
      reply.socket.on('data', (bytes) => {
        got += bytes.length;
      });
      reply.socket.on('end', onOver);
    };
    await using second = await rawClient(proxy.port());
    second.write(ASK);
    await second.response();
    second.write(lastWords).end();
    await over;
    expect(got).toBe(lastWords.length);
  });

  it('delivers it even to a side that takes longer than two seconds to read it', async () => {
    const lastWords = patternBytes(12_000_000);
    raw.handler = (_, reply) => void reply.raw(SWITCH).raw(lastWords).end();
    await using client = await rawClient(proxy.port(), { paused: true });
    client.write(ASK);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    client.resume();
    await client.response();
    expect(await client.ended()).toBe('end');
    expect(client.received.length).toBe(lastWords.length);
  });

  it('ends a tunnel on which nothing moves either way, and none on which something does', async () => {
    const started = performance.now();
    const quiet = await opened('/socket', 'impatient');
    const busy = await opened('/socket', 'impatient');
    let busyIsOpen = true;
    busy.on('close', () => {
      busyIsOpen = false;
    });
    const timer = setInterval(() => busy.send('tick'), 50);
    await close(quiet);
    expect(performance.now() - started).toBeGreaterThan(350);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(busyIsOpen).toBe(true);
    clearInterval(timer);
    busy.terminate();
  });

  it('keeps a connection whose upgrade was refused', async () => {
    raw.handler = (_, reply) => void reply.send(426, 'not here');
    await using client = await rawClient(proxy.port());
    client.write(ASK);
    expect((await client.response()).status).toBe(426);
    raw.handler = (_, reply) => void reply.send(200, 'fine');
    expect((await client.ask('GET', '/raw')).text).toBe('fine');
  });

  it('never passes h2c on: it would carry requests past the routes', async () => {
    raw.handler = (asked, reply) => void reply.send(200, String(asked.fields.get('upgrade')));
    await using client = await rawClient(proxy.port());
    const lines = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'];
    expect((await client.ask('GET', '/raw', lines)).text).toBe('undefined');
  });

  it('logs a tunnel once, when it is over, with the bytes it carried', async () => {
    const socket = await opened('/logged');
    const answer = message(socket);
    socket.send('x'.repeat(1000));
    await answer;
    expect(proxy.accessLines().some(({ path }) => path === '/logged')).toBe(false);
    socket.close();
    const line = await eventually(() => proxy.accessLines().find(({ path }) => path === '/logged') ?? null);
    expect(line).toMatchObject({ status: 101, reason: null });
    expect(line.bytesOut).toBeGreaterThan(1000);
    expect(line.bytesIn).toBeGreaterThan(1000);
  });
});
