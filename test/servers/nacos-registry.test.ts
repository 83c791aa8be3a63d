import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startOrigin } from '../helpers/origin.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { NacosApp, realNacos } from './nacos-server.ts';
import { expectNothingLostInAnOutage } from './outage-under-load.ts';
import { portsOf, startedRegistry, watchedFeed } from './registry-watching.ts';
import { type RealServer, TapedServer } from './taped-server.ts';

/** A server gathers changes for half a second, and machines are loaded. */
const SOON = { timeoutMs: 5000 };

/** Tapes are made where an r-nacos can be had: until then the suite says by name that it did not run. */
const isPossible =
  (process.env.EVENKEEL_NACOS ?? '') !== '' || existsSync(join(import.meta.dirname, 'tapes', 'nacos-changes.json'));
if (!isPossible) console.warn('skipped: no Nacos (EVENKEEL_NACOS) and no tape of one');

describe.skipIf(!isPossible)('the nacos registry', () => {
  let real: RealServer | null = null;
  const apps: NacosApp[] = [];
  beforeAll(async () => {
    real = await realNacos();
  }, 60_000);
  afterEach(() => {
    for (const app of apps.splice(0)) app.die();
  });
  afterAll(() => real?.stop());

  async function server({ onTestFinished }: TestContext, name: string, ports: number[] = []): Promise<TapedServer> {
    const taped = await TapedServer.start(`nacos-${name}`, real, ports);
    onTestFinished(() => taped[Symbol.asyncDispose]());
    return taped;
  }

  async function app(server: RealServer): Promise<NacosApp> {
    const connected = await NacosApp.connect(server);
    apps.push(connected);
    return connected;
  }

  const at = (server: TapedServer, more: Record<string, unknown> = {}) => ({
    kind: 'nacos',
    address: `${server.address}/nacos`,
    grpcPort: server.grpcPort,
    ...more,
  });

  it('is pushed registration, weight, cluster, what is disabled, death and deregistration', async (t) => {
    const taped = await server(t, 'changes');
    const sink = new RecordingSink();
    const registry = await startedRegistry(t, at(taped, { transport: 'grpc' }));
    registry.subscribe({ name: 'web', tags: [] }, sink);
    await eventually(() => sink.sets.length > 0);
    expect(sink.told).toEqual([]);
    const metadata = { version: '7', tags: 'v1,eu' };
    let one: NacosApp;
    await taped.act('9001', async (server) => {
      one = await app(server);
      await one.register('web', 9001, { weight: 2.5, clusterName: 'b', metadata });
    });
    await eventually(() => expect(sink.told).toEqual(['9001 up 2.5']), SOON);
    expect(sink.endpoint(9001)).toMatchObject({ host: '127.0.0.1', zone: 'b', version: '7', tags: ['v1', 'eu'] });
    await taped.act('9002', async (server) => (await app(server)).register('web', 9002, { weight: 0 }));
    await eventually(() => expect(sink.told).toEqual(['9001 up 2.5', '9002 up 0']), SOON);
    const inB = new RecordingSink();
    registry.subscribe({ name: 'web', tags: ['eu'], datacenter: 'b' }, inB);
    await eventually(() => expect(inB.told).toEqual(['9001 up 2.5']), SOON);
    await taped.act('heavier', () => one.register('web', 9001, { weight: 7, clusterName: 'b', metadata }));
    await eventually(() => expect(sink.told[0]).toBe('9001 up 7'), SOON);
    await taped.act('deregister', () => one.deregister('web', 9001, { clusterName: 'b' }));
    await eventually(() => expect(sink.told).toEqual(['9002 up 0']), SOON);
    expect(sink.last!.suspicion).toBeNull();
    await taped.act('death', async () => apps.at(-1)!.die());
    await eventually(() => expect(sink.told).toEqual([]), { timeoutMs: 20_000 });
    // An empty push is not believed at once.
    expect(sink.sets.find(({ endpoints, suspicion }) => endpoints.length === 0 && suspicion !== null)).toMatchObject({
      suspicion: 'emptied',
    });
    expect(sink.errors).toEqual([]);
  });

  it('keeps everything while the server is gone, and subscribes anew when it is back', async (t) => {
    const taped = await server(t, 'gone');
    let one: NacosApp;
    await taped.act('register', async (server) => {
      one = await app(server);
      for (const port of [9001, 9002]) await one.register('kept', port);
    });
    const seen = watchedFeed(t, await startedRegistry(t, at(taped)), 'kept', 60_000);
    await eventually(() => seen.set.length === 2, SOON);
    seen.smallest = 2;
    await taped.goAway();
    await eventually(() => seen.feed.state.state === 'stale', SOON);
    await taped.comeBack();
    await eventually(() => seen.feed.state.state === 'live', { timeoutMs: 10_000 });
    await taped.act('another', async () => one.register('kept', 9003));
    await eventually(() => seen.set.length === 3, SOON);
    expect(seen.smallest).toBe(2);
    // Its own connection to the real server lived on: only ours was cut.
    await taped.act('one less', async () => one.deregister('kept', 9001));
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9002 up', '9003 up']), SOON);
  });

  it('does not believe a server that came back empty until the hold is over', async (t) => {
    const taped = await server(t, 'empty');
    if (!taped.canRestart) return t.skip('the server is not ours to end');
    await taped.act('register', async (server) => {
      const one = await app(server);
      for (const port of [9001, 9002]) await one.register('held', port);
    });
    const seen = watchedFeed(t, await startedRegistry(t, at(taped)), 'held', 3000);
    await eventually(() => seen.set.length === 2, SOON);
    await taped.restart();
    await taped.act('one is back', async (server) => (await app(server)).register('held', 9002));
    await eventually(() => seen.feed.state.state === 'held', { timeoutMs: 10_000 });
    expect(seen.set.length).toBe(2);
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9002 up']), { timeoutMs: 8000 });
  }, 60_000);

  it('keeps a service of its own registered, anew after its connection was lost, hands it on, and leaves', async (t) => {
    const taped = await server(t, 'own');
    const registry = await startedRegistry(t, at(taped));
    const sink = new RecordingSink();
    registry.subscribe({ name: 'me', tags: [] }, sink);
    await eventually(() => sink.sets.length > 0);
    const self = { service: 'me', id: 'me/1', host: '127.0.0.1', port: 7001, tags: ['a'], metadata: { zone: 'x' } };
    taped.step('register');
    const registered = await registry.register!({ ...self, weight: 3.5, ttlMs: 15_000 });
    await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), SOON);
    expect(sink.endpoint(7001)).toMatchObject({ zone: 'x', tags: ['a'] });
    await taped.goAway();
    await eventually(() => sink.errors.length > 0, SOON);
    const sets = sink.sets.length;
    await taped.comeBack();
    await eventually(() => sink.sets.length > sets, { timeoutMs: 10_000 });
    await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), SOON);
    taped.step('hand on');
    const [stranger, successor] = [await startedRegistry(t, at(taped)), await startedRegistry(t, at(taped))];
    const seen = new RecordingSink();
    stranger.subscribe({ name: 'me', tags: [] }, seen);
    await eventually(() => expect(seen.told).toEqual(['7001 up 3.5']), SOON);
    const taken = await successor.register!({ ...self, weight: 3.5, ttlMs: 15_000 });
    registered.release!();
    await registry.close();
    // A server tells of what goes with a connection as of any change.
    await taped.act('another', async (server) => (await app(server)).register('me', 7002));
    await eventually(() => expect(seen.told).toEqual(['7001 up 3.5', '7002 up 1']), SOON);
    expect(seen.sets.filter(({ endpoints }) => endpoints.every(({ port }) => port !== 7001))).toEqual([]);
    taped.step('leave');
    await taken.deregister();
    await eventually(() => expect(seen.told).toEqual(['7002 up 1']), SOON);
  });

  it('polls over HTTP where no gRPC gets through, and registers there too', async (t) => {
    const taped = await server(t, 'http');
    const log: string[] = [];
    const registry = await startedRegistry(t, { ...at(taped), grpcPort: 1, interval: '200ms' }, log);
    const sink = new RecordingSink();
    registry.subscribe({ name: 'polled', tags: [] }, sink);
    await eventually(() => sink.sets.length > 0, SOON);
    expect(log.filter((line) => line.includes('its services are polled'))).toHaveLength(1);
    taped.step('register');
    const self = { service: 'polled', id: 'p', host: '127.0.0.1', port: 7002, tags: ['a'], metadata: { zone: 'x' } };
    const registered = await registry.register!({ ...self, weight: 2, ttlMs: 3000 });
    await eventually(() => expect(sink.told).toEqual(['7002 up 2']), SOON);
    expect(sink.endpoint(7002)).toMatchObject({ zone: 'x', tags: ['a'] });
    const beats = () => taped.asked.filter((key) => key.startsWith('PUT /nacos/v1/ns/instance/beat')).length;
    await eventually(() => beats() > 1, SOON);
    taped.step('leave');
    await registered.deregister();
    await eventually(() => expect(sink.told).toEqual([]), SOON);
  });

  it('loses no request while the server is gone', async (t) => {
    const origins = await Promise.all([startOrigin({ name: 'a' }), startOrigin({ name: 'b' })]);
    t.onTestFinished(() => void Promise.all(origins.map((origin) => origin.close())));
    const ports = origins.map(({ port }) => port);
    const taped = await server(t, 'load', ports);
    await taped.act('register', async (server) => {
      const one = await app(server);
      for (const port of ports) await one.register('load', port);
    });
    await expectNothingLostInAnOutage(taped, at(taped), origins);
  }, 120_000);
});
