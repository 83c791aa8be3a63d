import { setTimeout as later } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type EmbeddedRegistry, startRegistry } from '../helpers/embedded-registry.ts';
import { eventually } from '../helpers/eventually.ts';
import { stopwatch } from '../helpers/processor-wait.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

const SERVICES = 400;
const INSTANCES = 5;
const WATCHERS = 200;
const CHANGES = 200;

let registry: EmbeddedRegistry;
let data: TemporaryDirectory;
const agent = new Agent({ connections: 300, pipelining: 1, headersTimeout: 60_000 });

beforeAll(async () => {
  data = await temporaryDirectory('registry-scale');
  registry = await startRegistry({ data: data.path });
});
afterAll(async () => {
  await agent.destroy();
  await registry?.close();
  await data?.close();
});

async function send(method: 'GET' | 'PUT', path: string, body?: object) {
  const content = body === undefined ? undefined : JSON.stringify(body);
  const reply = await request(registry.address + path, { method, body: content, dispatcher: agent });
  return { index: Number(reply.headers['x-consul-index']), text: await reply.body.text(), status: reply.statusCode };
}

it('tells 200 watchers of changes among 2 000 instances, and one change to 200 watchers of one service', async () => {
  const began = performance.now();
  const bodies = Array.from({ length: SERVICES * INSTANCES }, (_, i) => ({
    ID: `i-${i}`,
    Name: `s-${i % SERVICES}`,
    Address: '10.0.0.1',
    Port: 1000 + i,
    Check: { TTL: '5m', Status: 'passing' },
  }));
  for (let at = 0; at < bodies.length; at += 100)
    await Promise.all(bodies.slice(at, at + 100).map((body) => send('PUT', '/v1/agent/service/register', body)));
  const perSecond = bodies.length / ((performance.now() - began) / 1000);

  // A watcher asks again as soon as it was told; when it was told of a change is held against when that was sent.
  const sent = new Map<string, number>();
  const delays: number[] = [];
  let waiting = 0;
  let stopped = false;
  const watch = async (service: string, told: (now: number) => void) => {
    let { index } = await send('GET', `/v1/health/service/${service}`);
    while (!stopped) {
      waiting++;
      const reply = await send('GET', `/v1/health/service/${service}?index=${index}&wait=30s`).catch(() => null);
      waiting--;
      if (reply === null) return;
      if (reply.index !== index) told(performance.now());
      index = reply.index;
    }
  };
  for (let i = 0; i < WATCHERS; i++) {
    const service = `s-${i}`;
    void watch(service, (now) => delays.push(now - (sent.get(service) as number)));
  }
  await eventually(() => waiting === WATCHERS);
  for (let i = 0; i < CHANGES; i++) {
    const service = `s-${i % WATCHERS}`;
    sent.set(service, performance.now());
    void send('PUT', `/v1/agent/check/${i < WATCHERS ? 'warn' : 'pass'}/service:i-${i % WATCHERS}`);
    await later(10);
  }
  await eventually(() => delays.length >= CHANGES);
  delays.sort((a, b) => a - b);
  const spread = { p50: delays[CHANGES / 2], p99: delays[Math.floor(CHANGES * 0.99)] };

  // The same, all on one service.
  stopped = true;
  for (let i = 0; i < WATCHERS; i++) void send('PUT', `/v1/agent/check/fail/service:i-${i}`);
  await eventually(() => waiting === 0);
  stopped = false;
  let told = 0;
  for (let i = 0; i < WATCHERS; i++) void watch('s-399', () => told++);
  await eventually(() => waiting === WATCHERS);
  const { index } = await send('GET', '/v1/health/service/s-399');
  const sinceMs = stopwatch();
  await send('PUT', '/v1/agent/check/warn/service:i-399');
  await eventually(() => told === WATCHERS, { intervalMs: 1 });
  const fanOut = sinceMs();
  stopped = true;
  expect((await send('GET', '/v1/health/service/s-399')).index).toBeGreaterThan(index);

  const rss = process.memoryUsage().rss / 1e6;
  console.info(
    `registered ${perSecond.toFixed(0)}/s · change to watcher p50 ${spread.p50.toFixed(1)} ms, p99 ${spread.p99.toFixed(1)} ms · ` +
      `one change to ${WATCHERS} watchers ${fanOut.toFixed(0)} ms · RSS ${rss.toFixed(0)} MB with the clients`,
  );
  // Targets on an idle machine are 50 ms; tests share theirs.
  expect(spread.p99).toBeLessThan(250);
  expect(fanOut).toBeLessThan(1500);
  expect(perSecond).toBeGreaterThan(100);
});
