import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import { probes } from '../../../src/health/catalog.ts';
import type { Probe } from '../../../src/health/probe.ts';
import { isConnectedToItself } from '../../../src/health/self-connection.ts';
import { Authority, findOpenssl } from '../../helpers/certificates.ts';
import { eventually } from '../../helpers/eventually.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function listen(server: Server | HttpServer, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, () => resolve()));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  );
  return (server.address() as AddressInfo).port;
}

async function closedPort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await (cleanups.pop() as () => Promise<void>)();
  return port;
}

function make(settings: unknown): Probe {
  return probes.create(probes.schema().parse(settings), { tls: null });
}

const noAbort = () => new AbortController().signal;

describe.each([...probes.kinds.keys()])('law of probes: %s', (kind) => {
  it('has the common options with the defaults of the contract, and describes all', () => {
    expect(probes.schema().parse(kind)).toMatchObject({ kind, interval: 5000, timeout: 2000, rise: 2, fall: 3 });
    for (const [name, option] of Object.entries(probes.kinds.get(kind)?.options.shape ?? {}))
      expect((option as { description?: string }).description, name).toBeTruthy();
    expect(() => probes.schema().parse({ kind, intervall: '1s' })).toThrow();
  });

  it('rejects with an OperationError where nobody listens', async () => {
    const check = make(kind).check({ host: '127.0.0.1', port: await closedPort() }, noAbort());
    await expect(check).rejects.toBeInstanceOf(OperationError);
    await expect(check).rejects.toThrow('ECONNREFUSED');
  });

  it('ends with its signal, and leaves no connection', async () => {
    const open = new Set<Socket>();
    const server = createServer((socket) => {
      open.add(socket);
      socket.resume();
      socket.on('close', () => open.delete(socket));
    });
    const target = { host: '127.0.0.1', port: await listen(server) };
    const abort = new AbortController();
    const check = make(kind).check(target, abort.signal);
    if (kind !== 'tcp') {
      await eventually(() => open.size === 1);
      abort.abort(new OperationError('PROBE_TIMEOUT', 'no answer in 2000 ms'));
      await expect(check).rejects.toThrow('no answer in 2000 ms');
    } else await check;
    await eventually(() => open.size === 0);
  });

  it('rejects when the signal is aborted before it begins', async () => {
    const server = createServer();
    const target = { host: '127.0.0.1', port: await listen(server) };
    await expect(make(kind).check(target, AbortSignal.abort(new OperationError('X', 'stopped')))).rejects.toThrow(
      'stopped',
    );
  });
});

describe('http probe', () => {
  async function serve(status: number, seen: string[] = []): Promise<number> {
    const server = createHttpServer((request, response) => {
      seen.push(
        `${request.method} ${request.url} ${request.headers.host} ${request.headers['x-check'] ?? '-'} ${request.headers.connection}`,
      );
      response.writeHead(status).flushHeaders();
      if (status !== 204 && request.method !== 'HEAD') response.write('the body never ends');
    });
    return listen(server);
  }

  it.each([
    [200, undefined, true],
    [204, undefined, true],
    [399, undefined, true],
    [404, undefined, false],
    [500, undefined, false],
    [404, '200-299,404', true],
    [302, '200', false],
  ])('status %i with %s expected: fit is %s', async (status, expected, fit) => {
    const port = await serve(status);
    const settings = expected === undefined ? { kind: 'http' } : { kind: 'http', status: expected };
    const check = make(settings).check({ host: '127.0.0.1', port }, noAbort());
    if (fit) await check;
    else await expect(check).rejects.toThrow(`answered ${status}`);
  });

  it('sends what it is told to, one connection a check', async () => {
    const seen: string[] = [];
    const port = await serve(200, seen);
    await make('http').check({ host: '127.0.0.1', port }, noAbort());
    const told = {
      kind: 'http',
      path: '/healthz?deep=1',
      method: 'HEAD',
      host: 'shop.example',
      headers: { 'X-Check': 'yes' },
      port,
    };
    await make(told).check({ host: '127.0.0.1', port: 1 }, noAbort());
    expect(seen).toEqual([`GET / 127.0.0.1:${port} - close`, 'HEAD /healthz?deep=1 shop.example yes close']);
  });

  it('speaks IPv6', async () => {
    const server = createHttpServer((_request, response) => response.end());
    const port = await listen(server, '::1');
    await make('http').check({ host: '::1', port }, noAbort());
  });

  it('takes an answer that is not HTTP for unfit', async () => {
    const port = await listen(createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')));
    await expect(make('http').check({ host: '127.0.0.1', port }, noAbort())).rejects.toBeInstanceOf(OperationError);
  });

  it('takes a connection that is closed without an answer for unfit', async () => {
    const port = await listen(createServer((socket) => socket.destroy()));
    await expect(make('http').check({ host: '127.0.0.1', port }, noAbort())).rejects.toBeInstanceOf(OperationError);
  });

  it('does not take options that would split the request', () => {
    for (const bad of [
      { path: 'healthz' },
      { path: '/a b' },
      { path: '/a\r\nX: y' },
      { headers: { 'a b': 'c' } },
      { headers: { a: 'b\r\nc' } },
      { host: 'a\nb' },
      { status: '2xx' },
    ])
      expect(() => make({ kind: 'http', ...bad }), JSON.stringify(bad)).toThrow();
  });
});

describe('tcp probe', () => {
  it('passes where someone accepts, and sends nothing', async () => {
    let bytes = 0;
    let closed = false;
    const server = createServer((socket) =>
      socket.on('data', (data) => (bytes += data.length)).on('close', () => (closed = true)),
    );
    await make('tcp').check({ host: '127.0.0.1', port: await listen(server) }, noAbort());
    await eventually(() => closed);
    expect(bytes).toBe(0);
  });

  it('is not deceived by a connection to itself', async () => {
    const port = await closedPort();
    const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.1', localPort: port });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    expect(isConnectedToItself(socket)).toBe(true);
    socket.destroy();
    const other = connect({ host: '127.0.0.1', port: await listen(createServer()) });
    await new Promise((resolve, reject) => other.once('connect', resolve).once('error', reject));
    expect(isConnectedToItself(other)).toBe(false);
    other.destroy();
  });
});

describe('body of an http probe', () => {
  async function serveBody(body: string, isEndless = false): Promise<number> {
    return listen(
      createHttpServer((_request, response) => {
        response.write(body);
        if (!isEndless) response.end();
      }),
    );
  }

  it.each<[unknown, boolean]>([
    ['"up"', true],
    ['down', false],
    [{ matches: '"state": ?"(up|warming)"' }, true],
    [{ matches: '^up$' }, false],
  ])('%j: fit is %s', async (body, fit) => {
    const port = await serveBody('{ "state": "up" }');
    const check = make({ kind: 'http', body }).check({ host: '127.0.0.1', port }, noAbort());
    if (fit) await check;
    else await expect(check).rejects.toThrow('the body is not as expected');
  });

  it.each<[string, unknown, boolean]>([
    ['es läuft ✓', 'läuft ✓', true],
    ['es läuft', 'lauft', false],
    ['es läuft', { matches: '^es l.uft$' }, true],
    ['es läuft', { matches: 'l[äö]uft' }, true],
    // So many dots before it: of 64 KiB the last byte may be half a character.
    ['65535', { matches: '\\.$' }, true],
    ['65535', 'ä', false],
    ['65534', 'ä', true],
  ])('reads UTF-8: of %s, %j is %s', async (text, body, fit) => {
    const port = await serveBody(/^\d+$/.test(text) ? `${'.'.repeat(Number(text))}äöü` : text);
    const check = make({ kind: 'http', body }).check({ host: '127.0.0.1', port }, noAbort());
    if (fit) await check;
    else await expect(check).rejects.toThrow('the body is not as expected');
  });

  it('finds a text in a body of any encoding when its bytes are the same, and a character in two pieces', async () => {
    const bytes = Buffer.from('"state": "läuft"');
    const at = bytes.indexOf(0xc3) + 1;
    const port = await listen(
      createHttpServer((_request, response) => {
        response.write(Buffer.concat([Buffer.from([0xff, 0xe4]), bytes.subarray(0, at)]));
        setImmediate(() => response.end(bytes.subarray(at)));
      }),
    );
    await make({ kind: 'http', body: 'läuft' }).check({ host: '127.0.0.1', port }, noAbort());
    await make({ kind: 'http', body: { matches: '"läuft"$' } }).check({ host: '127.0.0.1', port }, noAbort());
  });

  it('looks at 64 KiB and no more, however long the body is', async () => {
    const late = make({ kind: 'http', body: 'late' });
    const within = await serveBody(`${'.'.repeat(65_000)}late${'.'.repeat(70_000)}`, true);
    await late.check({ host: '127.0.0.1', port: within }, noAbort());
    const beyond = await serveBody(`${'.'.repeat(65_536)}late`, true);
    await expect(late.check({ host: '127.0.0.1', port: beyond }, noAbort())).rejects.toThrow('not as expected');
  });

  it('refuses a pattern that could take for ever', () => {
    expect(() => make({ kind: 'http', body: { matches: '(a)\\1' } })).toThrow();
    expect(() => make({ kind: 'http', body: { matches: '(?=a)' } })).toThrow();
  });
});

describe.skipIf(findOpenssl() === null)('probes over TLS', () => {
  it.each(['https', 'tls'])('%s believes its own authority and name, nobody else, unless told to', async (kind) => {
    const directory = await temporaryDirectory('probes');
    cleanups.push(() => directory.close());
    const authority = new Authority(directory.path, 'house');
    const { cert, key } = authority.issue('web', ['web.internal']);
    const server = createHttpsServer({ cert, key }, (_request, response) => response.end('up'));
    const target = { host: '127.0.0.1', port: await listen(server) };
    const ca = authority.pair.cert;
    await make({ kind, ca, serverName: 'web.internal' }).check(target, noAbort());
    await make({ kind, verify: false }).check(target, noAbort());
    await expect(make({ kind }).check(target, noAbort())).rejects.toBeInstanceOf(OperationError);
    await expect(make({ kind, ca }).check(target, noAbort())).rejects.toThrow('ERR_TLS_CERT_ALTNAME_INVALID');
    const poolTls = { ca, serverName: 'web.internal', verify: true };
    await probes.create(probes.schema().parse(kind), { tls: poolTls }).check(target, noAbort());
  });
});
