import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { startProcess } from '../helpers/processes.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { rawClient, request } from '../helpers/raw-client.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

describe('SIGTERM ends it without losing a request', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeEach(async () => {
    origin = await startOrigin({ name: 'fine' });
  });

  afterEach(async () => {
    await proxy.stop();
    await origin.close();
  });

  async function start(runtime: object = {}): Promise<void> {
    proxy = await startProxy({
      runtime: { workers: 2, drain: '10s', ...runtime },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }] } },
    });
  }

  it('answers every request that was sent, under load of keep-alive clients; exit status 0 and no word of a death', async () => {
    origin.handler = (_, reply) => void setTimeout(() => reply.send(200, 'fine'), Math.random() * 20);
    await start();
    await using load = startLoad(proxy.port(), { connections: 16, pauseMs: 5, reconnects: false });
    await eventually(() => load.answered > 200);
    proxy.child.kill('SIGTERM');
    const { code } = await proxy.child.exited;
    await load.stop();
    expect(code).toBe(0);
    expect(load.lost).toEqual([]);
    expect([...load.statuses.keys()]).toEqual([200]);
    expect(proxy.events('worker-died')).toEqual([]);
    expect(proxy.events('draining').length).toBe(1);
  });

  it('ends although clients come again and again, and loses at most those that came as it closed', async () => {
    await start();
    await using load = startLoad(proxy.port(), { connections: 8, pauseMs: 5 });
    await eventually(() => load.answered > 100);
    proxy.child.kill('SIGTERM');
    const sinceMs = stopwatch(proxy.pid);
    const { code } = await proxy.child.exited;
    expect(sinceMs()).toBeLessThan(4_000);
    await load.stop();
    expect(code).toBe(0);
    expect(load.lost.length, load.lost.join('\n')).toBeLessThanOrEqual(4);
    expect([...load.statuses.keys()]).toEqual([200]);
  });

  it('says connection: close from then on, takes new connections until none come, and is not ready', async () => {
    await start({ announce: '600ms' });
    await using client = await rawClient(proxy.port());
    expect((await client.ask('GET', '/')).fields.get('connection')).toBeUndefined();
    proxy.child.kill('SIGTERM');
    await eventually(async () => (await fetch(`${proxy.admin}/readyz`)).status === 503);
    // Announced, but not draining yet: it serves as before.
    expect((await client.ask('GET', '/')).status).toBe(200);
    await proxy.child.exited;
    expect(await client.ended()).toBe('end');
  });

  it('finishes what is under way: a slow response, an upload, a request in its head', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async (asked, reply) => {
      await Promise.all([released, asked.ended]);
      reply.send(200, `${asked.target} ${asked.body}`);
    };
    await start();
    const clients = await Promise.all([1, 2, 3].map(() => rawClient(proxy.port())));
    clients[0].write(request('GET', '/slow'));
    clients[1].write(request('POST', '/upload', ['content-length: 4'], 'ab'));
    clients[2].write('GET /head HTTP/1.1\r\nhost: st');
    await eventually(() => origin.requests.length === 2);
    proxy.child.kill('SIGTERM');
    await eventually(() => proxy.events('draining').length === 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    clients[1].write('cd');
    clients[2].write('ory\r\n\r\n');
    release();
    const responses = await Promise.all(clients.map((client) => client.response()));
    expect(responses.map(({ text }) => text)).toEqual(['/slow ', '/upload abcd', '/head ']);
    for (const response of responses) expect(response.fields.get('connection')).toBe('close');
    for (const client of clients) client.socket.destroy();
    expect((await proxy.child.exited).code).toBe(0);
  });

  it('ends a connection that has been idle for a second, and itself soon after', async () => {
    await start();
    await using client = await rawClient(proxy.port());
    // Its second begins when the proxy has answered, which the client may hear late.
    const askedMs = performance.now();
    await client.ask('GET', '/');
    const sinceMs = stopwatch(proxy.pid);
    proxy.child.kill('SIGTERM');
    expect(await client.ended()).toBe('end');
    expect(performance.now() - askedMs).toBeGreaterThan(900);
    client.end();
    expect((await proxy.child.exited).code).toBe(0);
    expect(sinceMs()).toBeLessThan(3_000);
  });

  it('cuts at the deadline what does not end, and a body that ends with its connection does not look whole', async () => {
    origin.handler = (asked, reply) =>
      void reply.raw(`HTTP/1.1 200 OK\r\n${asked.target === '/length' ? 'content-length: 100\r\n' : ''}\r\npart`);
    await start({ drain: '500ms' });
    const started = performance.now();
    const clients = await Promise.all([1, 2, 3].map(() => rawClient(proxy.port())));
    clients[0].write(request('GET', '/length'));
    clients[1].write(request('GET', '/chunked'));
    clients[2].write('GET /until-close HTTP/1.0\r\nhost: story\r\n\r\n');
    for (const client of clients) await client.until(() => client.received.includes('part') || null, 'a part');
    proxy.child.kill('SIGTERM');
    const ends = await Promise.all(clients.map((client) => client.ended()));
    expect((await proxy.child.exited).code).toBe(0);
    expect(performance.now() - started).toBeLessThan(4_000);
    expect(ends[2]).toBe('reset');
    expect(clients[1].received.toString()).not.toContain('\r\n0\r\n');
    for (const client of clients) client.socket.destroy();
  });

  it('a second signal cuts at once', async () => {
    origin.handler = () => {};
    await start();
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/never'));
    await eventually(() => origin.requests.length === 1);
    proxy.child.kill('SIGTERM');
    await eventually(() => proxy.events('draining').length === 1);
    const sinceMs = stopwatch(proxy.pid);
    proxy.child.kill('SIGTERM');
    await proxy.child.exited;
    expect(sinceMs()).toBeLessThan(2_500);
    expect(client.over ?? (await client.ended())).not.toBeNull();
  });

  it('puts nothing in force any more that a reload waited for, and is never ready when it was ended before', async () => {
    const silent = await startOrigin({ name: 'silent' });
    silent.handler = () => {};
    const document = {
      runtime: { workers: 1, drain: '20s', startTimeout: '4s' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }] } },
    };
    const waiting = {
      ...document,
      registries: { c: { kind: 'consul', address: `http://${silent.address}` } },
      listeners: [...document.listeners, { name: 'more', bind: '127.0.0.1:0', pool: 'more' }],
      pools: { ...document.pools, more: { discover: { registry: 'c', service: 'more' } } },
    };
    proxy = await startProxy(document);
    await proxy.write(waiting);
    process.kill(proxy.pid, 'SIGHUP');
    await eventually(() => silent.requests.length > 0);
    const started = performance.now();
    proxy.child.kill('SIGTERM');
    expect((await proxy.child.exited).code).toBe(0);
    // The reload has four seconds, the drain twenty: what the reload would have begun was told of no drain.
    expect(performance.now() - started).toBeLessThan(8_000);
    expect([proxy.events('reloaded'), proxy.events('reload-refused').length]).toEqual([[], 1]);

    const before = silent.requests.length;
    const directory = await temporaryDirectory('ended');
    const file = await directory.write('evenkeel.yaml', JSON.stringify({ admin: { bind: '127.0.0.1:0' }, ...waiting }));
    const early = await startProcess(process.execPath, [MAIN, 'run', '-c', file], { cwd: directory.path });
    await eventually(() => silent.requests.length > before, { timeoutMs: 20_000 });
    early.kill('SIGTERM');
    expect((await early.exited).code).toBe(0);
    expect([early.stdout, early.stderr.match(/"ready"/)]).toEqual(['', null]);
    await directory.close();
    await silent.close();
  });
});
