import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { registries } from '../../src/discovery/catalog.ts';
import { RegistryServer } from '../../src/discovery/embedded/server.ts';
import type { Registry } from '../../src/discovery/registry.ts';
import { ConsulApp } from '../helpers/consul-app.ts';
import { DnsDouble } from '../helpers/dns-double.ts';
import { startEtcdDouble } from '../helpers/etcd-double.ts';
import { eventually } from '../helpers/eventually.ts';
import { KubernetesDouble } from '../helpers/kubernetes-double.ts';
import { NacosPeer } from '../helpers/nacos-peer.ts';
import { freePort } from '../helpers/ports.ts';
import { RecordingSink } from '../helpers/recording-sink.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
import { startZookeeperDouble } from '../helpers/zookeeper-double.ts';
import { EurekaApp, realEureka } from '../servers/eureka-server.ts';
import { type RealServer, TapedServer } from '../servers/taped-server.ts';

/** A registry of one kind with a world around it: the service `web` has the endpoints 9001 and 9002. */
interface World {
  readonly registry: Registry;
  /** Makes the registry unreachable; absent where there is nothing to reach. */
  outage?(): Promise<void>;
  /** Adds 9003 to `web`; absent where nothing changes. */
  change?(): Promise<void>;
  close(): Promise<void>;
}

const context = { name: 'law', clock: systemClock, random: systemRandom, log: () => {} };
const create = (settings: Record<string, unknown>) => registries.create(registries.schema().parse(settings), context);

async function fill(address: string): Promise<void> {
  const app = new ConsulApp(address);
  for (const port of [9001, 9002]) await app.register('web', port);
}

/** One real server for all laws, where there is one; else they play tapes. */
let eureka: Promise<RealServer | null> | null = null;
afterAll(async () => {
  await (await eureka)?.stop();
});

/** One line a kind: without it the laws fail for the kind. */
const worlds: Record<string, () => Promise<World>> = {
  async static() {
    const services = { web: [{ address: '127.0.0.1:9001' }, { address: '127.0.0.1:9002', tags: ['v2'] }] };
    const registry = create({ kind: 'static', services });
    return { registry, close: () => registry.close() };
  },
  async consul() {
    let server = new RegistryServer({ bind: '127.0.0.1:0', data: null }, context);
    await server.start();
    const { port } = server.address;
    const address = `http://127.0.0.1:${port}`;
    await fill(address);
    const registry = create({ kind: 'consul', address, wait: '5s' });
    return {
      registry,
      change: () => new ConsulApp(address).register('web', 9003),
      outage: () => server.close(),
      async close() {
        await registry.close();
        await server.close();
        server = null as never;
      },
    };
  },
  async eureka() {
    eureka ??= realEureka();
    const real = await eureka;
    // Each law has a tape of its own: it divides its time in its own way.
    const law = expect.getState().currentTestName!.split(' > ').at(-1)!;
    const server = await TapedServer.start(`laws/eureka-${law.replaceAll(/\W+/g, '-').slice(0, 32)}`, real);
    await server.act('fill', async (at) => {
      for (const port of [9001, 9002]) await new EurekaApp(at).register('web', port);
    });
    const registry = create({ kind: 'eureka', address: `${server.address}/eureka`, interval: '150ms' });
    return {
      registry,
      change: () => server.act('change', (at) => new EurekaApp(at).register('web', 9003)),
      outage: () => server.goAway(),
      async close() {
        await registry.close();
        if (real !== null) await new EurekaApp(real).deregister('web', 9001, 9002, 9003).catch(() => {});
        await server[Symbol.asyncDispose]();
      },
    };
  },
  async nacos() {
    const peer = await NacosPeer.start();
    for (const port of [9001, 9002]) peer.put('web', port);
    const registry = create({ kind: 'nacos', address: 'http://127.0.0.1:1/nacos', grpcPort: peer.port });
    return {
      registry,
      change: async () => peer.put('web', 9003),
      outage: () => peer.goAway(),
      async close() {
        await registry.close();
        await peer.goAway();
      },
    };
  },
  async embedded() {
    const directory = await temporaryDirectory('law');
    const port = await freePort();
    const settings = { kind: 'embedded', bind: `127.0.0.1:${port}`, data: join(directory.path, 'data') };
    // Services outlive the process: an earlier one left these.
    const before = create(settings);
    await before.start();
    await fill(`http://127.0.0.1:${port}`);
    await before.close();
    const registry = create(settings);
    return {
      registry,
      change: () => new ConsulApp(`http://127.0.0.1:${port}`).register('web', 9003),
      async close() {
        await registry.close();
        await directory.close();
      },
    };
  },
  async zookeeper() {
    const server = await startZookeeperDouble();
    for (const port of [9001, 9002]) server.put(`/services/web/${port}`, `127.0.0.1:${port}`);
    const registry = create({ kind: 'zookeeper', address: `127.0.0.1:${server.port}` });
    return {
      registry,
      change: async () => server.put('/services/web/9003', '127.0.0.1:9003'),
      outage: () => server.close(),
      async close() {
        await registry.close();
        await server.close();
      },
    };
  },
  async etcd() {
    const server = await startEtcdDouble();
    for (const port of [9001, 9002]) server.put(`/services/web/${port}`, `127.0.0.1:${port}`);
    const registry = create({ kind: 'etcd', address: server.address });
    return {
      registry,
      change: async () => server.put('/services/web/9003', '127.0.0.1:9003'),
      outage: () => server.close(),
      async close() {
        await registry.close();
        await server.close();
      },
    };
  },
  async kubernetes() {
    const server = new KubernetesDouble();
    await server.start();
    const put = (port: number) =>
      server.put(`web-${port}`, { service: 'web', ports: [{ port }] }, [{ address: '127.0.0.1' }]);
    for (const port of [9001, 9002]) put(port);
    const registry = create({ kind: 'kubernetes', server: server.address });
    return {
      registry,
      change: async () => put(9003),
      outage: () => server.stop(),
      async close() {
        await registry.close();
        await server.stop();
      },
    };
  },
  async dns() {
    const server = new DnsDouble();
    await server.start();
    const srv = (port: number) =>
      ({ type: 'SRV', name: 'web', ttl: 0, data: { port, target: 'a.web', priority: 1, weight: 1 } }) as const;
    server.records.push(srv(9001), srv(9002), { type: 'A', name: 'a.web', ttl: 0, data: '127.0.0.1' });
    const settings = { kind: 'dns', resolvers: [server.address], family: 'ipv4', ttl: { min: '200ms' } };
    const registry = create(settings);
    return {
      registry,
      change: async () => void server.records.push(srv(9003)),
      outage: () => server.stop(),
      async close() {
        await registry.close();
        await server.stop();
      },
    };
  },
  async file() {
    const directory = await temporaryDirectory('law');
    const path = await directory.write('services.json', services([9001, 9002]));
    const registry = create({ kind: 'file', path });
    return {
      registry,
      change: async () => void (await directory.write('services.json', services([9001, 9002, 9003]))),
      outage: async () => void (await directory.write('services.json', '{ services: { web: [')),
      async close() {
        await registry.close();
        await directory.close();
      },
    };
  },
  async http() {
    let ports = [9001, 9002];
    const server = createHttpServer((_request, response) => response.end(services(ports))).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const registry = create({ kind: 'http', url: `http://127.0.0.1:${port}/`, interval: '200ms' });
    const stop = async () => {
      server.closeAllConnections();
      server.close();
    };
    return {
      registry,
      change: async () => {
        ports = [...ports, 9003];
      },
      outage: stop,
      async close() {
        await registry.close();
        await stop();
      },
    };
  },
};

/** What a document of services says of `web` with these ports. */
const services = (ports: readonly number[]) =>
  JSON.stringify({ services: { web: ports.map((port) => ({ address: `127.0.0.1:${port}` })) } });

/** What keeps the process alive or holds a port; pipes and processes are the test runner's. */
function resources(): string {
  const counted = process
    .getActiveResourcesInfo()
    .filter((kind) => /^(TCP|Timeout|FSEvent|MessagePort|Immediate|DNS|GETADDR)/.test(kind));
  return counted.sort().join(' ');
}

describe.each([...registries.kinds.keys()])('a registry of kind %s', (kind) => {
  const stack: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
  });

  async function world(): Promise<World> {
    expect(Object.keys(worlds)).toContain(kind);
    const made = await worlds[kind]();
    stack.push(() => made.close());
    return made;
  }

  const web = { name: 'web', tags: [] };

  it('opens nothing and delivers nothing before it starts', async () => {
    const { registry } = await world();
    // What building the world left behind in Node's own pools goes first.
    let before = '';
    await eventually(
      () => {
        const now = resources();
        const isQuiet = now === before;
        before = now;
        return isQuiet;
      },
      { intervalMs: 100 },
    );
    const sink = new RecordingSink();
    registry.subscribe(web, sink);
    await new Promise((resolve) => setImmediate(resolve));
    expect(resources()).toBe(before);
    expect(sink.sets.length + sink.errors.length).toBe(0);
  });

  it('delivers the whole set to a subscription from before the start and to one from after it', async () => {
    const { registry } = await world();
    const [early, late, tagged, none] = Array.from({ length: 4 }, () => new RecordingSink());
    registry.subscribe(web, early);
    await registry.start();
    registry.subscribe(web, late);
    registry.subscribe({ name: 'web', tags: ['nobody-has-this'] }, tagged);
    registry.subscribe({ name: 'no-such-service', tags: [] }, none);
    await eventually(() => [early, late, tagged, none].every(({ sets }) => sets.length > 0));
    for (const sink of [early, late]) expect(sink.last!.endpoints.map(({ port }) => port)).toEqual([9001, 9002]);
    for (const sink of [tagged, none]) expect(sink.told).toEqual([]);
    expect([early, late, tagged, none].flatMap(({ errors }) => errors)).toEqual([]);
  });

  it('delivers every change as a whole set within a second', async ({ skip }) => {
    const { registry, change } = await world();
    if (change === undefined) return skip('what is written down does not change');
    const sink = new RecordingSink();
    registry.subscribe(web, sink);
    await registry.start();
    await eventually(() => sink.told.length === 2);
    await change();
    await eventually(() => expect(sink.last!.endpoints.map(({ port }) => port)).toEqual([9001, 9002, 9003]), {
      timeoutMs: 1000,
    });
    // Never a part of it, never in between without the others.
    for (const { endpoints } of sink.sets) expect(endpoints.length).toBeGreaterThanOrEqual(2);
  });

  it('says that it is unavailable in an outage, and takes nothing away', async ({ skip }) => {
    const { registry, outage } = await world();
    if (outage === undefined) return skip('it lives in this process');
    const sink = new RecordingSink();
    registry.subscribe(web, sink);
    await registry.start();
    await eventually(() => sink.told.length === 2);
    await outage();
    await eventually(() => sink.errors.length > 0);
    expect(sink.errors[0]).toMatchObject({ name: 'OperationError', retryable: true });
    const late = new RecordingSink();
    registry.subscribe({ name: 'other', tags: [] }, late);
    await eventually(() => late.errors.length > 0, { timeoutMs: 15_000 });
    for (const { endpoints } of sink.sets) expect(endpoints).toHaveLength(2);
    expect(late.sets).toEqual([]);
  });

  it('delivers nothing to a closed subscription', async () => {
    const { registry, change } = await world();
    const [closed, early, open] = Array.from({ length: 3 }, () => new RecordingSink());
    registry.subscribe(web, early).close();
    const subscription = registry.subscribe(web, closed);
    registry.subscribe(web, open);
    await registry.start();
    await eventually(() => open.told.length === 2 && closed.told.length === 2);
    subscription.close();
    subscription.close();
    const told = closed.sets.length;
    await change?.();
    if (change !== undefined) await eventually(() => open.told.length === 3);
    expect(closed.sets).toHaveLength(told);
    expect(early.sets).toEqual([]);
  });

  it('leaves no socket and no timer after close, and delivers nothing', async () => {
    const { registry } = await world();
    const before = resources();
    const sinks = Array.from({ length: 5 }, () => new RecordingSink());
    for (const [i, sink] of sinks.entries()) registry.subscribe({ name: i === 0 ? 'web' : `s${i}`, tags: [] }, sink);
    await registry.start();
    await eventually(() => sinks[0].told.length === 2);
    await registry.close();
    const told = sinks.map(({ sets, errors }) => sets.length + errors.length);
    await eventually(() => {
      const held = before.split(' ');
      const extra = resources()
        .split(' ')
        .filter((kind) => {
          const i = held.indexOf(kind);
          if (i !== -1) held.splice(i, 1);
          return i === -1;
        });
      // eventually's own timer is one.
      expect(extra.filter((kind) => kind !== 'Timeout' && kind !== '')).toEqual([]);
      expect(extra.filter((kind) => kind === 'Timeout').length).toBeLessThanOrEqual(1);
      return true;
    });
    expect(sinks.map(({ sets, errors }) => sets.length + errors.length)).toEqual(told);
    await registry.close();
  });

  it('can be closed without having been started', async () => {
    const { registry } = await world();
    registry.subscribe(web, new RecordingSink());
    await registry.close();
  });
});

describe('the embedded registry', () => {
  it('says which port is busy, and leaves nothing open', async () => {
    const directory = await temporaryDirectory('busy');
    const squatter: Server = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as { port: number };
    const registry = create({ kind: 'embedded', bind: `127.0.0.1:${port}`, data: directory.path });
    const failure = await registry.start().catch((error) => error);
    expect(failure).toMatchObject({ name: 'OperationError' });
    expect(failure.message).toContain(`127.0.0.1:${port}`);
    await registry.close();
    squatter.close();
    await directory.close();
  });

  it('does not believe its own first answer against what the proxy knew before', async () => {
    const directory = await temporaryDirectory('fresh');
    const port = await freePort();
    const registry = create({ kind: 'embedded', bind: `127.0.0.1:${port}`, data: directory.path });
    const sink = new RecordingSink();
    registry.subscribe({ name: 'web', tags: [] }, sink);
    await registry.start();
    await eventually(() => sink.sets.length > 0);
    expect(sink.sets[0]).toEqual({ endpoints: [], suspicion: 'after-reconnect' });
    await registry.close();
    await directory.close();
  });
});
