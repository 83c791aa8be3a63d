import { readFile } from 'node:fs/promises';
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
import { type ProxyOptions, type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';

describe('an upgrade puts another process in place', { timeout: 60_000 }, () => {
  let origin: Origin;
  let proxy: RunningProxy;

  const document = (more: Record<string, object> = {}) => ({
    runtime: { workers: 1, drain: '10s' },
    listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
    pools: { web: { endpoints: [{ address: origin.address }] } },
    ...more,
  });
  const start = async (more: Record<string, object> = {}, options: ProxyOptions = {}) => {
    proxy = await startProxy(document(more), options);
  };
  const answer = async (port = proxy.port()) => (await ask(port, 'GET', '/')).text;
  const isGone = (pid: number) => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  };
  const serving = async () => (await proxy.api('/api/v1/status')).program.pid;

  beforeAll(async () => {
    origin = await startOrigin({ name: 'origin' });
  });
  afterAll(() => origin.close());
  afterEach(async () => {
    origin.handler = (_, reply) => void reply.send(200, 'origin');
    await proxy.stop();
  });

  it('and no request is lost, on kept connections nor on short ones, with more workers and with fewer', async () => {
    const workers = (count: number) => document({ runtime: { workers: count, drain: '10s' } });
    await start({ runtime: { workers: 2, drain: '10s' } });
    const short = new OpenLoop(proxy.url, 100, 5_000, { connectionEach: true });
    await using kept = startLoad(proxy.port(), { connections: 6 });
    for (const count of [3, 1]) {
      await proxy.write(workers(count));
      const old = proxy.pid;
      expect(await proxy.upgrade()).not.toBe(old);
      const before = kept.answered;
      expect(await serving()).toBe(proxy.pid);
      expect((await proxy.api('/api/v1/status')).workers.length).toBe(count);
      await eventually(() => kept.answered > before + 50);
      await eventually(() => isGone(old), { timeoutMs: 15_000 });
    }
    await kept.stop();
    const seen = await short.stop();
    await proxy.stop();
    // Of the first process.
    expect((await proxy.child.exited).code).toBe(0);
    expect(seen.failures).toEqual({});
    expect(seen.sent).toBeGreaterThan(100);
    expect(kept.lost).toEqual([]);
    expect(kept.refused).toBe(0);
    expect(proxy.events('worker-died')).toEqual([]);
  });

  it('and what is under way ends in the old one: an exchange, a WebSocket', async () => {
    const echoing = new ChaosOrigin();
    await echoing.start();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    origin.handler = async (_, reply) => {
      await released;
      reply.send(200, 'done');
    };
    await start({
      listeners: [
        { name: 'web', bind: '127.0.0.1:0', pool: 'web' },
        { name: 'long', bind: '127.0.0.1:0', pool: 'long' },
      ] as never,
      pools: { web: { endpoints: [{ address: origin.address }] }, long: { endpoints: [{ address: echoing.address }] } },
    });
    const old = proxy.pid;
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/slow'));
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port('long')}/echo`);
    const echoes: string[] = [];
    socket.on('message', (data) => echoes.push(String(data)));
    await new Promise((resolve) => socket.once('open', resolve));
    await eventually(() => origin.requests.some(({ target }) => target === '/slow'));
    await proxy.upgrade();
    socket.send('still here');
    await eventually(() => echoes.length === 1);
    release();
    expect((await client.response()).text).toBe('done');
    expect(isGone(old)).toBe(false);
    socket.close();
    await eventually(() => isGone(old), { timeoutMs: 15_000 });
    await echoing.stop();
  });

  it('by SIGUSR2; states an operator set and what is known of endpoints go with it, and the pid file names it', async () => {
    await using other = await startOrigin({ name: 'other' });
    const pool = { endpoints: [{ address: origin.address }, { address: other.address }] };
    await start({ runtime: { workers: 1, pidFile: './evenkeel.pid' }, pools: { web: pool } });
    const number = async () => Number(await readFile(join(proxy.directory, 'evenkeel.pid'), 'utf8'));
    await eventually(async () => (await number()) === proxy.pid);
    for (let i = 0; i < 6; i++) await answer();
    const change = { state: 'drain', weight: 7 };
    await proxy.api(`/api/v1/pools/web/endpoints/${origin.address}`, { method: 'PATCH', body: change });
    const known = await proxy.endpoint('web', other.address);
    process.kill(proxy.pid, 'SIGUSR2');
    await eventually(() => proxy.events('upgraded').length === 1, { timeoutMs: 30_000 });
    const pid = await proxy.adopt();
    await eventually(async () => (await number()) === pid);
    expect(await proxy.endpoint('web', origin.address)).toMatchObject({ weight: 7, down: ['admin'] });
    expect((await proxy.endpoint('web', other.address)).latencyMs).toBeCloseTo(known.latencyMs, -2);
    expect(await answer()).toBe('other');
  });

  it('with the embedded registry: what is registered stays so, nobody who writes is refused, and a TTL does not run out', async () => {
    const port = await freePort();
    const registries = { local: { kind: 'embedded', bind: `127.0.0.1:${port}`, data: './registry' } };
    await start({ registries, pools: { web: { discover: { registry: 'local', service: 'web' } } } });
    const put = (path: string, body?: object) =>
      fetch(`http://127.0.0.1:${port}${path}`, { method: 'PUT', body: JSON.stringify(body) });
    const service = { Name: 'web', ID: 'a', Address: '127.0.0.1', Port: origin.port, Check: { TTL: '10s' } };
    expect((await put('/v1/agent/service/register', service)).status).toBe(200);
    await put('/v1/agent/check/pass/service:a');
    await eventually(async () => (await answer()) === 'origin');
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
    await proxy.upgrade();
    await eventually(() => isGone(old), { timeoutMs: 15_000 });
    isOver = true;
    await beating;
    await kept.stop();
    expect([...new Set(beats)]).toEqual(['200']);
    expect([...kept.statuses.keys()]).toEqual([200]);
    expect(kept.lost).toEqual([]);
    expect(proxy.events('unfit')).toEqual([]);
  });

  describe('that does not come up: the old one runs on', () => {
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

    it.each([
      ['a program that cannot run', 'this is no program', /ended with exit status 1 before it was ready/],
      ['one that does nothing', 'setInterval(() => {}, 1000);', /was not ready after 3 s/],
      [
        'one that ends with what it was given',
        `process.send({ kind: 'hello', protocol: 1 });
         process.on('message', ({ kind, inheritance }) => {
           if (kind === 'inheritance') process.send({ kind: 'take-listeners', places: Object.keys(inheritance.addresses) });
           if (kind === 'all-listeners') process.exit(5);
         });`,
        /ended with exit status 5/,
      ],
      [
        'one of another protocol',
        `process.send({ kind: 'hello', protocol: 99 });process.on('message', () => {});`,
        /99, ours is 1/,
      ],
    ])('%s', async (_, program, reason) => {
      await start(
        { runtime: { workers: 2, upgradeTimeout: program.startsWith('setInterval') ? '3s' : '20s' } },
        { replaceable: true },
      );
      const short = new OpenLoop(proxy.url, 50, 5_000, { connectionEach: true });
      await eventually(() => short.sent > 10);
      await proxy.replace(program);
      const { status, error } = await command(upgrade());
      expect(status).toBe(1);
      expect(error).toMatch(reason);
      expect(proxy.events('upgrade-failed')[0].reason).toMatch(reason);
      const { sent } = short;
      await eventually(() => short.sent > sent + 20);
      expect((await short.stop()).failures).toEqual({});
      expect(await serving()).toBe(proxy.child.pid);
    });

    it('a bad document: exit status 78, the problems as check prints them', async () => {
      await start();
      await proxy.write(document({ pools: { wbe: {} } }));
      const checked = await command(['check']);
      const upgraded = await command(upgrade());
      expect(upgraded.status).toBe(78);
      expect(upgraded.error).toBe(checked.error);
      expect(await answer()).toBe('origin');
    });

    it('a second one meanwhile is refused, and a SIGTERM ends both', async () => {
      await start({}, { replaceable: true });
      await proxy.replace('setInterval(() => {}, 1000);');
      const first = command(upgrade());
      const { pid } = await eventually(() => proxy.events('upgrading')[0] ?? null);
      expect(await command(upgrade())).toMatchObject({ status: 1, error: expect.stringContaining('under way') });
      proxy.child.kill('SIGTERM');
      expect(await first).toMatchObject({ status: 1, error: expect.stringContaining('shutting down') });
      expect((await proxy.child.exited).code).toBe(0);
      expect(isGone(pid as number)).toBe(true);
    });
  });
});
