import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { ChaosOrigin } from '../chaos/origin.ts';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { freePort } from '../helpers/ports.ts';
import { isGone } from '../helpers/processes.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

describe('an upgrade puts another process in place', { timeout: 60_000 }, () => {
  let origin: Origin;
  let other: Origin;
  let echoing: ChaosOrigin;
  let proxy: RunningProxy;

  const document = (workers: number) => ({
    runtime: { workers, drain: '20s', pidFile: './evenkeel.pid' },
    listeners: [
      { name: 'web', bind: '127.0.0.1:0', pool: 'web' },
      { name: 'long', bind: '127.0.0.1:0', pool: 'long' },
      { name: 'pair', bind: '127.0.0.1:0', pool: 'pair' },
    ],
    pools: {
      web: { endpoints: [{ address: origin.address }] },
      long: { endpoints: [{ address: echoing.address }] },
      pair: { endpoints: [{ address: origin.address }, { address: other.address }] },
    },
  });
  const serving = async () => (await proxy.api('/api/v1/status')).program.pid;
  const set = (pool: string, { address }: Origin, body: object) =>
    proxy.api(`/api/v1/pools/${pool}/endpoints/${address}`, { method: 'PATCH', body });

  beforeAll(async () => {
    [origin, other] = await Promise.all([startOrigin({ name: 'origin' }), startOrigin({ name: 'other' })]);
    echoing = new ChaosOrigin();
    await echoing.start();
    proxy = await startProxy(document(2));
  });
  afterAll(async () => {
    await proxy.stop();
    await Promise.all([origin.close(), other.close(), echoing.stop()]);
  });
  afterEach(() => {
    origin.handler = (_, reply) => void reply.send(200, 'origin');
  });

  it('and no request is lost, on kept connections nor on short ones, with more workers and with fewer', async () => {
    const short = new OpenLoop(proxy.url, 100, 5_000, { connectionEach: true });
    await using kept = startLoad(proxy.port(), { connections: 6 });
    for (const count of [3, 1]) {
      await proxy.write(document(count));
      const old = proxy.pid;
      expect(await proxy.upgrade()).not.toBe(old);
      const before = kept.answered;
      expect(await serving()).toBe(proxy.pid);
      expect((await proxy.api('/api/v1/status')).workers.length).toBe(count);
      await eventually(() => kept.answered > before + 50);
    }
    await kept.stop();
    const seen = await short.stop();
    expect(seen.failures).toEqual({});
    expect(seen.sent).toBeGreaterThan(50);
    expect(kept.lost).toEqual([]);
    expect(kept.refused).toBe(0);
    expect(proxy.events('worker-died')).toEqual([]);
  });

  it('and nothing of the old one stays open in the new one: a listener that goes is gone, and descriptors do not pile up', async () => {
    const sockets = async () => {
      const links = await Promise.all(
        (await readdir(`/proc/${proxy.pid}/fd`)).map((fd) => readlink(`/proc/${proxy.pid}/fd/${fd}`).catch(() => '')),
      );
      return links.filter((link) => link.startsWith('socket:')).length;
    };
    const port = await freePort();
    const passing = { name: 'passing', bind: `127.0.0.1:${port}`, pool: 'web' };
    const { listeners, ...rest } = document(2);
    await proxy.write({ ...rest, listeners: [...listeners, passing] });
    expect(await proxy.reload()).toBe('reloaded');
    await proxy.upgrade();
    const before = await sockets();
    await proxy.upgrade();
    await proxy.upgrade();
    await eventually(async () => (await sockets()) <= before);
    expect((await ask(port, 'GET', '/')).text).toBe('origin');
    await proxy.write(document(2));
    expect(await proxy.reload()).toBe('reloaded');
    await eventually(() =>
      ask(port, 'GET', '/').then(
        () => false,
        (error: Error) => /ECONNREFUSED/.test(String(error)),
      ),
    );
  });

  it('by SIGUSR2; states an operator set and what is known of endpoints go with it, and the pid file names it', async () => {
    const answer = async () => (await ask(proxy.port('pair'), 'GET', '/')).text;
    const number = async () => Number(await readFile(join(proxy.directory, 'evenkeel.pid'), 'utf8'));
    await eventually(async () => (await number()) === proxy.pid);
    for (let i = 0; i < 6; i++) await answer();
    await set('pair', origin, { state: 'drain', weight: 7 });
    const known = await proxy.endpoint('pair', other.address);
    const old = proxy.pid;
    process.kill(old, 'SIGUSR2');
    await eventually(async () => (await serving()) !== old, { timeoutMs: 30_000 });
    const pid = await proxy.adopt();
    await eventually(async () => (await number()) === pid);
    expect(await proxy.endpoint('pair', origin.address)).toMatchObject({ weight: 7, down: ['admin'] });
    expect((await proxy.endpoint('pair', other.address)).latencyMs).toBeCloseTo(known.latencyMs, -2);
    expect(await answer()).toBe('other');
  });

  it('and what is under way ends in the old one, which hears what operators do and counts in the new one, over two upgrades', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async ({ target }, reply) => {
      if (target === '/slow') await released;
      reply.send(200, 'done');
    };
    const active = async () => (await proxy.endpoint('web', origin.address)).active;
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/slow'));
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port('long')}/echo`);
    const echoes: string[] = [];
    socket.on('message', (data) => echoes.push(String(data)));
    await new Promise((resolve) => socket.once('open', resolve));
    await eventually(async () => (await active()) === 1);
    const first = proxy.pid;
    await proxy.upgrade();
    // An operator drains the endpoint to restart it: what is under way in the old process is seen at once.
    const told = () => proxy.events('endpoint-set').filter(({ pool, state }) => pool === 'web' && state === 'drain');
    expect((await set('web', origin, { state: 'drain' })).active).toBe(1);
    expect(await proxy.metric('evenkeel_endpoint_active', { pool: 'web' })).toBe(1);
    // By each of both processes.
    await eventually(() => told().length === 2);
    const second = proxy.pid;
    await proxy.upgrade();
    socket.send('still here');
    await eventually(() => echoes.length === 1);
    await eventually(async () => (await active()) === 1);
    expect((await set('web', origin, { state: 'ready' })).active).toBe(1);
    expect([isGone(first), isGone(second)]).toEqual([false, false]);
    release();
    expect((await client.response()).text).toBe('done');
    await eventually(async () => (await active()) === 0);
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('done');
    socket.close();
    // One that stayed, idle, would be waited for: the old process is patient.
    client.socket.destroy();
    await eventually(() => isGone(first) && isGone(second), { timeoutMs: 15_000 });
  });
});

describe('an upgrade with the embedded registry', { timeout: 60_000 }, () => {
  it('keeps what is registered, refuses nobody who writes and lets no TTL run out; one that fails gives the registry back', async () => {
    await using origin = await startOrigin({ name: 'origin' });
    const port = await freePort();
    await using proxy = await startProxy(
      {
        runtime: { workers: 1, drain: '10s' },
        listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
        registries: { local: { kind: 'embedded', bind: `127.0.0.1:${port}`, data: './registry' } },
        pools: { web: { discover: { registry: 'local', service: 'web' } } },
      },
      { replaceable: true },
    );
    const put = (path: string, body?: object) =>
      fetch(`http://127.0.0.1:${port}${path}`, { method: 'PUT', body: JSON.stringify(body) });
    const service = { Name: 'web', ID: 'a', Address: '127.0.0.1', Port: origin.port, Check: { TTL: '10s' } };
    expect((await put('/v1/agent/service/register', service)).status).toBe(200);
    await put('/v1/agent/check/pass/service:a');
    await eventually(async () => (await ask(proxy.port(), 'GET', '/')).text === 'origin');
    await using kept = startLoad(proxy.port(), { connections: 2 });
    const beats: string[] = [];
    let isOver = false;
    const beating = (async () => {
      while (!isOver) {
        beats.push(await put('/v1/agent/check/pass/service:a').then(({ status }) => String(status), String));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const old = proxy.pid;
    await proxy.replace(
      `process.send({ kind: 'hello', protocol: 1 });
       process.on('message', ({ kind, isThere }) => {
         if (kind === 'inheritance')
           process.send({ kind: 'retire-registry', bind: '127.0.0.1:${port}', data: './registry' });
         if (kind === 'registry-retired') process.exit(isThere ? 5 : 6);
       });`,
    );
    await expect(proxy.upgrade()).rejects.toThrow(/ended with exit status 5/);
    // Nobody but the old process can have answered this.
    const answered = beats.length;
    await eventually(() => beats.length > answered + 5);
    await proxy.replace(`import ${JSON.stringify(new URL('../../src/cli/main.ts', import.meta.url).href)};\n`);
    await proxy.upgrade();
    await put('/v1/agent/service/register', { ...service, ID: 'b', Port: 9 });
    await eventually(async () => (await proxy.api('/api/v1/pools/web')).endpoints.length === 2);
    isOver = true;
    await beating;
    await kept.stop();
    await eventually(() => isGone(old), { timeoutMs: 15_000 });
    expect([...new Set(beats)]).toEqual(['200']);
    expect(kept.lost).toEqual([]);
    expect(proxy.events('unfit')).toEqual([]);
  });
});

describe('an upgrade that does not come up: the old process runs on', { timeout: 60_000 }, () => {
  let origin: Origin;
  let proxy: RunningProxy;

  const document = (more: object = {}) => ({
    runtime: { workers: 2 },
    listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
    pools: { web: { endpoints: [{ address: origin.address }] } },
    ...more,
  });
  const upgrade = () => ['upgrade', '--admin', proxy.admin.replace('http://', '')];
  const command = async (argv: string[]) => {
    const written = { out: '', error: '' };
    const status = await runCommandLine(argv, {
      out: (text) => {
        written.out += text;
      },
      error: (text) => {
        written.error += text;
      },
      environment: {},
      directory: proxy.directory,
    });
    return { status, ...written };
  };

  beforeAll(async () => {
    origin = await startOrigin({ name: 'origin' });
    proxy = await startProxy(document(), { replaceable: true });
  });
  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  // It holds what came and has not accepted: what a process that died had accepted is lost whoever it was.
  it.each([
    ['a bad document', null, /wbe/, 78],
    ['a program that cannot run', 'this is no program', /ended with exit status 1 before it was ready/, 1],
    [
      'one that ends with what it was given',
      `process.send({ kind: 'hello', protocol: 1 });
       process.on('message', ({ kind, inheritance }) => {
         if (kind === 'inheritance') process.send({ kind: 'take-listeners', places: Object.keys(inheritance.addresses) });
         if (kind === 'listener') process.exit(5);
       });`,
      /ended with exit status 5/,
      1,
    ],
    [
      'one of another protocol',
      `process.send({ kind: 'hello', protocol: 99 });process.on('message', () => {});`,
      /99, ours is 1/,
      1,
    ],
    ['one that does nothing', 'setInterval(() => {}, 1000);', /was not ready after 1 s/, 1],
  ])('%s', async (name, program, reason, exit) => {
    const failed = proxy.events('upgrade-failed').length;
    if (name === 'one that does nothing') {
      await proxy.write(document({ runtime: { workers: 2, upgradeTimeout: '1s' } }));
      await proxy.reload();
    }
    const short = new OpenLoop(proxy.url, 50, 5_000, { connectionEach: true });
    await eventually(() => short.sent > 10);
    if (program === null) await proxy.write(document({ pools: { wbe: {} } }));
    else await proxy.replace(program);
    const { status, error } = await command(upgrade());
    expect([status, error]).toEqual([exit, expect.stringMatching(reason)]);
    if (program === null) expect(error).toBe((await command(['check'])).error);
    await eventually(() => proxy.events('upgrade-failed').length === failed + 1);
    const { sent } = short;
    await eventually(() => short.sent > sent + 10);
    expect((await short.stop()).failures).toEqual({});
    expect((await proxy.api('/api/v1/status')).program.pid).toBe(proxy.child.pid);
    await proxy.write(document());
  });

  it('a second one meanwhile is refused, and a SIGTERM ends both', async () => {
    await proxy.reload();
    const upgrading = proxy.events('upgrading').length;
    const first = command(upgrade());
    const { pid } = await eventually(() => proxy.events('upgrading')[upgrading] ?? null);
    expect(await command(upgrade())).toMatchObject({ status: 1, error: expect.stringContaining('under way') });
    proxy.child.kill('SIGTERM');
    expect(await first).toMatchObject({ status: 1, error: expect.stringContaining('shutting down') });
    expect((await proxy.child.exited).code).toBe(0);
    expect(isGone(pid as number)).toBe(true);
  });
});
