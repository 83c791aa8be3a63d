import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { OpenLoop } from '../helpers/open-loop.ts';
import { type Origin, startOrigin } from '../helpers/origin.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient } from '../helpers/raw-client.ts';

describe('a worker that dies or hangs costs only what it held', () => {
  let origin: Origin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await startOrigin({ name: 'fine' });
    proxy = await startProxy(document(2), { faults: true });
  });

  const document = (count: number) => ({
    runtime: { workers: count },
    listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
    pools: { web: { endpoints: [{ address: origin.address }] } },
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  const workers = async () => (await proxy.api('/api/v1/status')).workers as { state: string; restarts: number }[];

  it('loses the connections of the dead worker and no others; another takes its place within a second', async () => {
    const connections = 10;
    await using load = startLoad(proxy.port(), { connections, pauseMs: 2 });
    await eventually(() => load.answered > 100);
    const before = await totals();
    const sinceMs = stopwatch(proxy.pid);
    proxy.fault('die', 0);
    await eventually(() => proxy.events('worker-died').length === 1);
    await eventually(async () => (await workers()).every(({ state }) => state === 'up'));
    expect(sinceMs()).toBeLessThan(1_000);
    const answered = load.answered;
    await eventually(() => load.answered > answered + 200);
    await load.stop();
    // Each client loses at most the request it had under way, and, as long as the accept queue dies with the worker, one more.
    expect(load.lost.length).toBeLessThanOrEqual(connections);
    expect([...load.statuses.keys()]).toEqual([200]);
    expect((await workers()).map(({ restarts }) => restarts)).toEqual([1, 0]);
    await eventually(async () => (await totals()).every((now, i) => now >= before[i] && now > 0));
    await eventually(async () => (await totals())[0] >= load.answered);
  });

  async function totals(): Promise<number[]> {
    return [
      await proxy.metric('evenkeel_requests_total'),
      await proxy.metric('evenkeel_connections_total'),
      await proxy.metric('evenkeel_bytes_total'),
      await proxy.metric('evenkeel_endpoint_requests_total'),
      await proxy.metric('evenkeel_request_duration_seconds_count'),
    ];
  }

  it('gives back what the dead worker held: nothing stays active', async () => {
    origin.handler = () => {};
    const clients = await Promise.all(Array.from({ length: 8 }, () => rawClient(proxy.port())));
    for (const client of clients) client.write('GET / HTTP/1.1\r\nhost: story\r\n\r\n');
    await eventually(async () => (await proxy.endpoint('web', origin.address)).active === 8);
    const deaths = proxy.events('worker-died').length;
    proxy.fault('die', 0);
    proxy.fault('die', 1);
    await eventually(() => proxy.events('worker-died').length === deaths + 2);
    for (const client of clients) await client.ended();
    await eventually(async () => (await proxy.endpoint('web', origin.address)).active === 0);
    await eventually(async () => (await proxy.api('/api/v1/listeners')).listeners[0].connections.active === 0);
    origin.handler = (_, reply) => void reply.send(200, 'fine');
    await eventually(async () => (await ask(proxy.port(), 'GET', '/')).status === 200);
  });

  it('a replacement serves every endpoint, state and weight the dead one knew', async () => {
    const other = await startOrigin({ name: 'other' });
    await eventually(async () => (await workers()).every(({ state }) => state === 'up'));
    await proxy.write({
      runtime: { workers: 2 },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: origin.address }, { address: other.address }] } },
    });
    await proxy.reload();
    await proxy.api(`/api/v1/pools/web/endpoints/${origin.address}`, { method: 'PATCH', body: { state: 'drain' } });
    const deaths = proxy.events('worker-died').length;
    proxy.fault('die', 0);
    proxy.fault('die', 1);
    await eventually(() => proxy.events('worker-died').length === deaths + 2);
    await eventually(async () => (await workers()).every(({ state }) => state === 'up'), { timeoutMs: 15_000 });
    for (let i = 0; i < 12; i++) {
      await eventually(async () => expect((await ask(proxy.port(), 'GET', '/')).text).toBe('other'), {
        timeoutMs: 3_000,
      });
    }
    await proxy.api(`/api/v1/pools/web/endpoints/${origin.address}`, { method: 'PATCH', body: { state: 'ready' } });
    await other.close();
  });

  it('a stalled worker is reported, the others go on, and nobody is ejected for it', async () => {
    await eventually(async () => (await workers()).every(({ state }) => state === 'up'), { timeoutMs: 15_000 });
    const before = proxy.events('worker-stalled').length;
    proxy.fault('stall', 0, 2_000);
    await eventually(async () => (await workers())[0].state === 'stalled');
    const event = await eventually(() => proxy.events('worker-stalled')[before] ?? null);
    expect(event.worker).toBe(0);
    await eventually(async () => (await workers())[0].state === 'up');
    expect(proxy.events('ejected')).toEqual([]);
    await eventually(async () => (await proxy.metric('evenkeel_event_loop_lag_seconds', { worker: '0' })) > 1);
  });

  it('a thread waits to step in; another does when it has, and when it died of itself', async () => {
    for (const fault of ['die', 'spare'] as const) {
      await eventually(() => threads().length === 3);
      const before = threads();
      proxy.fault(fault, 1);
      await eventually(() => before.some((thread) => !threads().includes(thread)));
      await eventually(() => threads().length === 3);
    }
    await eventually(async () => (await workers()).every(({ state }) => state === 'up'));
  });

  it('no client is refused while the only worker is replaced', async () => {
    await proxy.write(document(1));
    await proxy.reload();
    await eventually(() => threads().length === 2, { timeoutMs: 15_000 });
    const short = new OpenLoop(proxy.url, 200, 5_000, { connectionEach: true });
    await eventually(() => short.sent > 20);
    const deaths = proxy.events('worker-died').length;
    proxy.fault('die', 0);
    await eventually(() => proxy.events('worker-died').length > deaths);
    // It is told of just before main listens, in the same turn: whoever connects from then on waits, although no thread is up.
    await using waiting = await eventually(() => rawClient(proxy.port()), { timeoutMs: 1_000, of: [proxy.pid] });
    waiting.write('GET / HTTP/1.1\r\nhost: story\r\n\r\n');
    expect((await waiting.response()).text).toBe('fine');
    await eventually(async () => (await workers()).every(({ state }) => state === 'up'));
    await short.stop();
  });

  it('one that cannot be ended at all does not keep the process: a second signal ends it within two seconds', async () => {
    const stalls = proxy.events('worker-stalled').length;
    proxy.fault('hang', 0);
    await eventually(() => proxy.events('worker-stalled').length > stalls);
    proxy.child.kill('SIGTERM');
    await eventually(() => proxy.events('draining').length === 1);
    proxy.child.kill('SIGTERM');
    const sinceMs = stopwatch();
    expect((await proxy.child.exited).signal).toBe('SIGKILL');
    expect(sinceMs()).toBeLessThan(6_000);
  });

  /** Of the data plane, the spare one included. */
  function threads(): string[] {
    const tasks = `/proc/${proxy.pid}/task`;
    return readdirSync(tasks).filter((task) => nameOf(`${tasks}/${task}`) === 'evenkeel-worker');
  }

  function nameOf(task: string): string {
    try {
      return readFileSync(`${task}/comm`, 'utf8').trim();
    } catch {
      return 'gone';
    }
  }
});
