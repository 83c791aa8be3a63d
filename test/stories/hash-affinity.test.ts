import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask } from '../helpers/raw-client.ts';

const USERS = Array.from({ length: 60 }, (_, i) => `user-${i}`);

describe.each(['rendezvous', 'maglev'])('requests with the same value of a header (%s)', (table) => {
  const origins: Origin[] = [];
  let proxy: RunningProxy;

  function document(more: object = {}) {
    const endpoints = origins.map(({ address }) => ({ address }));
    const probe = { kind: 'tcp', interval: '100ms', timeout: '2s', rise: 1, fall: 1 };
    return {
      runtime: { workers: 2 },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints, probe, scheduler: { kind: 'hash', on: 'header:X-User', table }, ...more } },
    };
  }

  beforeAll(async () => {
    for (const name of ['red', 'green', 'blue']) origins.push(await startOrigin({ name }));
    proxy = await startProxy(document());
    await eventually(async () => (await available()) === 3);
  });

  afterAll(async () => {
    await proxy.stop();
    for (const origin of origins) await origin.close();
  });

  const available = async () =>
    (await proxy.api('/api/v1/pools/web')).endpoints.filter((one: { available: boolean }) => one.available).length;

  /** Each on a connection of its own, so that both workers are asked. */
  const ownerOf = async (user: string) => (await ask(proxy.port(), 'GET', '/', [`x-user: ${user}`])).text;

  async function owners(): Promise<string[]> {
    const found: string[] = [];
    for (const user of USERS) found.push(await ownerOf(user));
    return found;
  }

  it('go to one endpoint on every worker, and other values to others', async () => {
    const first = await owners();
    expect(new Set(first)).toEqual(new Set(['red', 'green', 'blue']));
    // The kernel gives each connection to either worker by chance: that one had none of 240 does not happen.
    for (let round = 0; round < 4; round++) expect(await owners()).toEqual(first);
  });

  it('stay there after a reload that makes the scheduler anew and turns the list around', async () => {
    const first = await owners();
    await proxy.write(document({ limits: { active: 7 } }));
    expect(await proxy.reload()).toBe('reloaded');
    expect(await owners()).toEqual(first);
    origins.reverse();
    await proxy.write(document({ scheduler: { kind: 'hash', on: 'header:x-user', table } }));
    expect(await proxy.reload()).toBe('reloaded');
    expect(await owners()).toEqual(first);
  });

  it('move when their endpoint dies, the others do not, and all come back with it', async () => {
    const first = await owners();
    const dead = origins.find(({ name }) => name === 'green')!;
    const { port } = dead;
    await dead.close();
    await eventually(async () => (await available()) === 2);
    const meanwhile = await owners();
    expect(meanwhile).not.toContain('green');
    expect(meanwhile.filter((owner, i) => first[i] !== 'green' && owner !== first[i])).toEqual([]);
    expect(new Set(meanwhile.filter((_, i) => first[i] === 'green')).size).toBe(2);
    origins[origins.indexOf(dead)] = await startOrigin({ name: 'green', port });
    await eventually(async () => (await available()) === 3);
    expect(await owners()).toEqual(first);
  });

  it('are spread over all endpoints when they have no value', async () => {
    const found = new Set<string>();
    for (let i = 0; i < 40; i++) found.add((await ask(proxy.port(), 'GET', '/')).text);
    expect(found).toEqual(new Set(['red', 'green', 'blue']));
  });
});

describe('one endpoint that serves and another that stands by', () => {
  it('change places when the first fails, and back again', async () => {
    await using active = await startOrigin({ name: 'active' });
    const standby = await startOrigin({ name: 'standby' });
    const document = (...list: string[]) => ({
      runtime: { workers: 2 },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: {
        web: {
          endpoints: list.map((address) => ({ address })),
          scheduler: 'first',
          panic: 'off',
          // Else requests that come before the next probe may have it ejected for 10 s.
          ejection: 'off',
          probe: { kind: 'tcp', interval: '100ms', timeout: '2s', rise: 1, fall: 1 },
        },
      },
    });
    await using proxy = await startProxy(document(active.address, standby.address));
    const answers = async () => {
      const found = new Set<string>();
      for (let i = 0; i < 12; i++) found.add((await ask(proxy.port(), 'GET', '/')).text);
      return [...found];
    };
    expect(await answers()).toEqual(['active']);
    // The document says which is the first: turned around, the other serves.
    await proxy.write(document(standby.address, active.address));
    expect(await proxy.reload()).toBe('reloaded');
    await eventually(async () => (await answers()).join() === 'standby');
    await standby.close();
    await eventually(async () => (await answers()).join() === 'active');
    await using again = await startOrigin({ name: 'standby again', port: standby.port });
    await eventually(async () => (await answers()).join() === again.name);
  });
});
