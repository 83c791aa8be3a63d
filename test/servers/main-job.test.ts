import { rm } from 'node:fs/promises';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { requireServer } from '../helpers/require-server.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';
import { type Consul, findConsul, startConsul } from './consul.ts';
import { findNginx, type Nginx, startNginx } from './nginx.ts';

/** How long the registry is away; the minute takes EVENKEEL_OUTAGE_MS=60000. */
const OUTAGE_MS = Number(process.env.EVENKEEL_OUTAGE_MS ?? 4000);
const RATE = 500;
/** Endpoints change the traffic within a second of the registry's change. */
const WITHIN_MS = 1000;

const isMissing = [requireServer('consul', findConsul()), requireServer('nginx', findNginx())].includes(true);

describe.skipIf(isMissing)('a real Consul, three real nginx endpoints and a stream of clients', () => {
  const nginx: Nginx[] = [];
  let consul: Consul;
  let proxy: RunningProxy;
  let load: OpenLoop;
  let data: Awaited<ReturnType<typeof temporaryDirectory>>;

  beforeAll(async () => {
    data = await temporaryDirectory('consul-data');
    for (const name of ['a', 'b', 'c']) nginx.push(await startNginx({ name }));
    consul = await startConsul({ dataDir: `${data.path}/1` });
    await register('a');
    await register('b');
    await register('c');
    proxy = await startProxy({
      registries: { consul: { kind: 'consul', address: consul.address } },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { discover: { registry: 'consul', service: 'web' }, scheduler: 'weighted-round-robin' } },
    });
    load = new OpenLoop(proxy.url, RATE, 120_000);
  });

  afterAll(async () => {
    await load?.stop();
    await proxy?.stop();
    await consul?.stop();
    for (const one of nginx) await one.stop();
    await data?.close();
  });

  async function register(name: string, more: object = {}): Promise<void> {
    const port = nginx['abc'.indexOf(name)].port;
    const body = { Name: 'web', ID: name, Address: '127.0.0.1', Port: port, ...more };
    await put('/v1/agent/service/register?replace-existing-checks=true', body);
  }

  async function put(path: string, body: object | null = null): Promise<void> {
    const answer = await request(consul.address + path, {
      method: 'PUT',
      body: body === null ? null : JSON.stringify(body),
    });
    expect(answer.statusCode, await answer.body.text()).toBe(200);
  }

  /** Share of the traffic by endpoint, over the next half second. */
  async function shares(): Promise<Record<string, number>> {
    load.takeAnswers();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const answers = load.takeAnswers();
    const total = Object.values(answers).reduce((sum, count) => sum + count, 0);
    return Object.fromEntries(['a', 'b', 'c'].map((name) => [name, (answers[name] ?? 0) / total]));
  }

  /** Does `act`, waits until the traffic follows, and says how long that took. A slice of traffic is judged every 100 ms. */
  async function followed(
    act: () => Promise<void>,
    holds: (answers: Record<string, number>) => boolean,
  ): Promise<number> {
    load.takeAnswers();
    const sinceMs = stopwatch(proxy.pid);
    await act();
    await eventually(
      () => {
        const answers = load.takeAnswers();
        return Object.keys(answers).length > 0 && holds(answers);
      },
      { timeoutMs: 10_000, intervalMs: 100 },
    );
    return sinceMs();
  }

  it('spreads evenly over what is registered', async () => {
    const share = await shares();
    for (const name of ['a', 'b', 'c']) expect(share[name]).toBeGreaterThan(0.25);
  });

  it('follows a weight within a second', async () => {
    const isHeavy = ({ a = 0, b = 0, c = 0 }: Record<string, number>) => a > 1.5 * (b + c);
    expect(await followed(() => register('a', { Weights: { Passing: 8, Warning: 1 } }), isHeavy)).toBeLessThan(
      WITHIN_MS,
    );
    const isEven = ({ a = 0, b = 0, c = 0 }: Record<string, number>) => a < b + c;
    expect(await followed(() => register('a'), isEven)).toBeLessThan(WITHIN_MS);
  });

  it('follows a failing check within a second, and its recovery', async () => {
    await register('b', { Check: { CheckID: 'ttl-b', TTL: '10m', Status: 'passing' } });
    const without = ({ b = 0 }: Record<string, number>) => b === 0;
    expect(await followed(() => put('/v1/agent/check/fail/ttl-b'), without)).toBeLessThan(WITHIN_MS);
    const withIt = ({ b = 0 }: Record<string, number>) => b > 0;
    expect(await followed(() => put('/v1/agent/check/pass/ttl-b'), withIt)).toBeLessThan(WITHIN_MS);
  });

  it('follows maintenance within a second, and its end', async () => {
    const on = () => put('/v1/agent/service/maintenance/c?enable=true&reason=test');
    expect(await followed(on, ({ c = 0 }) => c === 0)).toBeLessThan(WITHIN_MS);
    const off = () => put('/v1/agent/service/maintenance/c?enable=false');
    expect(await followed(off, ({ c = 0 }) => c > 0)).toBeLessThan(WITHIN_MS);
  });

  it('follows a deregistration and a registration within a second', async () => {
    expect(
      await followed(
        () => put('/v1/agent/service/deregister/a'),
        ({ a = 0 }) => a === 0,
      ),
    ).toBeLessThan(WITHIN_MS);
    expect(
      await followed(
        () => register('a'),
        ({ a = 0 }) => a > 0,
      ),
    ).toBeLessThan(WITHIN_MS);
  });

  it('loses nothing while Consul is killed and comes back with its data, and follows it again', {
    timeout: OUTAGE_MS + 90_000,
  }, async () => {
    await consul.kill('SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
    const state = await proxy.api('/api/v1/registries');
    expect(state.registries[0].up).toBe(false);
    consul = await restart(`${data.path}/1`);
    await eventually(async () => (await proxy.api('/api/v1/registries')).registries[0].up, { timeoutMs: 40_000 });
    await followed(
      () => put('/v1/agent/service/maintenance/a?enable=true'),
      ({ a = 0 }) => a === 0,
    );
    await followed(
      () => put('/v1/agent/service/maintenance/a?enable=false'),
      ({ a = 0 }) => a > 0,
    );
    expect(load.failures).toEqual({});
  });

  it('loses nothing while Consul is killed and comes back empty, and follows those that register again', {
    timeout: OUTAGE_MS + 90_000,
  }, async () => {
    await consul.kill('SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
    consul = await restart(`${data.path}/2`);
    await eventually(async () => (await proxy.api('/api/v1/registries')).registries[0].services[0].state === 'held', {
      timeoutMs: 40_000,
    });
    // Held: the traffic still goes to all three, none of which is registered.
    const held = await shares();
    for (const name of ['a', 'b', 'c']) expect(held[name]).toBeGreaterThan(0.2);
    for (const name of ['a', 'b', 'c']) await register(name);
    await eventually(async () => (await proxy.api('/api/v1/registries')).registries[0].services[0].state === 'live', {
      timeoutMs: 20_000,
    });
    await followed(
      () => put('/v1/agent/service/maintenance/b?enable=true'),
      ({ b = 0 }) => b === 0,
    );
    expect(load.failures).toEqual({});
  });

  it('answered every single request meanwhile', async () => {
    const { sent, ok, failures } = await load.stop();
    expect(failures).toEqual({});
    expect(ok).toBe(sent);
    console.info(`${sent} requests at ${RATE}/s through two outages of ${OUTAGE_MS} ms: ${sent - ok} failed`);
  });

  async function restart(dataDir: string): Promise<Consul> {
    const { ports } = consul;
    await rm(`${dataDir}/nothing`, { force: true });
    return startConsul({ dataDir, ports });
  }
});
