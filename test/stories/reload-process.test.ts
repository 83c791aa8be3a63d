import { readFile, rename, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { freePort, freePorts } from '../helpers/ports.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

describe('a reload of what belongs to the process', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  const document = (more: Record<string, object> = {}) => ({
    runtime: { workers: 1 },
    listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
    pools: { web: { endpoints: [{ address: origin.address }] } },
    ...more,
  });

  beforeAll(async () => {
    origin = await startOrigin({ name: 'origin' });
  });
  afterAll(() => origin.close());
  afterEach(() => proxy.stop());

  const answer = async (port = proxy.port()) => (await ask(port, 'GET', '/')).text;
  const threads = async () => (await proxy.api('/api/v1/status')).workers.length;

  it('adds workers and takes them away again, and no request is lost', async () => {
    proxy = await startProxy(document());
    const short = new OpenLoop(proxy.url, 100, 2_000, { connectionEach: true });
    await using kept = startLoad(proxy.port(), { connections: 4 });
    for (const workers of [2, 1, 2, 1]) {
      await proxy.write(document({ runtime: { workers } }));
      expect(await proxy.reload()).toBe('reloaded');
      expect(await threads()).toBe(workers);
      const before = kept.answered;
      await eventually(() => kept.answered > before + 30);
    }
    await kept.stop();
    expect((await short.stop()).failures).toEqual({});
    expect(kept.lost).toEqual([]);
    expect(proxy.events('worker-died')).toEqual([]);
  });

  it('takes workers away and adds them again, and every worker has one socket of an address: none pile up', async () => {
    proxy = await startProxy(document({ runtime: { workers: 2 } }));
    const port = proxy.port().toString(16).toUpperCase().padStart(4, '0');
    // proc_net_tcp(5): a listening socket of 127.0.0.1.
    const listening = async () =>
      (await readFile('/proc/net/tcp', 'latin1')).match(new RegExp(`0100007F:${port} 00000000:0000 0A`, 'g'))?.length;
    const before = await listening();
    for (const workers of [1, 2, 1, 2]) {
      await proxy.write(document({ runtime: { workers } }));
      expect(await proxy.reload()).toBe('reloaded');
      expect(await threads()).toBe(workers);
    }
    expect(before).toBe(2);
    await eventually(async () => (await listening()) === before);
    await eventually(() => proxy.events('worker-started').length === 2);
  });

  it('refuses more workers than there is room for, with the way out', async () => {
    proxy = await startProxy(document());
    await proxy.write(document({ runtime: { workers: 256 } }));
    expect(await proxy.reload()).toBe('reload-refused');
    expect(JSON.stringify(proxy.events('reload-refused')[0].problems)).toMatch(/workers: 256 .*restart it/);
  });

  it('while workers die: each comes back with the document that holds', async () => {
    const [first, second] = await freePorts(2);
    const at = (port: number) =>
      document({ listeners: [{ name: 'web', bind: `127.0.0.1:${port}`, pool: 'web' }] as never });
    proxy = await startProxy(at(first), { faults: true });
    for (const port of [second, first, second, first, second]) {
      await proxy.write(at(port));
      const reloading = proxy.reload();
      proxy.fault('die', 0);
      expect(await reloading).toBe('reloaded');
      await eventually(async () => (await answer(port).catch(() => '')) === 'origin');
    }
    await eventually(() => proxy.events('worker-died').length === 5);
  });

  it('renames a listener, and short connections to its address see nothing of it', async () => {
    const port = await freePort();
    const named = (name: string) =>
      document({ listeners: [{ name, bind: `127.0.0.1:${port}`, pool: 'web' }] as never });
    proxy = await startProxy(named('one'));
    const short = new OpenLoop(`http://127.0.0.1:${port}`, 200, 3_000, { connectionEach: true });
    for (const name of ['two', 'three', 'four', 'five']) {
      const before = short.sent;
      await eventually(() => short.sent > before + 30);
      await proxy.write(named(name));
      expect(await proxy.reload()).toBe('reloaded');
    }
    const { failures, sent } = await short.stop();
    expect(failures).toEqual({});
    expect(sent).toBeGreaterThan(100);
    expect(await answer(port)).toBe('origin');
  });

  it('gives an address up and takes it again at once', async () => {
    const [first, second] = await freePorts(2);
    const at = (...ports: number[]) =>
      document({ listeners: [{ name: 'web', bind: ports.map((port) => `127.0.0.1:${port}`), pool: 'web' }] as never });
    proxy = await startProxy(at(first, second));
    for (let i = 0; i < 3; i++) {
      await proxy.write(at(first));
      expect(await proxy.reload()).toBe('reloaded');
      await proxy.write(at(first, second));
      expect(await proxy.reload()).toBe('reloaded');
      await eventually(async () => (await answer(second)) === 'origin');
    }
  });

  it('moves the admin API, asks for another token, and says less in its log', async () => {
    const [first, second] = await freePorts(2);
    const admin = (port: number, token: string) => ({ admin: { bind: `127.0.0.1:${port}`, token } });
    proxy = await startProxy(document(admin(first, '')));
    const status = async (port: number, token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/status`, { headers }).catch(() => null);
      return response?.status ?? 0;
    };
    await proxy.write(document(admin(second, 'sesame')));
    const response = await fetch(`http://127.0.0.1:${first}/api/v1/reload`, { method: 'POST' });
    expect(response.status).toBe(200);
    expect([await status(second, ''), await status(second, 'sesame')]).toEqual([401, 200]);
    await eventually(async () => (await status(first, '')) === 0);
    await proxy.write(document({ ...admin(second, 'other'), log: { level: 'warn' } }));
    await fetch(`http://127.0.0.1:${second}/api/v1/reload`, {
      method: 'POST',
      headers: { authorization: 'Bearer sesame' },
    });
    expect([await status(second, 'sesame'), await status(second, 'other')]).toEqual([401, 200]);
    // Lines arrive in their order, but late: a refusal, which is written at this level too, says that all before it are here.
    const reload = () =>
      fetch(`http://127.0.0.1:${second}/api/v1/reload`, { method: 'POST', headers: { authorization: 'Bearer other' } });
    const refusals = () => proxy.events('reload-refused').length;
    const quiet = document({ ...admin(second, 'other'), log: { level: 'warn' } });
    await proxy.write('listeners: [');
    await reload();
    await eventually(() => refusals() === 1);
    const lines = proxy.child.stderr.length;
    await proxy.write(quiet);
    expect((await reload()).status).toBe(200);
    await proxy.write('listeners: [');
    await reload();
    await eventually(() => refusals() === 2);
    const later = proxy.child.stderr
      .slice(lines)
      .split('\n')
      .filter((line) => line.startsWith('{'));
    expect(later.map((line) => JSON.parse(line).msg)).toEqual(['reload-refused']);
  });

  it('writes the access log to another file, and refuses one that cannot be opened', async () => {
    await using place = await temporaryDirectory('access');
    const [one, two] = [join(place.path, 'one.log'), join(place.path, 'two.log')];
    const at = (access: string) => document({ log: { access } as never });
    // A worker hands its lines over once per wheel tick: each is waited for before the next is asked for.
    const lines = async (path: string) => (await readFile(path, 'utf8').catch(() => '')).split('\n').length - 1;
    proxy = await startProxy(at(one));
    await answer();
    await eventually(async () => (await lines(one)) === 1);
    await proxy.write(at('./none/two.log'));
    expect(await proxy.reload()).toBe('reload-refused');
    await answer();
    await eventually(async () => (await lines(one)) === 2);
    await proxy.write(at(two));
    expect(await proxy.reload()).toBe('reloaded');
    await answer();
    await eventually(async () => (await lines(two)) === 1);
    expect(await lines(one)).toBe(2);
  });

  it('refuses a registry whose port is busy, and leaves everything as it was', async () => {
    const [own, busy] = [await freePort(), origin.port];
    const registry = (port: number) => ({
      registries: { local: { kind: 'embedded', bind: `127.0.0.1:${port}`, data: './registry' } },
      pools: { web: { discover: { registry: 'local', service: 'web' } } },
    });
    proxy = await startProxy(document(registry(own)));
    const register = (name: string, port: number) =>
      fetch(`http://127.0.0.1:${own}/v1/agent/service/register`, {
        method: 'PUT',
        body: JSON.stringify({ Name: 'web', ID: name, Address: '127.0.0.1', Port: port }),
      });
    await register('a', origin.port);
    await eventually(async () => (await answer()) === 'origin');
    await using kept = startLoad(proxy.port(), { connections: 2 });
    const more = { name: 'more', bind: '127.0.0.1:0', pool: 'extra' };
    const extra = {
      web: { discover: { registry: 'local', service: 'web' } },
      extra: { endpoints: [{ address: origin.address }] },
    };
    const bad = document({ ...registry(busy), pools: extra });
    await proxy.write({ ...bad, listeners: [...bad.listeners, more] });
    expect(await proxy.reload()).toBe('reload-refused');
    expect((await proxy.api('/api/v1/pools')).pools.map(({ name }: { name: string }) => name)).toEqual(['web']);
    // The registry that made way is there again, with what was registered, and is listened to.
    await using second = await startOrigin({ name: 'second' });
    await eventually(async () => (await register('b', second.port)).status === 200);
    await eventually(async () => (await answer()) === 'second');
    await kept.stop();
    expect([...kept.statuses.keys()]).toEqual([200]);
    expect(kept.lost).toEqual([]);
  });

  it('changes an embedded registry that keeps its address', async () => {
    const port = await freePort();
    const at = (data: string) => ({
      registries: { local: { kind: 'embedded', bind: `127.0.0.1:${port}`, data } },
      pools: { web: { discover: { registry: 'local', service: 'web' } } },
    });
    proxy = await startProxy(document(at('./one')));
    await proxy.write(document(at('./two')));
    expect(await proxy.reload()).toBe('reloaded');
    await fetch(`http://127.0.0.1:${port}/v1/agent/service/register`, {
      method: 'PUT',
      body: JSON.stringify({ Name: 'web', ID: 'a', Address: '127.0.0.1', Port: origin.port }),
    });
    await eventually(async () => (await answer()) === 'origin');
  });

  describe('by command', () => {
    async function command(...argv: string[]) {
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
    }

    it('puts it in force, prints the problems of a bad one as check does, and says when nobody is there', async () => {
      const port = await freePort();
      await using place = await temporaryDirectory('token');
      const token = `file:${await place.write('token', 'sesame')}`;
      const good = document({ admin: { bind: `127.0.0.1:${port}`, token } });
      proxy = await startProxy(good);
      expect(await command('reload')).toMatchObject({
        status: 0,
        error: '',
        out: expect.stringMatching(/nothing had changed: version .*number 2/),
      });
      await proxy.write({ ...good, listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'wev' }] });
      const checked = await command('check');
      const reloaded = await command('reload');
      expect(reloaded.status).toBe(78);
      expect(reloaded.error).toBe(checked.error);
      expect(reloaded.error).toContain('did you mean "web"');
      expect(await command('workers', 'restart', '--admin', `127.0.0.1:${port}`)).toMatchObject({
        status: 0,
        out: 'restarted 1 workers\n',
      });
      await proxy.write(good);
      await proxy.child.stop();
      expect(await command('reload')).toMatchObject({
        status: 1,
        error: expect.stringContaining(`cannot be reached at 127.0.0.1:${port}`),
      });
    });
  });

  describe('by itself, when the file changes', () => {
    const watching = (response: string) =>
      document({
        runtime: { workers: 1, watch: true } as never,
        pools: { web: { endpoints: [{ address: origin.address }], timeouts: { response } } } as never,
      });
    const reloads = () => proxy.events('reloaded').length;

    it('is written in place, renamed over, linked, and not when it is only touched', async () => {
      proxy = await startProxy(watching('1s'));
      const file = join(proxy.directory, 'evenkeel.yaml');
      const text = await readFile(file, 'utf8');
      await proxy.write(watching('2s'));
      await eventually(() => reloads() === 1);
      const { writeFile } = await import('node:fs/promises');
      await writeFile(`${file}.new`, text.replace('"1s"', '"3s"'));
      await rename(`${file}.new`, file);
      await eventually(() => reloads() === 2);
      // The same content once more is no change: the next reload is the one after it.
      await writeFile(file, text.replace('"1s"', '"3s"'));
      await proxy.write(watching('4s'));
      await eventually(() => reloads() === 3);
      await proxy.write('listeners: [');
      await eventually(() => proxy.events('reload-refused').length === 1);
      await proxy.write(watching('5s'));
      await eventually(() => reloads() === 4);
    });

    it('lies in a volume whose link is swapped, as Kubernetes does', async () => {
      proxy = await startProxy(watching('1s'));
      const { mkdir, writeFile } = await import('node:fs/promises');
      const at = (name: string) => join(proxy.directory, name);
      const text = await readFile(at('evenkeel.yaml'), 'utf8');
      for (const [name, time] of [
        ['..one', '2s'],
        ['..two', '3s'],
        ['..three', '4s'],
      ]) {
        await mkdir(at(name));
        await writeFile(join(at(name), 'evenkeel.yaml'), text.replace('"1s"', `"${time}"`));
      }
      await symlink('..one', at('..data'));
      await unlink(at('evenkeel.yaml'));
      await symlink('..data/evenkeel.yaml', at('evenkeel.yaml'));
      await eventually(() => reloads() === 1);
      for (const [i, name] of ['..two', '..three'].entries()) {
        await symlink(name, at('..data_tmp'));
        await rename(at('..data_tmp'), at('..data'));
        await eventually(() => reloads() === 2 + i);
      }
    });
  });
});
