import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigCentre } from '../../src/centre/config-centre.ts';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { embeddedWorld, openTestCentre, type StoreWorld } from '../helpers/config-stores.ts';
import { startCrowd } from '../helpers/crowd.ts';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { type HeldPort, refusingPort } from '../helpers/refusing-port.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

const CLIENTS = 200;

describe('a version on trial', { timeout: 60_000 }, () => {
  let blue: Origin;
  let dead: HeldPort;
  let state: TemporaryDirectory;
  let world: StoreWorld;
  let centre: ConfigCentre;
  let proxies: RunningProxy[];

  beforeAll(async () => {
    [blue, dead, state, world] = await Promise.all([
      startOrigin({ name: 'blue' }),
      refusingPort(),
      temporaryDirectory('state'),
      embeddedWorld.start(),
    ]);
    centre = openTestCentre(world.address);
    await centre.push({ document: document(), author: 'test', message: '', onto: null, trial: null });
    proxies = await Promise.all(
      ['one', 'two'].map((name) =>
        startProxy({}, { centre: { address: world.address, name, state: `${state.path}/${name}` } }),
      ),
    );
    await eventually(async () => (await centre.living()).length === 2);
  });
  afterAll(async () => {
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    await centre.store.close();
    await Promise.all([blue.close(), dead.close(), world.close(), state.close()]);
  });

  /** `more`: routes before the one that takes everything. */
  const document = (more: object[] = []) =>
    JSON.stringify({
      runtime: { workers: 2, drain: '1s', state: `${state.path}/run` },
      admin: { bind: '127.0.0.1:0' },
      log: { access: 'off' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', routes: [...more, { name: 'rest', pool: 'web' }] }],
      pools: {
        web: { endpoints: [{ address: blue.address }] },
        dead: { endpoints: [{ address: dead.address }] },
      },
    });
  const command = async (...argv: string[]) => {
    const out: string[] = [];
    const take = (more: string) => void out.push(more);
    const terminal = { out: take, error: take, environment: {}, directory: state.path };
    return { status: await runCommandLine(['config', ...argv, '-c', world.address], terminal), out: out.join('') };
  };

  it('that sends half of the traffic to a dead pool goes back by itself within 15 s, and 95 of 100 clients never see it', async () => {
    const crowd = await startCrowd(
      proxies.map((proxy) => proxy.port()),
      { clients: CLIENTS, everyMs: 500, paths: ['/', '/b'] },
    );
    const ownMs = stopwatch(...proxies.map((proxy) => proxy.pid));
    await state.write('next.json', document([{ name: 'b', match: { path: '/b' }, pool: 'dead' }]));
    expect(await command('push', 'next.json', '--stage', '1', '--trial', '20s')).toMatchObject({ status: 0 });
    await eventually(async () => (await centre.current())?.head.withdrawn?.reason, { timeoutMs: 45_000 });
    expect(ownMs()).toBeLessThan(15_000);
    expect((await centre.current())?.head).toMatchObject({ number: 1, stage: null });
    expect((await centre.current())?.head.withdrawn?.reason).toMatch(/% of \d+ requests failed, 0\.0 % of/);
    const before = crowd.failures;
    await eventually(() => crowd.answered > 4 * CLIENTS);
    await crowd.stop();
    // What ran before was in force again when the centre heard of it.
    expect(crowd.failures - before).toBeLessThanOrEqual(2);
    expect(crowd.unlucky).toBeGreaterThan(0);
    expect(crowd.unlucky).toBeLessThanOrEqual(0.05 * CLIENTS);
    expect(crowd.lost).toEqual([]);
    const tried = proxies.filter((proxy) => proxy.events('trial-began').length > 0);
    await eventually(() => tried.some((proxy) => proxy.events('version-withdrawn').length > 0));
    expect(tried.map((proxy) => proxy.events('version-withdrawn').length)).toEqual([1]);
    expect((await command('history')).out).toMatch(/went back .* requests failed/);
    // The routes on trial have left with it.
    expect((await tried[0].api('/api/v1/pools')).pools.map(({ name }: { name: string }) => name)).toEqual([
      'web',
      'dead',
    ]);
  });
});
