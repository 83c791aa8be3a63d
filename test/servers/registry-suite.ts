import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { registries } from '../../src/discovery/catalog.ts';
import { ServiceFeed } from '../../src/discovery/feed.ts';
import type { Registry, RegistryEndpoint } from '../../src/discovery/registry.ts';
import { eventually } from '../helpers/eventually.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { startProxy } from '../helpers/proxy.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';

/** How long the registry is away under load; a minute takes EVENKEEL_OUTAGE_MS=60000. */
const OUTAGE_MS = Number(process.env.EVENKEEL_OUTAGE_MS ?? 600);

/** A change is delivered within this time. */
const SOON = { timeoutMs: 1000 };

/** An endpoint on 127.0.0.1 as an application tells of itself. */
export interface AppEndpoint {
  readonly port: number;
  readonly weight?: number;
  readonly zone?: string;
  readonly version?: string;
  readonly tags?: readonly string[];
  /** An operator took it out; left out where the registry has no word for that. */
  readonly isOut?: boolean;
}

/** A real server with applications around it. Every act is done when its promise resolves. */
export interface RegistryWorld extends AsyncDisposable {
  /** The registry's section of the document. */
  readonly settings: Record<string, unknown>;
  /** Registers, or tells anew what has changed. Heartbeats are kept up until the application leaves or dies, over restarts of the server, too. */
  register(service: string, endpoint: AppEndpoint): Promise<void>;
  deregister(service: string, port: number): Promise<void>;
  /** The application dies without a goodbye. */
  die(service: string, port: number): Promise<void>;
  /** Takes away everything of a service at one stroke, behind its applications' backs. */
  wipe(service: string): Promise<void>;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Comes back on the same address, with what it knew or without anything. */
  comeBack(how: 'with its data' | 'empty'): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
}

/** One kind of registry to run the suite over. */
export interface RegistryUnderTest {
  /** As in `kind:`. */
  readonly kind: string;
  /** Whether its server is missing. */
  readonly skip: boolean;
  /** A registry without an operator's word for "takes no new work". */
  readonly hasNoDrain?: boolean;
  /** After this long without a sign of life an application is gone, in ms. */
  readonly expiryMs: number;
  start(): Promise<RegistryWorld>;
}

/** What a feed told, for tests that are about what is believed. */
interface Seen {
  set: readonly RegistryEndpoint[];
  /** The fewest endpoints in use at any time since it was reset. */
  smallest: number;
  readonly states: string[];
  readonly feed: ServiceFeed;
}

/** Makes a registry of a kind; its log goes to `log`. */
export function makeRegistry(settings: Record<string, unknown>, log: string[] = []): Registry {
  return registries.create(registries.schema().parse(settings), {
    name: 'tested',
    clock: systemClock,
    random: systemRandom,
    log: (level, message, fields) => void log.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
  });
}

export async function startedRegistry(
  { onTestFinished }: TestContext,
  settings: Record<string, unknown>,
  log: string[] = [],
): Promise<Registry> {
  const registry = makeRegistry(settings, log);
  onTestFinished(() => registry.close());
  await registry.start();
  return registry;
}

export function feedOf({ onTestFinished }: TestContext, registry: Registry, service: string, holdMs = 60_000): Seen {
  const seen: Seen = {
    set: [],
    smallest: Number.POSITIVE_INFINITY,
    states: [],
    feed: new ServiceFeed({
      registry,
      registryName: 'tested',
      service: { name: service, tags: [] },
      lastGood: null,
      clock: systemClock,
      log: () => {},
      guard: { holdMs, confirmMs: Math.min(holdMs, 1000) },
      onSet: (set) => {
        seen.set = set;
        const usable = set.filter(({ status }) => status === 'up' || status === 'unknown').length;
        seen.smallest = Math.min(seen.smallest, usable);
      },
      onState: ({ state }) => seen.states.push(state),
    }),
  };
  onTestFinished(() => seen.feed.close());
  seen.feed.start();
  return seen;
}

export const ports = (set: readonly RegistryEndpoint[]) => set.map(({ port, status }) => `${port} ${status}`);

/**
 * What every registry has to do against its real server, beyond the laws: one server for the tests that do it no harm, each with services of its own; those that
 * harm it have one each. A new registry is tested by a `RegistryUnderTest` in a file of its own.
 */
export function describeRegistry({ kind, skip, expiryMs, hasNoDrain = false, start }: RegistryUnderTest): void {
  describe.skipIf(skip)(`the ${kind} registry against its real server`, () => {
    let world: RegistryWorld;
    beforeAll(async () => {
      world = await start();
    });
    afterAll(() => world?.[Symbol.asyncDispose]());

    const registerAll = async (at: RegistryWorld, service: string, list = [9001, 9002, 9003]) => {
      for (const port of list) await at.register(service, { port });
    };
    /** For a test that harms its server: they wait most of the time, so that they do it side by side. */
    const ownWorld = async ({ onTestFinished }: TestContext): Promise<RegistryWorld> => {
      const own = await start();
      onTestFinished(() => own[Symbol.asyncDispose]());
      return own;
    };

    it('delivers registration, weight, zone, version, drain and deregistration within a second', async (t) => {
      const registry = await startedRegistry(t, world.settings);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'changes', tags: [] }, sink);
      await eventually(() => sink.sets.length > 0);
      expect(sink.told).toEqual([]);
      await world.register('changes', { port: 9001, weight: 5, zone: 'a', tags: ['v1', 'eu'] });
      await eventually(() => expect(sink.told).toEqual(['9001 up 5']), SOON);
      expect(sink.endpoint(9001)).toMatchObject({ host: '127.0.0.1', zone: 'a' });
      expect(sink.endpoint(9001)?.tags).toEqual(expect.arrayContaining(['v1', 'eu']));
      await world.register('changes', { port: 9002, weight: 2.5, version: '7' });
      await eventually(() => expect(sink.told).toEqual(['9001 up 5', '9002 up 2.5']), SOON);
      expect(sink.endpoint(9002)).toMatchObject({ version: '7', zone: '' });
      await world.register('changes', { port: 9001, weight: 1, zone: 'b' });
      await eventually(() => expect(sink.told).toEqual(['9001 up 1', '9002 up 2.5']), SOON);
      expect(sink.endpoint(9001)?.zone).toBe('b');
      if (!hasNoDrain) {
        await world.register('changes', { port: 9001, isOut: true });
        await eventually(() => expect(sink.told[0]).toBe('9001 draining 1'), SOON);
        await world.register('changes', { port: 9001 });
        await eventually(() => expect(sink.told[0]).toBe('9001 up 1'), SOON);
      }
      await world.deregister('changes', 9001);
      await eventually(() => expect(sink.told).toEqual(['9002 up 2.5']), SOON);
      await world.deregister('changes', 9002);
      await eventually(() => expect(sink.told).toEqual([]), SOON);
      expect(sink.errors).toEqual([]);
      expect(new Set(sink.sets.map(({ suspicion }) => suspicion))).toEqual(new Set([null]));
    });

    it('tells a pool only of endpoints that carry all its tags', async (t) => {
      const registry = await startedRegistry(t, world.settings);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'tagged', tags: ['v2', 'eu'] }, sink);
      await world.register('tagged', { port: 9001, tags: ['v2'] });
      await world.register('tagged', { port: 9002, tags: ['eu', 'v2'] });
      await eventually(() => expect(sink.told).toEqual(['9002 up 1']), SOON);
    });

    it('takes the endpoints of a service away one by one, the last one too, at once', async (t) => {
      await registerAll(world, 'leaving');
      const seen = feedOf(t, await startedRegistry(t, world.settings), 'leaving');
      await eventually(() => seen.set.length === 3);
      for (const left of [2, 1, 0]) {
        await world.deregister('leaving', 9003 - left);
        await eventually(() => expect(seen.set).toHaveLength(left), SOON);
      }
      expect(seen.states).toEqual(['live']);
    });

    it('does not believe a service that is suddenly empty, and knows its endpoints again when they are told of', async (t) => {
      await registerAll(world, 'wiped');
      const seen = feedOf(t, await startedRegistry(t, world.settings), 'wiped');
      await eventually(() => seen.set.length === 3);
      seen.smallest = 3;
      await world.wipe('wiped');
      await eventually(() => seen.feed.state.state === 'held', { timeoutMs: 3000 });
      expect(ports(seen.set)).toEqual(['9001 unknown', '9002 unknown', '9003 unknown']);
      await registerAll(world, 'wiped');
      await eventually(() => expect(ports(seen.set)).toEqual(['9001 up', '9002 up', '9003 up']), SOON);
      expect(seen.smallest).toBe(3);
    });

    it('leaves nothing open after close', async (t) => {
      await world.register('closing', { port: 9001 });
      const sockets = () => process.getActiveResourcesInfo().filter((one) => one === 'TCPSocketWrap').length;
      const before = sockets();
      const registry = await startedRegistry(t, world.settings);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'closing', tags: [] }, sink);
      await eventually(() => sink.told.length === 1);
      await registry.close();
      const told = sink.sets.length;
      await eventually(() => sockets() <= before);
      await world.register('closing', { port: 9002 });
      expect(sink.sets).toHaveLength(told);
    });

    it.concurrent('takes away an endpoint whose application died without a goodbye', async (t) => {
      await registerAll(world, 'dying');
      const seen = feedOf(t, await startedRegistry(t, world.settings), 'dying');
      await eventually(() => seen.set.length === 3);
      await world.die('dying', 9002);
      const usable = () => ports(seen.set).filter((one) => one.endsWith(' up'));
      await eventually(() => expect(usable()).toEqual(['9001 up', '9003 up']), { timeoutMs: expiryMs + 2000 });
      expect(seen.states).toEqual(['live']);
    });

    it.concurrent('keeps a service of its own registered, also when the server lost everything, hands it on, and leaves', async (t) => {
      const world = await ownWorld(t);
      const registry = await startedRegistry(t, world.settings);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'own', tags: [] }, sink);
      const self = { service: 'own', id: 'own/1', host: '127.0.0.1', port: 7001, tags: ['a'], metadata: { zone: 'x' } };
      const registered = await registry.register!({ ...self, weight: 3.5, ttlMs: expiryMs });
      await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), { timeoutMs: 3000 });
      expect(sink.endpoint(7001)).toMatchObject({ zone: 'x', tags: ['a'] });
      await world.kill();
      await eventually(() => sink.errors.length > 0);
      await world.comeBack('empty');
      // Another client, which knows nothing of before.
      const stranger = new RecordingSink();
      (await startedRegistry(t, world.settings)).subscribe({ name: 'own', tags: [] }, stranger);
      await eventually(() => expect(stranger.told).toEqual(['7001 up 3.5']), { timeoutMs: 15_000 });
      await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), { timeoutMs: 15_000 });
      // An upgrade: the next process registers under the same ID, and the one before it ends without a goodbye.
      const before = stranger.sets.length;
      const successor = await startedRegistry(t, world.settings);
      const taken = await successor.register!({ ...self, weight: 3.5, ttlMs: expiryMs });
      // Both are there for a while, and neither takes it from the other again and again.
      await new Promise((resolve) => setTimeout(resolve, 300));
      registered.release!();
      await registry.close();
      // The successor's heartbeats go on: its time would be over by now.
      await new Promise((resolve) => setTimeout(resolve, expiryMs * 1.5));
      expect(stranger.told).toEqual(['7001 up 3.5']);
      // Nobody ever saw it missing.
      const sets = stranger.sets.slice(before - 1);
      expect(sets.filter(({ endpoints }) => endpoints.length !== 1)).toEqual([]);
      expect(new Set(sets.map(({ endpoints }) => endpoints[0].generation)).size).toBeLessThanOrEqual(2);
      await taken.deregister();
      await eventually(() => expect(stranger.told).toEqual([]), SOON);
    });

    it.concurrent('keeps every endpoint while the server is killed and comes back with its data, and follows changes again', async (t) => {
      const world = await ownWorld(t);
      await registerAll(world, 'killed');
      const seen = feedOf(t, await startedRegistry(t, world.settings), 'killed');
      await eventually(() => seen.set.length === 3);
      seen.smallest = 3;
      await world.kill();
      await eventually(() => seen.feed.state.state === 'stale', { timeoutMs: 3000 });
      expect(ports(seen.set)).toEqual(['9001 up', '9002 up', '9003 up']);
      await world.comeBack('with its data');
      await eventually(() => seen.feed.state.state === 'live', { timeoutMs: 15_000 });
      await eventually(() => expect(ports(seen.set)).toEqual(['9001 up', '9002 up', '9003 up']), SOON);
      await world.register('killed', { port: 9004 });
      await eventually(() => seen.set.length === 4, { timeoutMs: 2000 });
      await world.deregister('killed', 9001);
      await eventually(() => expect(ports(seen.set)).toEqual(['9002 up', '9003 up', '9004 up']), SOON);
      expect(seen.smallest).toBe(3);
    });

    it.concurrent('keeps every endpoint when the server comes back empty and is told of them one by one', async (t) => {
      const world = await ownWorld(t);
      await registerAll(world, 'lost');
      const seen = feedOf(t, await startedRegistry(t, world.settings), 'lost');
      await eventually(() => seen.set.length === 3);
      const generations = seen.set.map(({ generation }) => generation);
      seen.smallest = 3;
      for (const port of [9001, 9002, 9003]) await world.die('lost', port);
      await world.kill();
      await world.comeBack('empty');
      await eventually(() => seen.feed.state.state === 'held', { timeoutMs: 15_000 });
      expect(ports(seen.set)).toEqual(['9001 unknown', '9002 unknown', '9003 unknown']);
      await world.register('lost', { port: 9002 });
      await eventually(() => expect(ports(seen.set)).toEqual(['9001 unknown', '9002 up', '9003 unknown']), SOON);
      await world.register('lost', { port: 9001 });
      await world.register('lost', { port: 9003 });
      await eventually(() => expect(ports(seen.set)).toEqual(['9001 up', '9002 up', '9003 up']), SOON);
      expect(seen.set.map(({ generation }) => generation)).toEqual(generations);
      expect(seen.smallest).toBe(3);
    });

    it.concurrent('keeps every endpoint of a server that froze for longer than anybody is kept, and goes on when it thaws', async (t) => {
      const world = await ownWorld(t);
      await registerAll(world, 'frozen');
      const seen = feedOf(t, await startedRegistry(t, world.settings), 'frozen');
      await eventually(() => seen.set.length === 3);
      seen.smallest = 3;
      const frozenMs = performance.now();
      world.freeze();
      await eventually(() => seen.feed.state.state === 'stale', { timeoutMs: 20_000 });
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, expiryMs * 1.5 - (performance.now() - frozenMs))));
      world.thaw();
      await eventually(() => seen.feed.state.error === null, { timeoutMs: 15_000 });
      await registerAll(world, 'frozen', [9001, 9002, 9003, 9004]);
      await eventually(() => expect(ports(seen.set)).toEqual(['9001 up', '9002 up', '9003 up', '9004 up']), {
        timeoutMs: 10_000,
      });
      expect(seen.smallest).toBe(3);
    });

    it.concurrent('loses no request while the server is killed, away, back with its data, killed and back empty', {
      timeout: 2 * OUTAGE_MS + 60_000,
    }, async (t) => {
      const world = await ownWorld(t);
      const origins: Origin[] = [];
      for (const name of ['a', 'b', 'c']) origins.push(await startOrigin({ name }));
      for (const { port } of origins) await world.register('loaded', { port });
      await using proxy = await startProxy({
        registries: { tested: world.settings },
        listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
        pools: { web: { discover: { registry: 'tested', service: 'loaded' } } },
      });
      const load = new OpenLoop(proxy.url, 200, 60_000);
      const isUp = async () => (await proxy.api('/api/v1/registries')).registries[0].up;
      for (const how of ['with its data', 'empty'] as const) {
        await world.kill();
        await eventually(async () => !(await isUp()), { timeoutMs: 10_000 });
        await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
        await world.comeBack(how);
        await eventually(isUp, { timeoutMs: 40_000 });
      }
      const { sent, ok, failures } = await load.stop();
      for (const origin of origins) await origin.close();
      expect(failures).toEqual({});
      expect(ok).toBe(sent);
      expect(sent).toBeGreaterThan((2 * OUTAGE_MS * 200) / 1000);
    });
  });
}
