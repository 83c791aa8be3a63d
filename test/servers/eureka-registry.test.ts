import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startOrigin } from '../helpers/origin.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { refusingPort } from '../helpers/refusing-port.ts';
import { EurekaApp, realEureka } from './eureka-server.ts';
import { expectNothingLostInAnOutage } from './outage-under-load.ts';
import { portsOf, startedRegistry, watchedFeed } from './registry-watching.ts';
import { type RealServer, TapedServer } from './taped-server.ts';

/** The server's cache, one poll and the load of a machine. */
const SOON = { timeoutMs: 5000 };

describe('the eureka registry', () => {
  let real: RealServer | null = null;
  beforeAll(async () => {
    real = await realEureka();
  }, 150_000);
  afterAll(() => real?.stop());

  async function server({ onTestFinished }: TestContext, name: string, ports: number[] = []): Promise<TapedServer> {
    const taped = await TapedServer.start(`eureka-${name}`, real, ports);
    onTestFinished(() => taped[Symbol.asyncDispose]());
    return taped;
  }

  const at = (server: TapedServer, more: Record<string, unknown> = {}) => ({
    kind: 'eureka',
    address: `${server.address}/eureka`,
    interval: '200ms',
    ...more,
  });

  it('delivers registration, weight, zone, statuses and deregistration', async (t) => {
    const taped = await server(t, 'changes');
    const sink = new RecordingSink();
    const registry = await startedRegistry(t, at(taped));
    registry.subscribe({ name: 'web', tags: [] }, sink);
    await eventually(() => sink.sets.length > 0);
    expect(sink.told).toEqual([]);
    const metadata = { weight: '2.5', zone: 'a', version: '7', tags: 'v1, eu' };
    await taped.act('register 9001', (server) => new EurekaApp(server).register('web', 9001, { metadata }));
    await eventually(() => expect(sink.told).toEqual(['9001 up 2.5']), SOON);
    expect(sink.endpoint(9001)).toMatchObject({ host: '127.0.0.1', zone: 'a', version: '7', tags: ['v1', 'eu'] });
    const secure = { port: { $: 9002, '@enabled': false }, securePort: { $: 9402, '@enabled': true } };
    await taped.act('register 9002', (server) => new EurekaApp(server).register('web', 9002, secure));
    await eventually(() => expect(sink.told).toEqual(['9001 up 2.5', '9402 up 1']), SOON);
    const tagged = new RecordingSink();
    registry.subscribe({ name: 'web', tags: ['eu'] }, tagged);
    expect(tagged.told).toEqual(['9001 up 2.5']);
    for (const [status, ours] of [
      ['OUT_OF_SERVICE', 'draining'],
      ['DOWN', 'down'],
      ['STARTING', 'down'],
      ['UNKNOWN', 'unknown'],
      ['UP', 'up'],
    ]) {
      await taped.act(status, (server) => new EurekaApp(server).status('web', 9001, status));
      await eventually(() => expect(sink.told[0]).toBe(`9001 ${ours} 2.5`), SOON);
    }
    await taped.act('deregister 9001', (server) => new EurekaApp(server).deregister('web', 9001));
    await eventually(() => expect(sink.told).toEqual(['9402 up 1']), SOON);
    await taped.act('deregister 9002', (server) => new EurekaApp(server).deregister('web', 9002));
    await eventually(() => expect(sink.told).toEqual([]), SOON);
    expect(sink.errors).toEqual([]);
    expect(new Set(sink.sets.map(({ suspicion }) => suspicion))).toEqual(new Set([null]));
  });

  it('finds services by VIP and by secure VIP, with the port that belongs to it', async (t) => {
    const taped = await server(t, 'vips');
    const both = { port: { $: 9001, '@enabled': true }, securePort: { $: 9401, '@enabled': true } };
    const vips = { vipAddress: 'shop,orders', secureVipAddress: 'safe' };
    await taped.act('register', (server) => new EurekaApp(server).register('some', 9001, { ...both, ...vips }));
    const [vip, secure] = [new RecordingSink(), new RecordingSink()];
    (await startedRegistry(t, at(taped, { by: 'vip' }))).subscribe({ name: 'orders', tags: [] }, vip);
    (await startedRegistry(t, at(taped, { by: 'secure-vip' }))).subscribe({ name: 'safe', tags: [] }, secure);
    await eventually(() => expect([vip.told, secure.told]).toEqual([['9001 up 1'], ['9401 up 1']]), SOON);
    await taped.act('deregister', (server) => new EurekaApp(server).deregister('some', 9001));
  });

  it('drops an endpoint that died without a goodbye when the server does: its lease is over', async (t) => {
    const taped = await server(t, 'dies');
    const leaseInfo = { renewalIntervalInSecs: 1, durationInSecs: 1 };
    await taped.act('register', async (server) => {
      await new EurekaApp(server).register('dying', 9001, { leaseInfo });
      await new EurekaApp(server).register('dying', 9002);
    });
    const sink = new RecordingSink();
    (await startedRegistry(t, at(taped))).subscribe({ name: 'dying', tags: [] }, sink);
    await eventually(() => expect(sink.told).toEqual(['9001 up 1', '9002 up 1']), SOON);
    await taped.act('time passes', async (server) => {
      const gone = async () => !(await (await fetch(`${server.address}/eureka/apps`)).text()).includes('dying:9001');
      await eventually(gone, { timeoutMs: 10_000 });
    });
    await eventually(() => expect(sink.told).toEqual(['9002 up 1']), SOON);
    expect(sink.last!.suspicion).toBeNull();
    await taped.act('clean', (server) => new EurekaApp(server).deregister('dying', 9002));
  });

  it('keeps everything while the server is gone, and follows changes again when it is back', async (t) => {
    const taped = await server(t, 'gone');
    await taped.act('register', async (server) => {
      for (const port of [9001, 9002, 9003]) await new EurekaApp(server).register('kept', port);
    });
    const seen = watchedFeed(t, await startedRegistry(t, at(taped)), 'kept', 60_000);
    await eventually(() => seen.set.length === 3, SOON);
    seen.smallest = 3;
    await taped.goAway();
    await eventually(() => seen.feed.state.state === 'stale', SOON);
    expect(seen.feed.state.error).toContain('refuses connections');
    await taped.comeBack();
    await eventually(() => seen.feed.state.state === 'live', { timeoutMs: 10_000 });
    await taped.act('another', (server) => new EurekaApp(server).register('kept', 9004));
    await eventually(() => seen.set.length === 4, SOON);
    await taped.act('one less', (server) => new EurekaApp(server).deregister('kept', 9001));
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9002 up', '9003 up', '9004 up']), SOON);
    expect(seen.smallest).toBe(3);
    await taped.act('clean', (server) => new EurekaApp(server).deregister('kept', 9002, 9003, 9004));
  });

  it('asks for everything where a delta does not fit its hash, and takes nothing away for it', async (t) => {
    const taped = await server(t, 'hash');
    await taped.act('register', (server) => new EurekaApp(server).register('proven', 9001));
    const sink = new RecordingSink();
    (await startedRegistry(t, at(taped))).subscribe({ name: 'proven', tags: [] }, sink);
    await eventually(() => sink.told.length === 1, SOON);
    const wholes = () => taped.asked.filter((key) => key === 'GET /eureka/apps').length;
    const deltas = () => taped.asked.filter((key) => key === 'GET /eureka/apps/delta').length;
    const [before, told] = [deltas(), sink.sets.length - 1];
    await eventually(() => deltas() > before + 2, SOON);
    const fitting = wholes();
    await eventually(() => deltas() > before + 5, SOON);
    // Where they fit, nothing more is asked for.
    expect(wholes()).toBe(fitting);
    taped.distort = (key, body) =>
      key.endsWith('/delta') ? body.replace(/"apps__hashcode":"[^"]*"/, '"apps__hashcode":"UP_77_"') : body;
    await eventually(() => wholes() > fitting + 1, SOON);
    taped.distort = null;
    expect(new Set(sink.sets.slice(told).map(({ endpoints }) => endpoints.length))).toEqual(new Set([1]));
    expect(sink.last!.suspicion).toBeNull();
    await taped.act('clean', (server) => new EurekaApp(server).deregister('proven', 9001));
  });

  it('asks the next server where one refuses, without a word to the pools', async (t) => {
    const taped = await server(t, 'two');
    await taped.act('register', (server) => new EurekaApp(server).register('pair', 9001));
    await using gone = await refusingPort();
    const sink = new RecordingSink();
    const address = [`http://127.0.0.1:${gone.port}/eureka`, `${taped.address}/eureka`];
    (await startedRegistry(t, at(taped, { address }))).subscribe({ name: 'pair', tags: [] }, sink);
    await eventually(() => expect(sink.told).toEqual(['9001 up 1']), SOON);
    expect(sink.errors).toEqual([]);
    await taped.act('clean', (server) => new EurekaApp(server).deregister('pair', 9001));
  });

  it('keeps a service of its own registered, also when somebody removed it, hands it on, and leaves', async (t) => {
    const taped = await server(t, 'own');
    const registry = await startedRegistry(t, at(taped));
    const sink = new RecordingSink();
    registry.subscribe({ name: 'me', tags: [] }, sink);
    await eventually(() => sink.sets.length > 0);
    const self = { service: 'me', id: 'me/1', host: '127.0.0.1', port: 7001, tags: ['a'], metadata: { zone: 'x' } };
    taped.step('register');
    const registered = await registry.register!({ ...self, weight: 3.5, ttlMs: 1500 });
    await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), SOON);
    expect(sink.endpoint(7001)).toMatchObject({ zone: 'x', tags: ['a'] });
    const beats = () => taped.asked.filter((key) => key === 'PUT /eureka/apps/ME/me%3A1').length;
    const registrations = () => taped.asked.filter((key) => key === 'POST /eureka/apps/ME').length;
    await eventually(() => beats() > 3, SOON);
    expect(registrations()).toBe(1);
    await taped.act('removed', (server) => new EurekaApp(server).remove('me', 'me:1'));
    await eventually(() => registrations() === 2, SOON);
    await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), SOON);
    taped.step('hand on');
    const successor = await startedRegistry(t, at(taped));
    const before = sink.sets.length;
    const taken = await successor.register!({ ...self, weight: 3.5, ttlMs: 1500 });
    registered.release!();
    const handed = beats();
    await eventually(() => beats() > handed + 4, SOON);
    expect(sink.told).toEqual(['7001 up 3.5']);
    expect(sink.sets.slice(before).filter(({ endpoints }) => endpoints.length !== 1)).toEqual([]);
    taped.step('leave');
    await taken.deregister();
    await eventually(() => expect(sink.told).toEqual([]), SOON);
    const last = beats();
    const sets = sink.sets.length;
    await eventually(() => sink.sets.length > sets + 4, SOON);
    expect(beats()).toBe(last);
  });

  it('loses no request while the server is gone', async (t) => {
    const origins = await Promise.all([startOrigin({ name: 'a' }), startOrigin({ name: 'b' })]);
    t.onTestFinished(() => void Promise.all(origins.map((origin) => origin.close())));
    const ports = origins.map(({ port }) => port);
    const taped = await server(t, 'load', ports);
    await taped.act('register', async (server) => {
      for (const port of ports) await new EurekaApp(server).register('load', port);
    });
    await expectNothingLostInAnOutage(taped, at(taped), origins);
    await taped.act('clean', (server) => new EurekaApp(server).deregister('load', ...ports));
  }, 120_000);

  it('does not believe a server that came back empty until the hold is over', async (t) => {
    const taped = await server(t, 'empty');
    if (!taped.canRestart) return t.skip('the server is not ours to end');
    await taped.act('register', async (server) => {
      for (const port of [9001, 9002]) await new EurekaApp(server).register('held', port);
    });
    const seen = watchedFeed(t, await startedRegistry(t, at(taped)), 'held', 3000);
    await eventually(() => seen.set.length === 2, SOON);
    await taped.restart();
    await taped.act('one is back', (server) => new EurekaApp(server).register('held', 9002));
    await eventually(() => seen.feed.state.state === 'held', { timeoutMs: 10_000 });
    expect(seen.set.length).toBe(2);
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9002 up']), { timeoutMs: 8000 });
    expect(seen.feed.state).toMatchObject({ state: 'live', heldReason: null });
  }, 120_000);
});
