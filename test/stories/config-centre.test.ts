import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ConfigCentre } from '../../src/centre/config-centre.ts';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { embeddedWorld, openTestCentre, type StoreWorld } from '../helpers/config-stores.ts';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { isGone } from '../helpers/processes.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient, request } from '../helpers/raw-client.ts';
import { type HeldPort, refusingPort } from '../helpers/refusing-port.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

describe('a proxy whose document lives in a config centre', () => {
  let blue: Origin;
  let green: Origin;
  let dead: HeldPort;
  let state: TemporaryDirectory;
  let world: StoreWorld;
  let centre: ConfigCentre;
  const proxies: RunningProxy[] = [];

  beforeAll(async () => {
    [blue, green, dead] = await Promise.all([
      startOrigin({ name: 'blue' }),
      startOrigin({ name: 'green' }),
      refusingPort(),
    ]);
  });
  afterAll(() => Promise.all([blue.close(), green.close(), dead.close()]));
  beforeEach(async () => {
    state = await temporaryDirectory('state');
    world = await embeddedWorld.start();
    centre = openTestCentre(world.address);
  });
  afterEach(async () => {
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
    await centre.store.close();
    await world.close();
    await state.close();
  });

  const text = (address: string, more: object = {}) =>
    JSON.stringify({
      runtime: { workers: 1, drain: '1s', state: `${state.path}/run` },
      admin: { bind: '127.0.0.1:0' },
      log: { access: 'off' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address }], retry: 'off', ejection: 'off' } },
      ...more,
    });
  const push = (document: string, more: object = {}) =>
    centre.push({ document, author: 'test', message: '', onto: null, trial: null, ...more });
  const start = async (name = 'p1') => {
    const proxy = await startProxy({}, { centre: { address: world.address, name, state: `${state.path}/${name}` } });
    proxies.push(proxy);
    return proxy;
  };
  const answer = async (proxy: RunningProxy) => (await ask(proxy.port(), 'GET', '/')).text;
  const reportOf = async (name: string) => (await centre.reports()).find((one) => one.name === name);
  const command = async (...argv: string[]) => {
    const [out, error]: string[][] = [[], []];
    const terminal = {
      out: (more: string) => void out.push(more),
      error: (more: string) => void error.push(more),
      environment: {},
      directory: state.path,
    };
    const status = await runCommandLine(['config', ...argv, '-c', world.address], terminal);
    return { status, out: out.join(''), error: error.join('') };
  };

  it('applies a push and a rollback within a second, without a lost request, and reports what it runs', async () => {
    await push(text(blue.address));
    const proxy = await start();
    expect(await answer(proxy)).toBe('blue');
    const short = new OpenLoop(proxy.url, 100, 5_000, { connectionEach: true });
    const steady = new OpenLoop(proxy.url, 400, 20_000);
    await using kept = startLoad(proxy.port(), { connections: 2, pauseMs: 10 });
    const second = await push(text(green.address));
    await eventually(async () => (await answer(proxy)) === 'green', { timeoutMs: 1000, of: [proxy.pid] });
    await eventually(async () => (await reportOf('p1'))?.id === second.id);
    const { status, out } = await command('rollback', '1', '-m', 'green is wrong');
    expect([status, out]).toEqual([0, expect.stringMatching(/^version 3 .* is in force: what version 1 was/m)]);
    await eventually(async () => (await answer(proxy)) === 'blue', { timeoutMs: 1000, of: [proxy.pid] });
    await kept.stop();
    expect(kept.lost).toEqual([]);
    expect([...kept.statuses.keys()]).toEqual([200]);
    expect((await short.stop()).failures).toEqual({});
    expect((await steady.stop()).failures).toEqual({});
  });

  it('runs on with what it has when a version cannot be put in force here, and says why', async () => {
    await push(text(blue.address));
    const proxy = await start();
    const elsewhere = [{ name: 'web', bind: '203.0.113.1:80', pool: 'web' }];
    await push(text(green.address, { listeners: elsewhere }));
    await eventually(async () => (await reportOf('p1'))?.refused?.number === 2);
    expect((await reportOf('p1'))?.refused?.problems[0]).toMatch(/this machine does not have the address/);
    expect(await answer(proxy)).toBe('blue');
    expect((await command('status')).out).toMatch(/^p1 +1 .* refused 2 +cannot listen on 203/m);
    // A reload by hand keeps to what runs.
    expect(await proxy.reload()).toBe('reloaded');
    expect(await answer(proxy)).toBe('blue');
    await push(text(green.address));
    await eventually(async () => (await answer(proxy)) === 'green');
    await eventually(async () => (await reportOf('p1'))?.refused === null);
  });

  it('runs on and starts again while the centre is gone, and catches up when it is back', async () => {
    await push(text(blue.address));
    const first = await start();
    await world.kill();
    expect(await answer(first)).toBe('blue');
    await proxies.pop()?.stop();
    const second = await start();
    expect(await answer(second)).toBe('blue');
    await eventually(() => /cannot be reached.*going on with version 1/.test(second.child.stderr));
    await world.revive();
    await push(text(green.address));
    await eventually(async () => (await answer(second)) === 'green', { timeoutMs: 8000 });
    await world.kill();
    await world.reviveEmpty?.();
    await eventually(() => /the config centre is empty; running on/.test(second.child.stderr), { timeoutMs: 8000 });
    expect(await answer(second)).toBe('green');
    expect((await push(text(blue.address))).number).toBe(1);
    await eventually(async () => (await answer(second)) === 'blue', { timeoutMs: 8000 });
  }, 60_000);

  it('runs on when the centre is emptied or holds garbage, and starts again from its own disk', async () => {
    await push(text(blue.address));
    const proxy = await start();
    await centre.store.set('head', '{"half": ');
    await eventually(() => /holds garbage/.test(proxy.child.stderr));
    expect(await answer(proxy)).toBe('blue');
    await centre.store.remove('head');
    await eventually(() => /the config centre is empty; running on/.test(proxy.child.stderr));
    expect(await answer(proxy)).toBe('blue');
    await proxies.pop()?.stop();
    const again = await start();
    expect(await answer(again)).toBe('blue');
    await eventually(() => /is empty; going on with version 1/.test(again.child.stderr));
  });

  it('does not start without a document: an empty centre is a fault of the configuration', async () => {
    await expect(start()).rejects.toThrow(/ended with 78|holds no version yet/);
  });

  it('tells one of two who push onto the same version', async () => {
    await push(text(blue.address));
    const files = [text(green.address), text(dead.address)].map((document, i) => state.write(`${i}.json`, document));
    await Promise.all(files);
    const both = await Promise.all([0, 1].map((i) => command('push', `${i}.json`, '--onto', '1')));
    expect(both.map(({ status }) => status).sort()).toEqual([0, 1]);
    expect(both.find(({ status }) => status === 1)?.error).toMatch(/somebody else pushed|is in force by now, not 1/);
    expect((await centre.current())?.head.number).toBe(2);
  });

  it('pushes and rolls back from the command line what a living proxy has judged as a reload would, and says who judged', async () => {
    await state.write('first.json', text(blue.address));
    const unjudged = await command('push', 'first.json');
    expect(unjudged).toMatchObject({ status: 0, error: expect.stringMatching(/no living proxy could be asked/) });
    const proxy = await start();
    await eventually(async () => (await centre.living()).length === 1);
    const busy = [{ name: 'more', bind: proxy.admin.slice('http://'.length), pool: 'web' }];
    await state.write('busy.json', text(blue.address, { listeners: busy }));
    const refused = await command('push', 'busy.json');
    expect(refused).toMatchObject({
      status: 1,
      out: expect.stringMatching(/^judged by the proxy p1, as a reload there would$/m),
    });
    expect(refused.error).toMatch(/in use.*\n.*the proxy p1 would refuse it; --force/s);
    expect((await centre.current())?.head.number).toBe(1);
    expect(await command('push', 'busy.json', '--force')).toMatchObject({ status: 0 });
    await eventually(async () => (await reportOf('p1'))?.refused?.number === 2);
    // Judged against what runs there: the version that was refused has changed nothing.
    expect(await command('rollback', '1')).toMatchObject({
      status: 0,
      out: expect.stringMatching(/judged by the proxy p1/),
    });
    expect(await command('rollback', '2')).toMatchObject({ status: 1, error: expect.stringMatching(/in use/) });
    expect((await centre.current())?.head.number).toBe(3);
  });

  it('does the same acts over the admin API, judged against what the proxy knows and has bound', async () => {
    const first = text(blue.address, { log: { access: 'off', sample: 1 } });
    await push(first);
    const proxy = await start();
    for (let i = 0; i < 3; i++) await answer(proxy);
    const post = async (path: string, body: object) => {
      const response = await fetch(`${proxy.admin}/api/v1/config/${path}`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      // biome-ignore lint/suspicious/noExplicitAny: the test knows what it asked for
      return { status: response.status, body: (await response.json()) as any };
    };
    const running = (await proxy.api('/api/v1/config')).centre;
    expect(running).toMatchObject({ number: 1, author: 'test', proxy: 'p1', centre: world.address, refused: null });

    // What would become of the requests that were sampled: a route that is another one, and a pool that is empty.
    const elsewhere = {
      web: { endpoints: [{ address: blue.address }] },
      api: { discover: { registry: 'written', service: 'none' } },
    };
    const routes = [{ name: 'all', pool: 'api' }];
    const listeners = [{ name: 'web', bind: '127.0.0.1:0', routes }];
    const registries = { written: { kind: 'static', services: {} } };
    const next = text(blue.address, { listeners, pools: elsewhere, registries });
    // A worker tells what it sampled once per tick.
    let judged = await eventually(async () => {
      const answered = await post('check', { document: next });
      return answered.body.replay.sampled >= 3 && answered;
    });
    expect(judged.body.problems).toEqual(['pool api would have no endpoints']);
    expect(judged.body.replay.failing).toMatchObject([
      { to: 'pool api has no endpoints', from: '/ → web', requests: 3 },
    ]);
    const moving = text(blue.address, {
      listeners,
      pools: { ...elsewhere, api: { endpoints: [{ address: green.address }] } },
    });
    judged = await post('check', { document: moving });
    expect(judged.body).toMatchObject({
      problems: [],
      replay: { sampled: 3, failing: [], moved: [{ to: 'all → api', example: expect.stringMatching(/^GET .*\/$/) }] },
    });
    expect(judged.body.changes).toContain('+ pool api');
    await state.write('next.json', moving);
    const admin = proxy.admin.replace('http://', '');
    const dry = await command('push', 'next.json', '--dry-run', '--admin', admin);
    expect(dry.out).toMatch(/^move 3 of 3 sampled requests: \/ → web ⇒ all → api, such as GET /m);
    await state.write('empty.json', next);
    const forced = await command('push', 'empty.json', '--admin', admin);
    expect(forced).toMatchObject({ status: 1, error: expect.stringMatching(/would have no endpoints\n.*--force/) });

    // Nothing of all that took effect.
    expect((await post('push', { document: next })).status).toBe(422);
    const busy = text(blue.address, { listeners: [{ name: 'more', bind: proxy.admin.slice(7), pool: 'web' }] });
    const refused = await post('push', { document: busy });
    expect([refused.status, refused.body.error.message]).toEqual([422, expect.stringMatching(/in use/)]);
    expect((await proxy.api('/api/v1/config/history')).versions).toHaveLength(1);
    expect(await answer(proxy)).toBe('blue');

    const done = await post('push', { document: moving, message: 'to green', author: 'ann' });
    expect([done.status, done.body]).toMatchObject([200, { number: 2, author: 'ann' }]);
    await eventually(async () => (await answer(proxy)) === 'green');
    await eventually(async () => (await proxy.api('/api/v1/config')).centre.message === 'to green');
    expect((await proxy.api('/api/v1/config/diff?from=1&to=2')).changes).toContain('+ pool api');
    expect((await proxy.api('/api/v1/config/versions/1')).document).toBe(first);
    expect((await post('push', { document: first, onto: 1 })).status).toBe(409);
    expect((await post('rollback', { version: 1 })).body).toMatchObject({
      number: 3,
      message: 'rollback to version 1',
    });
    await eventually(async () => (await answer(proxy)) === 'blue');
    await eventually(async () => (await proxy.api('/api/v1/config/status')).proxies[0].state === 'as it should');
    expect((await post('withdraw', {})).body.error).toMatchObject({ code: 'no-trial' });
    expect((await post('rollback', { version: 77 })).status).toBe(404);
    await eventually(() => proxy.events('version-applied').length === 2);
    expect(proxy.events('version-applied').map(({ number }) => number)).toEqual([2, 3]);
  });

  it('says that a proxy which runs a file has no versions', async () => {
    const proxy = await startProxy(JSON.parse(text(blue.address)));
    proxies.push(proxy);
    await expect(proxy.api('/api/v1/config/history')).rejects.toThrow(/409 .*this proxy runs a file/);
    expect((await proxy.api('/api/v1/config')).centre).toBeNull();
  });

  it('puts a version that is good on trial in force everywhere', async () => {
    await push(text(blue.address));
    const [one, two] = [await start('one'), await start('two')];
    await eventually(async () => (await centre.reports()).length === 2);
    await push(text(green.address), { trial: { proxies: { names: ['two'] }, trialMs: 2500 } });
    await eventually(async () => (await answer(two)) === 'green');
    expect(await answer(one)).toBe('blue');
    await eventually(async () => (await answer(one)) === 'green', { timeoutMs: 8000 });
    expect((await centre.current())?.head).toMatchObject({ number: 2, stage: null });
  }, 60_000);

  it('is upgraded: the new process has its name there and judges what is on trial; the old one, which drains, neither applies nor reports nor leaves', async () => {
    const runtime = { workers: 1, drain: '20s', state: `${state.path}/run` };
    await push(text(blue.address, { runtime }));
    const proxy = await start();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    blue.handler = async ({ target }, reply) => {
      if (target === '/slow') await released;
      reply.send(200, target === '/slow' ? 'late' : 'blue');
    };
    await using client = await rawClient(proxy.port());
    client.write(request('GET', '/slow'));
    await eventually(async () => (await proxy.endpoint('web', blue.address)).active === 1);
    await push(text(green.address, { runtime }), { trial: { proxies: { names: ['p1'] }, trialMs: 3000 } });
    await eventually(async () => (await answer(proxy)) === 'green');
    await proxy.upgrade();
    // The trial goes on in the new process, which alone can end it now.
    await eventually(async () => (await centre.current())?.head.number === 2, { timeoutMs: 15_000 });
    expect((await centre.current())?.head.stage).toBeNull();
    const { id } = await push(text(green.address, { runtime, log: { access: 'off', level: 'warn' } }));
    await eventually(async () => (await reportOf('p1'))?.id === id);
    release();
    expect((await client.response()).text).toBe('late');
    client.socket.destroy();
    await eventually(() => proxy.events('upgraded').length === 1 && isGone(proxy.child.pid), { timeoutMs: 15_000 });
    expect(await reportOf('p1')).toMatchObject({ id, refused: null });
    expect(proxy.events('reload-refused')).toEqual([]);
    blue.handler = (_, reply) => void reply.send(200, 'blue');
  }, 60_000);
});

describe('evenkeel config push', () => {
  it('refuses a document that is wrong, and one with a secret in it, with the place', async () => {
    await using place = await temporaryDirectory('push');
    const run = async (document: string) => {
      await place.write('doc.yaml', document);
      const error: string[] = [];
      const terminal = {
        out() {},
        error: (more: string) => void error.push(more),
        environment: {},
        directory: place.path,
      };
      const status = await runCommandLine(['config', 'push', 'doc.yaml', '-c', `file://${place.path}/store`], terminal);
      return { status, error: error.join('') };
    };
    const good =
      'listeners: [{ bind: "127.0.0.1:0", name: a, pool: a }]\npools: { a: { endpoints: [{ address: "127.0.0.1:1" }] } }\n';
    expect(await run(`${good}admin: { token: hunter2hunter2 }\n`)).toEqual({
      status: 78,
      error: expect.stringMatching(/doc\.yaml:3:\d+ {2}admin\.token {2}a secret stands here as text/),
    });
    const wrong = await run(good.replace('pool: a', 'pool: b'));
    expect(wrong).toEqual({ status: 78, error: expect.stringMatching(/doc\.yaml:1:\d+ {2}listeners\[0\]\.pool/) });
    const withDefault = await run(`${good}admin: { token: "\${EVENKEEL_TOKEN:-hunter2hunter2}" }\n`);
    expect(withDefault.error).toMatch(/admin\.token {2}a secret stands here as text/);
    const inAddress = await run(
      `${good}registries: { c: { kind: consul, address: "http://me:hunter2@127.0.0.1:8500" } }\n`,
    );
    expect(inAddress.error).toMatch(/registries\.c\.address {2}a secret stands here as text/);
    expect((await run(`${good}admin: { token: "file:/run/secrets/token" }\n`)).status).toBe(0);
    expect((await run(good)).status).toBe(0);
  });
});
