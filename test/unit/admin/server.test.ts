import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { pino } from 'pino';
import { request } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import type {
  Control,
  EndpointChange,
  Explained,
  ReloadResult,
  RestartResult,
  SetEndpointResult,
  UpgradeResult,
} from '../../../src/admin/control.ts';
import { AdminServer } from '../../../src/admin/server.ts';
import { OperationError } from '../../../src/base/errors.ts';
import { Down } from '../../../src/endpoint/down.ts';
import { EventCounts } from '../../../src/telemetry/event-counts.ts';
import { EventLog, type PublishedEvent } from '../../../src/telemetry/event-log.ts';
import { Metrics } from '../../../src/telemetry/prometheus.ts';
import { RecentTraffic } from '../../../src/telemetry/recent-traffic.ts';
import { eventually } from '../../helpers/eventually.ts';
import { parseExposition } from '../../helpers/exposition-parser.ts';
import { LiveWorld } from '../../helpers/live-world.ts';

/** What an operator does, done to the world of the test. */
class WorldControl implements Control {
  explain(): Explained {
    return { fault: 'nothing to explain' };
  }

  readonly world: LiveWorld;
  readonly changes: EndpointChange[] = [];
  answer: ReloadResult = { accepted: true, version: 'beef', versionNumber: 2, isChanged: true };

  restarted: RestartResult = { restarted: [0, 1], message: null };
  upgraded: UpgradeResult = { upgraded: true, pid: 4711 };

  constructor(world: LiveWorld) {
    this.world = world;
  }

  async setEndpoint(poolName: string, id: string, change: EndpointChange): Promise<SetEndpointResult> {
    const pool = this.world.state.pools.find(({ name }) => name === poolName);
    if (pool === undefined) return 'no-pool';
    const live = pool.endpoints.find(({ endpoint }) => endpoint.id === id);
    if (live === undefined) return 'no-endpoint';
    this.changes.push(change);
    if (change.weight !== undefined) live.endpoint.weight = change.weight;
    if (change.state === 'drain') live.endpoint.setDown(Down.DRAINING);
    if (change.state !== undefined) this.world.change(poolName, live.endpoint, { adminState: change.state });
    return 'done';
  }

  async reload() {
    return this.answer;
  }

  readonly centre = null;

  async judge() {
    return { id: 'beef', problems: [], unjudged: [], changes: [], replay: null };
  }

  async restartWorkers() {
    return this.restarted;
  }

  async upgrade() {
    return this.upgraded;
  }
}

async function setUp({ token = '', heartbeatMs = 15_000 } = {}) {
  const world = new LiveWorld();
  const log = pino({ level: 'silent' });
  const events = new EventLog({ log });
  const state = () => world.state;
  const control = new WorldControl(world);
  const recent = new RecentTraffic(state, world.clock);
  const metrics = new Metrics({ state, counts: new EventCounts(10), endpointSeries: 10, clock: world.clock });
  const parts = { state, control, metrics, recent, events, log, clock: world.clock, version: '9.9.9', heartbeatMs };
  const server = new AdminServer({ host: '127.0.0.1', port: 0, token, ...parts });
  const address = await server.start();
  onTestFinished(() => server.close());
  const ask = async (path: string, options: Parameters<typeof request>[1] = {}) => {
    const { statusCode, headers, body } = await request(`http://${address}${path}`, options);
    const text = await body.text();
    return { status: statusCode, headers, text, json: () => JSON.parse(text) };
  };
  const patch = (
    path: string,
    body: unknown,
    headers: Record<string, string> = { 'content-type': 'application/json' },
  ) => ask(path, { method: 'PATCH', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
  return { world, events, control, server, address, ask, patch, parts };
}

/** Reads an event stream until the test ends. */
async function follow(address: string, headers: Record<string, string> = {}, query = '') {
  const { statusCode, headers: answered, body } = await request(`http://${address}/api/v1/events${query}`, { headers });
  const stream = { statusCode, headers: answered, text: '', isEnded: false };
  body.on('data', (chunk: Buffer) => {
    stream.text += chunk.toString();
  });
  body.on('error', () => {});
  body.on('end', () => {
    stream.isEnded = true;
  });
  onTestFinished(() => void body.destroy());
  const events = () =>
    [...stream.text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data) as PublishedEvent);
  return { stream, events };
}

const fitAgain = { type: 'fit', pool: 'web', endpoint: 'a:1' } as const;

describe('AdminServer', () => {
  it('is alive while not ready, and says why it is not', async () => {
    const { world, ask } = await setUp();
    expect(await ask('/healthz')).toMatchObject({ status: 200 });
    expect(await ask('/readyz')).toMatchObject({ status: 200 });
    world.state.ready = false;
    world.state.readyReason = 'draining';
    expect((await ask('/healthz')).status).toBe(200);
    const { status, json } = await ask('/readyz');
    expect([status, json()]).toEqual([503, { ready: false, reason: 'draining' }]);
  });

  it('tells of every pool and endpoint, and of one pool by name', async () => {
    const { world, ask } = await setUp();
    world.addPool('api');
    world.serve(world.addEndpoint('web', 9001, { weight: 5, zone: 'b' }), 12);
    const { pools } = (await ask('/api/v1/pools')).json();
    expect(pools.map((pool: { name: string }) => pool.name)).toEqual(['web', 'api']);
    const [endpoint] = pools[0].endpoints;
    expect(endpoint).toMatchObject({ address: '127.0.0.1:9001', weight: 5, zone: 'b', available: true, down: [] });
    expect(endpoint).toMatchObject({ active: 0, latencyMs: null, requests: 1, failures: 0 });
    expect(endpoint.p50).toBeGreaterThan(10);
    expect((await ask('/api/v1/pools/web')).json()).toEqual(pools[0]);
    expect(await ask('/api/v1/pools/none')).toMatchObject({ status: 404 });
  });

  it('changes state and weight of an endpoint and answers with what it is now', async () => {
    const { world, control, patch } = await setUp();
    world.addEndpoint('web', 9001);
    const path = '/api/v1/pools/web/endpoints/127.0.0.1:9001';
    const drained = await patch(path, { state: 'drain' });
    expect(drained.status).toBe(200);
    expect(drained.json()).toMatchObject({
      id: '127.0.0.1:9001',
      state: 'drain',
      down: ['draining'],
      available: false,
    });
    expect((await patch(path, { weight: 2.57 })).json()).toMatchObject({ weight: 2.57 });
    expect(control.changes).toEqual([{ state: 'drain' }, { weight: 2.57 }]);
  });

  it('understands an encoded IPv6 endpoint, and curl -d without a content type', async () => {
    const { world, patch } = await setUp();
    world.addEndpoint('web', 9001, { host: '::1' });
    const path = `/api/v1/pools/web/endpoints/${encodeURIComponent('[::1]:9001')}`;
    const { status } = await patch(path, '{"weight":3}', { 'content-type': 'application/x-www-form-urlencoded' });
    expect(status).toBe(200);
  });

  it.each([
    ['{"state":"off"}', 'state'],
    ['{"weight":-1}', 'weight'],
    ['{"weight":65536}', 'weight'],
    ['{"weight":0.125}', 'two decimals'],
    ['{"weight":"5"}', 'weight'],
    ['{}', 'give a state'],
    ['{"stat":"drain"}', 'stat'],
    ['[]', 'object'],
    ['{"weight":', 'not JSON'],
    ['', 'object'],
  ])('refuses %s and says what is wrong', async (body, hint) => {
    const { world, control, patch } = await setUp();
    world.addEndpoint('web', 9001);
    const { status, json } = await patch('/api/v1/pools/web/endpoints/127.0.0.1:9001', body);
    expect(status).toBe(400);
    expect(json().error.message).toContain(hint);
    expect(control.changes).toEqual([]);
  });

  it('answers 404 for a pool, an endpoint or a path that is not there', async () => {
    const { patch, ask } = await setUp();
    expect((await patch('/api/v1/pools/none/endpoints/a:1', { weight: 1 })).json().error.code).toBe('no-pool');
    expect((await patch('/api/v1/pools/web/endpoints/a:1', { weight: 1 })).json().error.code).toBe('no-endpoint');
    expect((await ask('/api/v2')).json().error).toEqual({ code: 'not-found', message: 'no GET /api/v2' });
    expect((await ask('/dashboard/../server.ts')).status).toBe(404);
  });

  it('tells the registries with the age of the last good set, the listeners, the document and the status', async () => {
    const { world, ask } = await setUp();
    const service = { pool: 'web', service: 's', state: 'synced', endpoints: 3, fromDisk: false, heldReason: null };
    const services = [
      { ...service, ageMs: 1234.5678 },
      { ...service, ageMs: Number.NaN },
    ];
    world.state.registries = [{ name: 'consul', kind: 'consul', up: false, lastError: 'refused', services }];
    world.clock.advance(5000);
    const [registry] = (await ask('/api/v1/registries')).json().registries;
    expect(registry).toMatchObject({ name: 'consul', state: 'down', lastError: 'refused' });
    expect(registry.services.map((one: { ageMs: number }) => one.ageMs)).toEqual([1234.568, null]);
    expect((await ask('/api/v1/listeners')).json().listeners[0]).toMatchObject({
      name: 'shop',
      addresses: ['127.0.0.1:8080'],
    });
    expect((await ask('/api/v1/config')).json()).toEqual({
      version: 'c0ffee',
      number: 1,
      centre: null,
      document: { admin: { token: '***' } },
    });
    const status = (await ask('/api/v1/status')).json();
    expect(status).toMatchObject({ ready: true, uptimeMs: 5000, program: { version: '9.9.9' }, config: { number: 1 } });
    expect(status.workers[1]).toEqual({ id: 1, state: 'up', restarts: 2, lagMs: 0 });
  });

  it('restarts workers, and says how far it came', async () => {
    const { ask, control } = await setUp();
    const restart = () => ask('/api/v1/workers/restart', { method: 'POST' });
    expect((await restart()).json()).toEqual({ restarted: [0, 1] });
    control.restarted = { restarted: [0], message: 'worker 1 is stalled' };
    const { status, json } = await restart();
    expect(status).toBe(409);
    expect(json().error).toEqual({ code: 'not-restarted', message: 'worker 1 is stalled', restarted: [0] });
  });

  it('reloads, and refuses with the same lines as check', async () => {
    const { control, ask } = await setUp();
    expect((await ask('/api/v1/reload', { method: 'POST' })).json()).toEqual({
      version: 'beef',
      number: 2,
      changed: true,
    });
    const problem = { file: '/e.yaml', line: 3, column: 7, path: 'pools.web', message: 'no such thing; write that' };
    control.answer = { accepted: false, message: '1 problem', problems: [problem] };
    const { status, json } = await ask('/api/v1/reload', { method: 'POST' });
    expect(status).toBe(422);
    expect(json().error).toEqual({
      code: 'document-refused',
      message: '1 problem',
      problems: [{ ...problem, text: '/e.yaml:3:7  pools.web  no such thing; write that' }],
    });
  });

  it('answers 500 without the inside when an act fails unexpectedly', async () => {
    const { control, ask } = await setUp();
    control.reload = () => Promise.reject(new Error('secret inside'));
    const { status, text } = await ask('/api/v1/reload', { method: 'POST' });
    expect(status).toBe(500);
    expect(text).not.toContain('secret');
  });

  it('serves the metrics, compressed for who accepts it', async () => {
    const { ask, address } = await setUp();
    const plain = await ask('/metrics');
    expect(plain.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(parseExposition(plain.text).has('evenkeel_config_version')).toBe(true);
    for (const accepted of ['gzip', 'deflate, gzip;q=0.5', 'br, gzip']) {
      const { headers, body } = await request(`http://${address}/metrics`, {
        headers: { 'accept-encoding': accepted },
      });
      expect([accepted, headers['content-encoding']]).toEqual([accepted, 'gzip']);
      expect(gunzipSync(Buffer.from(await body.arrayBuffer())).toString()).toBe(plain.text);
    }
    for (const refused of ['identity', 'gzip;q=0', 'br, gzip;q=0.000', 'xgzip']) {
      const { headers, body } = await request(`http://${address}/metrics`, { headers: { 'accept-encoding': refused } });
      await body.dump();
      expect([refused, headers['content-encoding']]).toEqual([refused, undefined]);
    }
  });

  it('asks for the token everywhere but for health and the empty page', async () => {
    const { ask } = await setUp({ token: 'sesame' });
    for (const path of ['/healthz', '/readyz', '/', '/dashboard/main.js'])
      expect([path, (await ask(path)).status]).toEqual([path, 200]);
    const paths = [
      '/metrics',
      '/api/v1/pools',
      '/api/v1/pools/web',
      '/api/v1/registries',
      '/api/v1/config',
      '/api/v1/events',
    ];
    paths.push('/api/v1/status', '/api/v1/listeners', '/api/v1/overview', '/api/v1/history', '/healthz/', '/none');
    for (const path of paths) expect([path, (await ask(path)).status]).toEqual([path, 401]);
    for (const method of ['POST', 'PATCH', 'PUT', 'DELETE'] as const) {
      expect((await ask('/api/v1/reload', { method })).status).toBe(401);
    }
    expect(
      (await ask('/metrics', { headers: { authorization: 'Bearer wrong' } })).headers['www-authenticate'],
    ).toContain('Bearer');
    expect((await ask('/metrics', { headers: { authorization: 'Bearer sesame' } })).status).toBe(200);
  });

  it('turns away names that are not its own and pages of other sites', async () => {
    const { ask, control, world } = await setUp();
    world.addEndpoint('web', 9001);
    expect((await ask('/api/v1/pools', { headers: { host: 'evil.example' } })).status).toBe(403);
    const headers = { origin: 'http://evil.example', 'content-type': 'text/plain' };
    const path = '/api/v1/pools/web/endpoints/127.0.0.1:9001';
    const { status } = await ask(path, { method: 'PATCH', headers, body: '{"state":"drain"}' });
    expect([status, control.changes]).toEqual([403, []]);
  });

  it('sends no CORS header and forbids framing, sniffing and caching', async () => {
    const { ask, address } = await setUp();
    for (const path of ['/api/v1/pools', '/metrics', '/none', '/']) {
      const { headers } = await ask(path, { headers: { origin: `http://${address}` } });
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
      expect(headers).toMatchObject({ 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff' });
      expect(headers['content-security-policy']).toContain("default-src 'none'");
    }
    expect((await ask('/api/v1/pools')).headers['cache-control']).toBe('no-store');
  });

  it('refuses a body larger than it needs', async () => {
    const { ask } = await setUp();
    const { status } = await ask('/api/v1/reload', { method: 'POST', body: 'x'.repeat(100_000) });
    expect(status).toBe(413);
  });

  it('streams events as they happen, with a sign of life in between', async () => {
    const { address, events } = await setUp({ heartbeatMs: 20 });
    events.publish(fitAgain);
    const { stream, events: heard } = await follow(address);
    expect(stream.headers['content-type']).toContain('text/event-stream');
    expect(stream.headers['x-content-type-options']).toBe('nosniff');
    await eventually(() => stream.text.includes(': beat'));
    events.publish({ type: 'registry-lost', registry: 'consul', error: 'two\nlines' });
    await eventually(() => heard().length === 1);
    expect(heard()[0]).toMatchObject({ id: 2, type: 'registry-lost', error: 'two\nlines' });
    expect(stream.text).toContain('id: 2\n');
  });

  it('goes on after the last event a listener has seen, or starts over after a restart', async () => {
    const { address, events } = await setUp();
    for (let i = 0; i < 5; i++) events.publish(fitAgain);
    const ids = async (headers: Record<string, string>, query = '') => {
      const { events: heard, stream } = await follow(address, headers, query);
      await eventually(() => stream.text.includes('retry'));
      return heard().map(({ id }) => id);
    };
    expect(await ids({ 'last-event-id': '3' })).toEqual([4, 5]);
    expect(await ids({ 'last-event-id': '999' })).toEqual([1, 2, 3, 4, 5]);
    expect(await ids({}, '?last=2')).toEqual([4, 5]);
    expect(await ids({})).toEqual([]);
  });

  it('ends event streams when it closes', async () => {
    const { address, server } = await setUp();
    const { stream } = await follow(address);
    await eventually(() => stream.text.includes('retry'));
    await server.close();
    await eventually(() => stream.isEnded);
    await expect(request(`http://${address}/healthz`)).rejects.toThrow();
  });

  it('says that its port is busy', async () => {
    const busy = createServer().listen(0, '127.0.0.1');
    await once(busy, 'listening');
    onTestFinished(() => void busy.close());
    const { port } = busy.address() as { port: number };
    const { parts } = await setUp();
    const second = new AdminServer({ host: '127.0.0.1', port, token: '', ...parts });
    const error = await second.start().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OperationError);
    expect((error as OperationError).code).toBe('address-in-use');
    expect((error as OperationError).message).toContain(`127.0.0.1:${port}`);
  });

  it('does not start beyond loopback without a token', async () => {
    const { parts } = await setUp();
    const server = new AdminServer({ host: '0.0.0.0', port: 0, token: '', ...parts });
    await expect(server.start()).rejects.toMatchObject({ code: 'admin-token' });
  });

  it('shows of a large pool those in trouble and the busiest', async () => {
    const { world, ask } = await setUp();
    for (let port = 1; port <= 300; port++) world.addEndpoint('web', port);
    const { endpoints } = world.pool('web');
    endpoints[250].endpoint.setDown(Down.PROBE);
    const { pools } = (await ask('/api/v1/overview')).json();
    const ids = pools[0].endpoints.map((endpoint: { id: string }) => endpoint.id);
    expect([pools[0].size, ids.length]).toEqual([300, 50]);
    expect(ids).toContain('127.0.0.1:251');
    const { pools: past } = (await ask('/api/v1/history')).json();
    expect(past.web).toMatchObject({ requestsPerSecond: [], p99: [] });
  });
});

describe('dashboard', () => {
  it('comes from this server alone, in every file the page names', async () => {
    const { ask } = await setUp();
    const page = await ask('/');
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    const asked = new Set(['/']);
    for (const path of asked) {
      const { status, text } = await ask(path);
      expect([path, status]).toEqual([path, 200]);
      expect(text.replace(/http:\/\/www\.w3\.org\/\S+/g, '')).not.toMatch(/https?:\/\//);
      for (const [, file] of text.matchAll(/(?:src|href)="(\/dashboard\/[^"]+)"/g)) asked.add(file);
      for (const [, file] of text.matchAll(/from '\.\/([^']+)'/g)) asked.add(`/dashboard/${file}`);
    }
    expect(asked.size).toBe(8);
  });

  it('has no inline script, style or handler, which its policy forbids', () => {
    const html = readFileSync(new URL('../../../src/admin/dashboard/index.html', import.meta.url), 'utf8');
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
  });
});
