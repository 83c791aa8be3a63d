import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConfigCentre } from '../../src/centre/config-centre.ts';
import type { Store, Stored } from '../../src/centre/store.ts';
import {
  directoryWorld,
  embeddedWorld,
  nacosDoubleWorld,
  openTestCentre,
  openTestStore,
  type StoreKindUnderTest,
  type StoreWorld,
} from '../helpers/config-stores.ts';
import { eventually } from '../helpers/eventually.ts';
import { requireServer } from '../helpers/require-server.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
import { findConsul, startConsul } from './consul.ts';
import { findEtcd, startEtcd } from './etcd.ts';
import { realNacos } from './nacos-server.ts';
import { TapedServer } from './taped-server.ts';
import { findZookeeper, startZookeeper } from './zookeeper.ts';

/** A real server, its data on disk: one for all tests of its kind, each with a path of its own. */
interface StoreServer {
  /** Without a path; with a query where it needs one. */
  readonly address: string;
  kill(): Promise<void>;
  /** With its data. */
  revive(): Promise<void>;
  stop(): Promise<void>;
}

function serverWorld(name: string, skip: boolean, startServer: () => Promise<StoreServer>): StoreKindUnderTest {
  let server: StoreServer | null = null;
  let tests = 0;
  return {
    name,
    skip,
    async start() {
      server ??= await startServer();
      const { address, kill, revive } = server;
      const place = new URL(address);
      place.pathname = `/evenkeel/test-${++tests}`;
      return { address: place.href, kill, revive, close: async () => {} };
    },
    end: async () => server?.stop(),
  };
}

const consulWorld = serverWorld('Consul', requireServer('consul', findConsul()), async () => {
  const data = await temporaryDirectory('centre-consul');
  let consul = await startConsul({ dataDir: data.path });
  return {
    address: consul.address.replace('http', 'consul'),
    kill: () => consul.kill('SIGKILL'),
    revive: async () => {
      consul = await startConsul({ dataDir: data.path, ports: consul.ports });
    },
    stop: async () => {
      await consul.stop();
      await data.close();
    },
  };
});
const zookeeperWorld = serverWorld('ZooKeeper', requireServer('zookeeper', findZookeeper()), async () => {
  const server = await startZookeeper();
  return { ...server, address: `zookeeper://127.0.0.1:${server.port}`, revive: () => server.comeBack('with its data') };
});
const etcdWorld = serverWorld('etcd', requireServer('etcd', findEtcd()), async () => {
  const server = await startEtcd();
  return { ...server, address: server.address.replace('http', 'etcd'), revive: () => server.comeBack('with its data') };
});

const nacosWorld = serverWorld('Nacos', false, async () => {
  const real = (await realNacos())!;
  const { crash, resume, restart } = real;
  // Now and then r-nacos never has a leader after a start in an empty directory, and drops what it takes.
  for (let starts = 0; starts < 5 && !(await keepsConfigs(real)); starts++) {
    await crash?.();
    await restart?.();
  }
  if (crash !== null && resume !== undefined)
    return { address: addressOf(real), kill: crash, revive: resume, stop: real.stop };
  // Somebody else's cannot be ended: what goes away is a front of ours.
  const front = await TapedServer.start('config', real);
  return {
    address: addressOf(front),
    kill: () => front.goAway(),
    revive: () => front.comeBack(),
    stop: () => front[Symbol.asyncDispose](),
  };
});

async function keepsConfigs({ address }: { readonly address: string }): Promise<boolean> {
  const configs = `${address}/nacos/v1/cs/configs`;
  const write = () => fetch(configs, { method: 'POST', body: new URLSearchParams({ ...names, content: 'x' }) });
  const names = { dataId: 'evenkeel-is-there', group: 'DEFAULT_GROUP' };
  return eventually(async () => (await write()).ok && (await fetch(`${configs}?${new URLSearchParams(names)}`)).ok, {
    timeoutMs: 3000,
    intervalMs: 200,
  }).then(
    () => true,
    () => false,
  );
}

function addressOf({ address, grpcPort }: { readonly address: string; readonly grpcPort: number }): string {
  return `${address.replace('http', 'nacos')}?grpcPort=${grpcPort}`;
}

/** Without a real one doubles of both that are about have to do. */
const nacosWorlds = process.env.EVENKEEL_NACOS
  ? [nacosWorld]
  : [nacosDoubleWorld('Nacos'), nacosDoubleWorld('r-nacos')];

const kinds = [directoryWorld, embeddedWorld, consulWorld, zookeeperWorld, etcdWorld, ...nacosWorlds];

describe.each(kinds)('a config centre in $name', ({ skip, start, end }) => {
  describe.skipIf(skip)('store', () => {
    let world: StoreWorld;
    let store: Store;
    let centre: ConfigCentre;
    beforeEach(async () => {
      world = await start();
      store = openTestStore(world.address);
      centre = openTestCentre(world.address);
    });
    afterEach(async () => {
      await store.close();
      await centre.store.close();
      await world.close();
    });
    afterAll(() => end?.());
    const pushing = { author: 'me', message: '', onto: null, trial: null };

    it('keeps texts under keys, and writes only over the revision that was expected', async () => {
      expect(await store.get('a')).toBeNull();
      expect(await store.put('a', 'one', null)).toBe(true);
      expect(await store.put('a', 'two', null)).toBe(false);
      const one = (await store.get('a')) as Stored;
      expect(one.text).toBe('one');
      expect(await store.put('a', 'zwei ✓ {"x":1}', one.revision)).toBe(true);
      expect(await store.put('a', 'three', one.revision)).toBe(false);
      expect((await store.get('a'))?.text).toBe('zwei ✓ {"x":1}');
      await store.set('b/c d', 'below');
      await store.set('b/é', '');
      expect((await store.list('b')).sort()).toEqual(['c d', 'é']);
      expect((await store.get('b/é'))?.text).toBe('');
      await store.remove('b/c d');
      await store.remove('b/c d');
      expect(await store.list('b')).toEqual(['é']);
      expect(await store.list('nothing')).toEqual([]);
    });

    it('lets one of eight writers through', async () => {
      const won = await Promise.all(Array.from({ length: 8 }, (_, i) => store.put('raced', `writer ${i}`, null)));
      expect(won.filter(Boolean)).toHaveLength(1);
      expect((await store.get('raced'))?.text).toBe(`writer ${won.indexOf(true)}`);
    });

    it('tells a watch what is there, each change and the removal within a second, and nothing after close', async () => {
      const seen: (string | null)[] = [];
      const watch = store.watch('w', {
        changed: (stored) => seen.push(stored?.text ?? null),
        unavailable: (error) => seen.push(`error ${error.message}`),
      });
      await eventually(() => seen.length === 1);
      for (const text of ['1', '2']) {
        await store.set('w', text);
        await eventually(() => seen.at(-1) === text, { timeoutMs: 1000 });
      }
      await store.set('other', 'x');
      await store.remove('w');
      await eventually(() => seen.at(-1) === null, { timeoutMs: 1000 });
      watch.close();
      await store.set('w', '3');
      await store.get('w');
      expect(seen).toEqual([null, '1', '2', null]);
    });

    it('says that it is gone, and goes on watching when it is back', async () => {
      await store.set('w', 'before');
      const seen: string[] = [];
      store.watch('w', {
        changed: (stored) => seen.push(stored?.text ?? 'nothing'),
        unavailable: () => seen.push('gone'),
      });
      await eventually(() => seen.at(-1) === 'before');
      await world.kill();
      await eventually(() => seen.at(-1) === 'gone', { timeoutMs: 8000 });
      await expect(store.get('w')).rejects.toThrow(store.address);
      await world.revive();
      await eventually(async () => (await store.get('w').catch(() => null))?.text === 'before', { timeoutMs: 15_000 });
      await store.set('w', 'after');
      await eventually(() => seen.at(-1) === 'after', { timeoutMs: 8000 });
      expect(seen.filter((one) => one === 'nothing')).toEqual([]);
    }, 40_000);

    it('keeps every version, its parent, author and message, and puts an old one in force as a new one', async () => {
      expect(await centre.current()).toBeNull();
      expect(await centre.history(10)).toEqual([]);
      const first = await centre.push({ ...pushing, document: 'one', message: 'begin' });
      const second = await centre.push({ ...pushing, document: 'two', onto: 1 });
      expect(second).toMatchObject({ number: 2, parent: first.key, author: 'me' });
      const third = await centre.rollback(await centre.find('1'), 'you', 'back');
      expect(third).toMatchObject({ number: 3, id: first.id, document: 'one', author: 'you' });
      expect((await centre.history(10)).map(({ number, message }) => [number, message])).toEqual([
        [3, 'back'],
        [2, ''],
        [1, 'begin'],
      ]);
      expect((await centre.find(second.id.slice(0, 6))).document).toBe('two');
      await expect(centre.find('9')).rejects.toThrow(/has no version 9/);
    });

    it('tells one of two writers who race, and keeps nothing of what it wrote', async () => {
      await centre.push({ ...pushing, document: 'base' });
      const rival = openTestCentre(world.address, 2);
      const outcomes = await Promise.allSettled([
        centre.push({ ...pushing, document: 'mine' }),
        rival.push({ ...pushing, document: 'theirs' }),
      ]);
      const lost = outcomes.filter((one) => one.status === 'rejected');
      // One after the other is no race: then both are versions.
      const history = await centre.history(10);
      expect(history.length + lost.length).toBe(3);
      for (const one of lost) expect(String(one.reason)).toMatch(/somebody else pushed/);
      await expect(rival.push({ ...pushing, document: 'late', onto: 1 })).rejects.toThrow(/is in force by now, not 1/);
      expect(await store.list('versions')).toHaveLength(history.length);
      await rival.store.close();
    });

    it('puts a version on trial at the proxies that were chosen, and in force when the last of them passed it', async () => {
      await centre.push({ ...pushing, document: 'base' });
      const stage = { proxies: { count: 2 }, trialMs: 1000 };
      const push = () => centre.push({ ...pushing, document: 'next', trial: stage });
      await expect(push()).rejects.toThrow(/no living proxy/);
      const report = { id: 'x', number: 1, since: '', refused: null, time: new Date().toISOString() };
      for (const name of ['a', 'b', 'c']) await centre.report({ ...report, name });
      const next = await push();
      const { head } = (await centre.current())!;
      expect(head.number).toBe(1);
      const proxies = head.stage?.proxies ?? [];
      expect(proxies).toHaveLength(2);
      await expect(push()).rejects.toThrow(/on trial/);
      expect(await centre.pass(next.key, proxies[0])).toBe(true);
      expect((await centre.current())?.head.number).toBe(1);
      expect(await centre.pass(next.key, proxies[1])).toBe(true);
      expect((await centre.current())?.head).toMatchObject({ number: 2, key: next.key, stage: null });
      expect(await centre.withdraw(next.key, 'a', 'too late')).toBe(false);
    });

    it('withdraws a version on trial with the reason, and the number is free again', async () => {
      await centre.push({ ...pushing, document: 'base' });
      await centre.report({ name: 'a', id: 'x', number: 1, since: '', refused: null, time: new Date().toISOString() });
      const bad = await centre.push({
        ...pushing,
        document: 'bad',
        trial: { proxies: { names: ['a'] }, trialMs: 1000 },
      });
      expect(await centre.withdraw(bad.key, 'a', 'half of it failed')).toBe(true);
      const { head } = (await centre.current())!;
      expect(head).toMatchObject({ number: 1, stage: null, withdrawn: { key: bad.key, reason: 'half of it failed' } });
      expect((await centre.push({ ...pushing, document: 'good' })).number).toBe(2);
    });

    it('refuses a version whose text was changed in the store, and a head that is garbage', async () => {
      const version = await centre.push({ ...pushing, document: 'true' });
      const kept = (await store.get(`versions/${version.key}`)) as Stored;
      await store.set(`versions/${version.key}`, kept.text.replace('"true"', '"false"'));
      await expect(centre.version(version.key)).rejects.toThrow(/its text was changed/);
      await store.set('head', '<html>');
      await expect(centre.current()).rejects.toThrow(/head in .* cannot be used: it is not JSON/);
    });
  });
});
