import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ConfigCentre } from '../../src/centre/config-centre.ts';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { embeddedWorld, openTestCentre, type StoreWorld } from '../helpers/config-stores.ts';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';
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
    await using kept = startLoad(proxy.port(), { connections: 8 });
    const second = await push(text(green.address));
    await eventually(async () => (await answer(proxy)) === 'green', { timeoutMs: 1000 });
    await eventually(async () => (await reportOf('p1'))?.id === second.id);
    const { status, out } = await command('rollback', '1', '-m', 'green is wrong');
    expect([status, out]).toEqual([0, expect.stringMatching(/^version 3 .* is in force: what version 1 was/)]);
    await eventually(async () => (await answer(proxy)) === 'blue', { timeoutMs: 1000 });
    await kept.stop();
    expect(kept.lost).toEqual([]);
    expect([...kept.statuses.keys()]).toEqual([200]);
    expect((await short.stop()).failures).toEqual({});
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
    expect(second.child.stderr).toMatch(/cannot be reached.*going on with version 1/);
    await world.revive();
    await push(text(green.address));
    await eventually(async () => (await answer(second)) === 'green', { timeoutMs: 8000 });
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
    expect(again.child.stderr).toMatch(/is empty; going on with version 1/);
  });

  it('does not start without a document: an empty centre is a fault of the configuration', async () => {
    await expect(start()).rejects.toThrow(/ended with 78|holds no version yet/);
  });

  it('tries a version on one proxy first, and takes it back by itself when half of its requests fail', async () => {
    await push(text(blue.address));
    const [one, two] = [await start('one'), await start('two')];
    const loads = [one, two].map((proxy) => new OpenLoop(proxy.url, 60, 5_000));
    await eventually(async () => (await centre.reports()).length === 2);
    const endpoints = [{ address: blue.address }, { address: dead.address }];
    const halfDead = { web: { endpoints, retry: 'off', ejection: 'off', scheduler: 'weighted-round-robin' } };
    const began = performance.now();
    const bad = await push(text(blue.address, { pools: halfDead }), {
      trial: { proxies: { names: ['one'] }, trialMs: 20_000 },
    });
    await eventually(async () => (await centre.current())?.head.withdrawn?.key === bad.key, { timeoutMs: 15_000 });
    expect((await centre.current())?.head).toMatchObject({ number: 1, stage: null });
    expect((await centre.current())?.head.withdrawn?.reason).toMatch(/requests failed/);
    await eventually(async () => (await reportOf('one'))?.number === 1);
    expect(performance.now() - began).toBeLessThan(15_000);
    const [tried, spared] = await Promise.all(loads.map((load) => load.stop()));
    expect(tried.sent - tried.ok).toBeGreaterThan(0);
    expect(spared.failures).toEqual({});
    expect((await command('history')).out).toMatch(/went back .* requests failed/);
  }, 60_000);

  it('puts a version that is good on trial in force everywhere', async () => {
    await push(text(blue.address));
    const [one, two] = [await start('one'), await start('two')];
    await eventually(async () => (await centre.reports()).length === 2);
    await push(text(green.address), { trial: { proxies: { names: ['two'] }, trialMs: 1500 } });
    await eventually(async () => (await answer(two)) === 'green');
    expect(await answer(one)).toBe('blue');
    await eventually(async () => (await answer(one)) === 'green', { timeoutMs: 8000 });
    expect((await centre.current())?.head).toMatchObject({ number: 2, stage: null });
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
    expect((await run(good)).status).toBe(0);
  });
});
