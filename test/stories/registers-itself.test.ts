import { describe, expect, it } from 'vitest';
import { startRegistry } from '../helpers/embedded-registry.ts';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { startOrigin } from '../helpers/origin.ts';
import { freePort } from '../helpers/ports.ts';
import { startProxy } from '../helpers/proxy.ts';

type Registry = Awaited<ReturnType<typeof startRegistry>>;

/** Ports under which the service `edge` is known and well. */
async function edges(registry: Registry): Promise<number[]> {
  const { json } = await registry.ask('GET', '/v1/health/service/edge?passing');
  return json.map((one: { Service: { Port: number } }) => one.Service.Port);
}

function documentOf(register: unknown, registries: Record<string, object>, endpoint: number) {
  return {
    runtime: { announce: '600ms', drain: '10s' },
    registries,
    listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web', ...(register === null ? {} : { register }) }],
    pools: { web: { endpoints: [{ address: `127.0.0.1:${endpoint}` }] } },
  };
}

const consul = ({ address }: { address: string }) => ({ kind: 'consul', address });

describe('a listener that registers itself', () => {
  it('is found when it serves, with weight, tags and metadata, and leaves before it stops serving', async () => {
    await using registry = await startRegistry();
    await using origin = await startOrigin();
    const register = {
      registry: 'main',
      service: 'edge',
      weight: 2.5,
      tags: ['eu'],
      metadata: { zone: 'a' },
      ttl: '1500ms',
    };
    await using proxy = await startProxy(documentOf(register, { main: consul(registry) }, origin.port));
    await eventually(async () => expect(await edges(registry)).toEqual([proxy.port()]));
    const { json } = await registry.ask('GET', '/v1/health/service/edge');
    expect(json[0].Service).toMatchObject({
      ID: `edge-127.0.0.1-${proxy.port()}`,
      Address: '127.0.0.1',
      Tags: ['eu'],
      Meta: { zone: 'a', weight: '2.5' },
    });
    // Nobody asks it any more, and who still does is answered.
    await using load = startLoad(proxy.port(), { connections: 2 });
    await eventually(() => load.answered > 10);
    proxy.child.kill('SIGTERM');
    await eventually(async () => expect(await edges(registry)).toEqual([]), { timeoutMs: 2000, of: [proxy.pid] });
    const answered = load.answered;
    await eventually(() => load.answered > answered);
    expect((await fetch(`${proxy.admin}/readyz`)).status).toBe(503);
    await load.stop();
    expect(load.lost).toEqual([]);
    expect((await proxy.child.exited).code).toBe(0);
  });

  it('moves to another registry by a reload, through both, and out of all', async () => {
    await using one = await startRegistry();
    await using other = await startRegistry();
    await using origin = await startOrigin();
    const registries = { one: consul(one), other: consul(other) };
    const inOne = { registry: 'one', service: 'edge' };
    const inOther = { registry: 'other', service: 'edge', id: 'edge-7' };
    await using proxy = await startProxy(documentOf(inOne, registries, origin.port));
    const port = proxy.port();
    const expected = async (...known: number[][]) =>
      eventually(async () => expect([await edges(one), await edges(other)]).toEqual(known));
    await expected([port], []);
    await proxy.write(documentOf([inOne, inOther], registries, origin.port));
    expect(await proxy.reload()).toBe('reloaded');
    await expected([port], [port]);
    await proxy.write(documentOf([{ ...inOther, tags: ['new'] }], registries, origin.port));
    expect(await proxy.reload()).toBe('reloaded');
    await expected([], [port]);
    await eventually(async () =>
      expect((await other.ask('GET', '/v1/catalog/service/edge')).json[0].ServiceTags).toEqual(['new']),
    );
    // The same name is another registry now.
    await proxy.write(
      documentOf([{ ...inOther, registry: 'other' }], { one: consul(one), other: consul(one) }, origin.port),
    );
    expect(await proxy.reload()).toBe('reloaded');
    await expected([port], []);
    await proxy.write(documentOf(null, registries, origin.port));
    expect(await proxy.reload()).toBe('reloaded');
    await expected([], []);
  });

  it('stays registered through an upgrade, by the process that took over', async () => {
    await using registry = await startRegistry();
    await using origin = await startOrigin();
    const register = { registry: 'main', service: 'edge', ttl: '1500ms' };
    await using proxy = await startProxy({
      ...documentOf(register, { main: consul(registry) }, origin.port),
      runtime: {},
    });
    const port = proxy.port();
    await eventually(async () => expect(await edges(registry)).toEqual([port]));
    const old = proxy.pid;
    const entry = async () => (await registry.ask('GET', '/v1/health/service/edge')).json[0]?.Service.CreateIndex;
    const created = await entry();
    await proxy.upgrade();
    await eventually(() => !isAlive(old), { timeoutMs: 20_000 });
    // Only heartbeats of the new process keep it there now: its TTL is over twice.
    const goneMs = performance.now();
    await eventually(() => performance.now() - goneMs > 3000);
    expect(await edges(registry)).toEqual([port]);
    // Nor was it taken out in between, not for a moment.
    expect(await entry()).toBe(created);
    await proxy.stop();
    await eventually(() => !isAlive(proxy.pid));
  });

  it('serves although the registry is away, and registers when it comes', async () => {
    await using origin = await startOrigin();
    const bind = `127.0.0.1:${await freePort()}`;
    const register = { registry: 'late', service: 'edge' };
    await using proxy = await startProxy(
      documentOf(register, { late: { kind: 'consul', address: `http://${bind}` } }, origin.port),
    );
    expect((await fetch(proxy.url)).status).toBe(200);
    await using registry = await startRegistry({ bind });
    await eventually(async () => expect(await edges(registry)).toEqual([proxy.port()]), { timeoutMs: 15_000 });
  });
});

describe('a pool of several registries', () => {
  it('moves its services from one to the other under load without losing a request', async () => {
    await using old = await startRegistry();
    await using next = await startRegistry();
    await using origin = await startOrigin();
    const put = (registry: Registry) =>
      registry.ask('PUT', '/v1/agent/service/register', {
        ID: 'w',
        Name: 'web',
        Address: '127.0.0.1',
        Port: origin.port,
      });
    await put(old);
    const discover = (registry: string) => ({ registry, service: 'web' });
    const document = (from: unknown) => ({
      registries: { old: consul(old), next: consul(next) },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { discover: from } },
    });
    await using proxy = await startProxy(document(discover('old')));
    await using load = startLoad(proxy.port(), { connections: 4 });
    const reload = async (from: unknown) => {
      await proxy.write(document(from));
      expect(await proxy.reload()).toBe('reloaded');
    };
    await reload({ union: [discover('old'), discover('next')] });
    await put(next);
    const known = async () => {
      const { registries } = await proxy.api('/api/v1/registries');
      return registries.map((one: { services: { endpoints: number }[] }) =>
        one.services.map(({ endpoints }) => endpoints),
      );
    };
    await eventually(async () => expect(await known()).toEqual([[1], [1]]));
    await old.ask('PUT', '/v1/agent/service/deregister/w');
    await eventually(async () => expect(await known()).toEqual([[0], [1]]));
    await reload({ first: [discover('next'), discover('old')] });
    await reload(discover('next'));
    const answered = load.answered;
    await eventually(() => load.answered > answered + 10);
    await load.stop();
    expect([...load.statuses.keys()]).toEqual([200]);
    expect(load.lost).toEqual([]);
  });

  it('refuses references and kinds that cannot be', async () => {
    await using origin = await startOrigin();
    const good = documentOf(null, { files: { kind: 'static' } }, origin.port);
    await using proxy = await startProxy(good);
    const refusals = async (document: object) => {
      await proxy.write(document);
      expect(await proxy.reload()).toBe('reload-refused');
      return (proxy.events('reload-refused').at(-1)!.problems as string[]).map((line) =>
        line.replace(/^.*?:\d+:\d+ {2}/, ''),
      );
    };
    const pools = {
      web: {
        discover: {
          union: [
            { registry: 'files', service: 'a' },
            { registry: 'nowhere', service: 'a' },
          ],
        },
      },
    };
    expect(await refusals({ ...good, pools })).toEqual([
      'pools.web.discover.union[1].registry  there is no registry "nowhere"; there are: files',
    ]);
    const listeners = [{ ...good.listeners[0], register: { registry: 'files', service: 'a' } }];
    expect(await refusals({ ...good, listeners })).toEqual([
      'listeners[0].register  the registry "files" is of kind static, which takes no registrations',
    ]);
    const everywhere = [{ ...listeners[0], bind: '0.0.0.0:0' }];
    expect(await refusals({ ...good, listeners: everywhere })).toContainEqual(
      expect.stringContaining('needs address: 0.0.0.0:0'),
    );
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
