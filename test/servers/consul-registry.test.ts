import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { registries } from '../../src/discovery/catalog.ts';
import type { Registry } from '../../src/discovery/registry.ts';
import { ConsulApp } from '../helpers/consul-app.ts';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/ports.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { requireServer } from '../helpers/require-server.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
import { findConsul } from './consul.ts';
import { embeddedServer, type RegistryServerUnderTest, realConsul } from './registry-servers.ts';
import { portsOf, watchedFeed } from './registry-watching.ts';

/** A change is delivered within this time. */
const SOON = { timeoutMs: 1000 };

const servers = [
  { name: 'real Consul', start: realConsul, skip: requireServer('consul', findConsul()) },
  { name: 'the embedded registry', start: embeddedServer, skip: false },
];

function consulAt(address: string, more: Record<string, unknown> = {}, log: string[] = []): Registry {
  const settings = registries.schema().parse({ kind: 'consul', address, wait: '2s', ...more });
  const context = {
    name: 'consul',
    clock: systemClock,
    random: systemRandom,
    log: (level: string, message: string) => void log.push(`${level} ${message}`),
  };
  return registries.create(settings, context);
}

async function registryAt({ onTestFinished }: TestContext, ...at: Parameters<typeof consulAt>): Promise<Registry> {
  const registry = consulAt(...at);
  onTestFinished(() => registry.close());
  await registry.start();
  return registry;
}

describe.each(servers)('the consul registry against $name', ({ start, skip }) => {
  describe.skipIf(skip)('that nobody harms', () => {
    let server: RegistryServerUnderTest;
    beforeAll(async () => {
      server = await start();
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    it('delivers registration, weight, checks, maintenance and deregistration within a second', async (t) => {
      const { address } = server;
      const app = new ConsulApp(address);
      const registry = await registryAt(t, address);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'web', tags: [] }, sink);
      await eventually(() => sink.sets.length > 0);
      expect(sink.told).toEqual([]);

      await app.register('web', 9001, { Weights: { Passing: 5, Warning: 2 }, Tags: ['v1', 'zone=a'] });
      await eventually(() => expect(sink.told).toEqual(['9001 up 5']), SOON);
      expect(sink.endpoint(9001)).toMatchObject({ host: '127.0.0.1', zone: 'a', tags: ['v1', 'zone=a'] });
      await app.register('web', 9002, { Meta: { weight: '2.5', version: '7', zone: 'b' } });
      await eventually(() => expect(sink.told).toEqual(['9001 up 5', '9002 up 2.5']), SOON);
      expect(sink.endpoint(9002)).toMatchObject({ version: '7', zone: 'b', metadata: { version: '7' } });
      await app.check('web', 9001, 'warn');
      await eventually(() => expect(sink.told[0]).toBe('9001 warning 2'), SOON);
      await app.check('web', 9001, 'fail');
      await eventually(() => expect(sink.told[0]).toBe('9001 down 5'), SOON);
      await app.check('web', 9001, 'pass');
      await eventually(() => expect(sink.told[0]).toBe('9001 up 5'), SOON);
      await app.maintenance('web', 9001, true);
      await eventually(() => expect(sink.told[0]).toBe('9001 draining 5'), SOON);
      await app.maintenance('web', 9001, false);
      await eventually(() => expect(sink.told[0]).toBe('9001 up 5'), SOON);
      await app.deregister('web', 9001);
      await eventually(() => expect(sink.told).toEqual(['9002 up 2.5']), SOON);
      await app.deregister('web', 9002);
      await eventually(() => expect(sink.told).toEqual([]), SOON);
      expect(sink.errors).toEqual([]);
      expect(new Set(sink.sets.map(({ suspicion }) => suspicion))).toEqual(new Set([null]));
    });

    it('tells a pool only of endpoints that carry all its tags', async (t) => {
      const { address } = server;
      const app = new ConsulApp(address);
      const registry = await registryAt(t, address);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'tagged', tags: ['v2', 'eu'] }, sink);
      await app.register('tagged', 9001, { Tags: ['v2'] });
      await app.register('tagged', 9002, { Tags: ['eu', 'v2'] });
      await eventually(() => expect(sink.told).toEqual(['9002 up 1']), SOON);
      await app.register('tagged', 9001, { Tags: ['v2', 'eu'] });
      await eventually(() => expect(sink.told).toEqual(['9001 up 1', '9002 up 1']), SOON);
    });

    it('takes the endpoints of a service away one by one, the last one too, at once', async (t) => {
      const { address } = server;
      const app = new ConsulApp(address);
      for (const port of [9001, 9002, 9003]) await app.register('leaving', port);
      const seen = watchedFeed(t, await registryAt(t, address), 'leaving', 60_000);
      await eventually(() => seen.set.length === 3);
      for (const port of [9001, 9002, 9003]) await app.deregister('leaving', port);
      await eventually(() => expect(seen.set).toEqual([]), SOON);
      expect(seen.states).toEqual(['live']);
    });

    it('leaves nothing open after close', async () => {
      const { address } = server;
      const before = process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
      const registry = consulAt(address);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'closing', tags: [] }, sink);
      await registry.start();
      await eventually(() => sink.sets.length > 0);
      const told = sink.sets.length;
      await registry.close();
      await eventually(
        () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length <= before,
      );
      await new ConsulApp(address).register('closing', 9001);
      expect(sink.sets.length).toBe(told);
    });
  });
});

// Each with a server of its own; they wait most of the time, so that they do it side by side.
describe.concurrent.each(servers)('the consul registry against $name', ({ start, skip }) => {
  async function server({ onTestFinished }: TestContext): Promise<RegistryServerUnderTest> {
    const started = await start();
    onTestFinished(() => started[Symbol.asyncDispose]());
    return started;
  }

  it.skipIf(skip)(
    'keeps every endpoint while the server is killed and comes back with its data, and follows changes again',
    async (t) => {
      const started = await server(t);
      const app = new ConsulApp(started.address);
      for (const port of [9001, 9002, 9003]) await app.register('web', port);
      const seen = watchedFeed(t, await registryAt(t, started.address), 'web', 60_000);
      await eventually(() => seen.set.length === 3);
      seen.smallest = Number.POSITIVE_INFINITY;
      await started.kill();
      await eventually(() => seen.feed.state.state === 'stale', { timeoutMs: 2000 });
      await eventually(() => expect(seen.feed.state.error).toContain('refuses connections'));
      await started.comeBack('with its data');
      await eventually(() => seen.feed.state.state !== 'stale', { timeoutMs: 15_000 });
      // Consul comes back with TTL checks critical when the last heartbeat was not saved or is too old: until the next one they are held.
      for (const port of [9001, 9002, 9003]) await app.check('web', port, 'pass');
      await eventually(() => expect(portsOf(seen.set)).toEqual(['9001 up', '9002 up', '9003 up']), SOON);
      expect(seen.feed.state.state).toBe('live');
      await app.register('web', 9004);
      await eventually(() => seen.set.length === 4, SOON);
      await app.deregister('web', 9001);
      await eventually(() => expect(portsOf(seen.set)).toEqual(['9002 up', '9003 up', '9004 up']), SOON);
      expect(seen.smallest).toBe(3);
    },
  );

  it.skipIf(skip)('keeps every endpoint when the server comes back empty and is told of them one by one', async (t) => {
    const started = await server(t);
    const app = new ConsulApp(started.address);
    for (const port of [9001, 9002, 9003]) await app.register('web', port);
    const seen = watchedFeed(t, await registryAt(t, started.address), 'web', 60_000);
    await eventually(() => seen.set.length === 3);
    const generations = seen.set.map(({ generation }) => generation);
    seen.smallest = 3;
    await started.kill();
    await started.comeBack('empty');
    await eventually(() => seen.feed.state.state === 'held', { timeoutMs: 15_000 });
    expect(portsOf(seen.set)).toEqual(['9001 unknown', '9002 unknown', '9003 unknown']);
    // Another ID first, so that the registry's own numbers differ from before.
    await app.register('other', 1);
    await app.register('web', 9002);
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9001 unknown', '9002 up', '9003 unknown']), SOON);
    await app.register('web', 9001);
    await app.register('web', 9003);
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9001 up', '9002 up', '9003 up']), SOON);
    expect(seen.feed.state.state).toBe('live');
    expect(seen.set.map(({ generation }) => generation)).toEqual(generations);
    expect(seen.smallest).toBe(3);
    await app.deregister('web', 9002);
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9001 up', '9003 up']), SOON);
  });

  it.skipIf(skip)('believes an empty server when nobody registered again until the hold was over', async (t) => {
    const started = await server(t);
    const app = new ConsulApp(started.address);
    for (const port of [9001, 9002]) await app.register('web', port);
    const seen = watchedFeed(t, await registryAt(t, started.address), 'web', 3000);
    await eventually(() => seen.set.length === 2);
    await started.kill();
    await started.comeBack('empty');
    await app.register('web', 9002);
    await eventually(() => seen.feed.state.state === 'held', { timeoutMs: 15_000 });
    expect(seen.set.length).toBe(2);
    await eventually(() => expect(portsOf(seen.set)).toEqual(['9002 up']), { timeoutMs: 6000 });
    expect(seen.feed.state).toMatchObject({ state: 'live', heldReason: null });
  });

  it.skipIf(skip)('notices a frozen server long before its poll times out, and goes on when it thaws', async (t) => {
    const started = await server(t);
    const app = new ConsulApp(started.address);
    await app.register('web', 9001);
    const seen = watchedFeed(t, await registryAt(t, started.address, { wait: '55s' }), 'web', 60_000);
    await eventually(() => seen.set.length === 1);
    expect(seen.feed.ageMs).toBe(0);
    started.freeze();
    await eventually(() => seen.feed.state.state === 'stale', { timeoutMs: 20_000 });
    expect(seen.feed.state.error).toContain('does not answer in time');
    expect(seen.feed.ageMs).toBeGreaterThan(1000);
    expect(portsOf(seen.set)).toEqual(['9001 up']);
    started.thaw();
    await eventually(() => seen.feed.state.state === 'live', { timeoutMs: 10_000 });
    await app.register('web', 9002);
    await eventually(() => seen.set.length === 2, SOON);
  });

  it.skipIf(skip)(
    'serves 250 services over its 150 connections: 140 watched, the others asked now and then',
    async (t) => {
      const { address } = await server(t);
      const app = new ConsulApp(address);
      await app.register('s-0', 9001);
      await app.register('s-249', 9249);
      const log: string[] = [];
      const registry = await registryAt(t, address, { wait: '30s' }, log);
      const sinks = Array.from({ length: 250 }, () => new RecordingSink());
      for (const [i, sink] of sinks.entries()) registry.subscribe({ name: `s-${i}`, tags: [] }, sink);
      await eventually(() => sinks.every((sink) => sink.sets.length > 0), { timeoutMs: 10_000 });
      expect(sinks.flatMap(({ errors }) => errors)).toEqual([]);
      expect(sinks[249].told).toEqual(['9249 up 1']);
      expect(log.filter((line) => line.includes('more services than connections'))).toHaveLength(1);
      await app.register('s-139', 9139);
      await eventually(() => expect(sinks[139].told).toEqual(['9139 up 1']), SOON);
      await app.register('s-200', 9200);
      await eventually(() => expect(sinks[200].told).toEqual(['9200 up 1']), { timeoutMs: 13_000 });
      expect(sinks.flatMap(({ errors }) => errors)).toEqual([]);
    },
  );

  it.skipIf(skip)(
    'keeps a service of its own registered, also when the server lost everything, and hands it on',
    async (t) => {
      const started = await server(t);
      const registry = await registryAt(t, started.address);
      const app = new ConsulApp(started.address);
      const self = { service: 'me', id: 'me/1', host: '127.0.0.1', port: 7001, tags: ['a'], metadata: { zone: 'x' } };
      const registered = await registry.register!({ ...self, weight: 3.5, ttlMs: 1500 });
      const sink = new RecordingSink();
      registry.subscribe({ name: 'me', tags: [] }, sink);
      await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), SOON);
      // Its TTL would be over by now without heartbeats.
      const sets = sink.sets.length;
      await eventually(() => sink.sets.length > sets + 1, { timeoutMs: 8000 });
      expect(sink.told).toEqual(['7001 up 3.5']);
      await started.kill();
      await started.comeBack('empty');
      // It may be back before the first answer, and before that the last answer is still the old one.
      await eventually(() => sink.last?.suspicion === 'after-reconnect' || sink.told.length === 0, {
        timeoutMs: 15_000,
      });
      await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']), { timeoutMs: 10_000 });
      await registered.deregister();
      await eventually(() => expect(sink.told).toEqual([]), SOON);
      const answer = await app.ask('GET', '/v1/health/service/me');
      expect(await answer.json()).toEqual([]);
    },
  );
});

const noConsul = requireServer('consul', findConsul());

describe('the consul registry against a real Consul with access control', () => {
  it.skipIf(noConsul)('says that a refused token is refused, and takes nothing away', async () => {
    const acl =
      'acl { enabled = true default_policy = "allow" tokens { master = "00000000-0000-4000-8000-000000000001" } }';
    await using server = await realConsul([acl]);
    const app = new ConsulApp(server.address, '00000000-0000-4000-8000-000000000001');
    await eventually(() => app.register('web', 9001).then(() => true), { timeoutMs: 15_000 });
    const good = consulAt(server.address, { token: '00000000-0000-4000-8000-000000000001' });
    const bad = consulAt(server.address, { token: '00000000-0000-4000-8000-00000000dead' });
    try {
      const [told, refused] = [new RecordingSink(), new RecordingSink()];
      good.subscribe({ name: 'web', tags: [] }, told);
      bad.subscribe({ name: 'web', tags: [] }, refused);
      await Promise.all([good.start(), bad.start()]);
      await eventually(() => expect(told.told).toEqual(['9001 up 1']));
      await eventually(() => refused.errors.length > 0);
      expect(refused.sets).toEqual([]);
      expect(refused.errors[0]).toMatchObject({ code: 'registry-denied', retryable: false });
      expect(refused.errors[0].message).toContain('ACL not found');
      expect(refused.errors[0].message).toContain('service:read');
      const self = {
        service: 'me',
        id: 'me',
        host: '127.0.0.1',
        port: 1,
        weight: 1,
        tags: [],
        metadata: {},
        ttlMs: 5000,
      };
      await expect(bad.register!(self)).rejects.toMatchObject({ code: 'registry-denied' });
    } finally {
      await Promise.all([good.close(), bad.close()]);
    }
  });
});

describe('the consul registry against a real Consul over TLS', () => {
  it.skipIf(noConsul)(
    'watches 450 services on three HTTP/2 connections, and trusts only the given authority',
    async () => {
      await using directory = await temporaryDirectory('consul-tls');
      const consul = findConsul()!;
      const run = promisify(execFile);
      await run(consul, ['tls', 'ca', 'create'], { cwd: directory.path });
      await run(consul, ['tls', 'cert', 'create', '-server'], { cwd: directory.path });
      const file = (name: string) => join(directory.path, name);
      const [ca, cert, key] = ['consul-agent-ca.pem', 'dc1-server-consul-0.pem', 'dc1-server-consul-0-key.pem'].map(
        file,
      );
      const port = await freePort();
      await using server = await realConsul([
        `ports { https = ${port} }`,
        `ca_file = "${ca}"`,
        `cert_file = "${cert}"`,
        `key_file = "${key}"`,
      ]);
      const app = new ConsulApp(server.address);
      await app.register('s-0', 9001);
      const address = `https://127.0.0.1:${port}`;
      const registry = consulAt(address, { wait: '30s', tls: { ca, serverName: 'server.dc1.consul' } });
      const stranger = consulAt(address, {});
      try {
        const refused = new RecordingSink();
        stranger.subscribe({ name: 's-0', tags: [] }, refused);
        await stranger.start();
        await eventually(() => refused.errors.length > 0);
        expect(refused.sets).toEqual([]);
        expect(refused.errors[0].code).toBe('registry-unreachable');
        await stranger.close();

        const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
        const before = sockets();
        const sinks = Array.from({ length: 450 }, () => new RecordingSink());
        for (const [i, sink] of sinks.entries()) registry.subscribe({ name: `s-${i}`, tags: [] }, sink);
        await registry.start();
        await eventually(() => sinks.every((sink) => sink.sets.length > 0), { timeoutMs: 15_000 });
        expect(sockets() - before).toBeLessThanOrEqual(3);
        await app.register('s-449', 9449);
        await eventually(() => expect(sinks[449].told).toEqual(['9449 up 1']), SOON);
        expect(sinks.flatMap(({ errors }) => errors)).toEqual([]);
        const self = {
          service: 's-1',
          id: 'me',
          host: '127.0.0.1',
          port: 7,
          weight: 1,
          tags: [],
          metadata: {},
          ttlMs: 5000,
        };
        const registered = await registry.register!(self);
        await eventually(() => expect(sinks[1].told).toEqual(['7 up 1']), SOON);
        await registered.deregister();
        await eventually(() => expect(sinks[1].told).toEqual([]), SOON);
      } finally {
        await Promise.all([registry.close(), stranger.close()]);
      }
    },
    60_000,
  );
});
