import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { registries } from '../../../src/discovery/catalog.ts';
import type { Registry } from '../../../src/discovery/registry.ts';
import { eventually } from '../../helpers/eventually.ts';
import { RecordingSink } from '../../helpers/recording-sink.ts';

/** One answer of a scripted server; without `index` no such header, without `body` none. `park` keeps the request waiting. */
interface Answer {
  status?: number;
  index?: number;
  body?: string;
  headers?: Record<string, string>;
  park?: boolean;
  cut?: boolean;
}

const record = (port: number, more = {}) => ({
  Node: { Node: 'n1', Address: '10.0.0.1' },
  Service: {
    ID: `w${port}`,
    Address: '10.0.0.1',
    Port: port,
    Weights: { Passing: 1, Warning: 1 },
    CreateIndex: 1,
    ...more,
  },
  Checks: [],
});
const list = (...ports: number[]) => JSON.stringify(ports.map((port) => record(port)));

describe('the consul registry and what servers may answer', () => {
  const stack: (() => Promise<unknown> | unknown)[] = [];
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
  });

  /** Answers the watch of `web` in this order, then parks; pings are answered for as long as `pings` says. */
  async function scripted(...answers: Answer[]) {
    const asked: string[] = [];
    const state = {
      pings: true,
      asked,
      answers,
      parked: [] as ServerResponse[],
      headers: [] as IncomingMessage['headers'][],
    };
    const server = createServer((request, response) => {
      if (request.url === '/v1/status/leader') {
        if (state.pings) response.end('"127.0.0.1:8300"');
        else request.socket.destroy();
        return;
      }
      const query = new URL(`http://x${request.url}`).searchParams;
      asked.push(`${query.get('index') ?? 0}`);
      state.headers.push(request.headers);
      const next = answers.shift() ?? { park: true };
      if (next.cut) return void request.socket.destroy();
      if (next.park) return void state.parked.push(response);
      if (next.index !== undefined) response.setHeader('X-Consul-Index', String(next.index));
      for (const [name, value] of Object.entries(next.headers ?? {})) response.setHeader(name, value);
      response.statusCode = next.status ?? 200;
      response.end(next.body ?? '[]');
    });
    const address = await listen(server);
    return { ...state, state, address };
  }

  async function listen(server: Server): Promise<string> {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    stack.push(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async function watch(address: string, more: Record<string, unknown> = {}) {
    const log: string[] = [];
    const registry: Registry = registries.create(registries.schema().parse({ kind: 'consul', address, ...more }), {
      name: 'consul',
      clock: systemClock,
      random: () => 0.01,
      log: (level, message, fields) => void log.push(`${level} ${message} ${JSON.stringify(fields)}`),
    });
    stack.push(() => registry.close());
    const sink = new RecordingSink();
    const subscription = registry.subscribe({ name: 'web', tags: [] }, sink);
    await registry.start();
    return { registry, sink, subscription, log };
  }

  const ports = (sink: RecordingSink) =>
    sink.sets.map(({ endpoints, suspicion }) =>
      `${endpoints.map(({ port }) => port).join(',')} ${suspicion ?? ''}`.trim(),
    );

  it('waits at the index of the last answer', async () => {
    const server = await scripted({ index: 7, body: list(1) }, { index: 9, body: list(1, 2) });
    const { sink } = await watch(server.address);
    await eventually(() => server.asked.length === 3);
    expect(server.asked).toEqual(['0', '7', '9']);
    expect(ports(sink)).toEqual(['1', '1,2']);
  });

  it('starts from 0 when the index goes backwards, and marks that answer', async () => {
    const server = await scripted({ index: 70, body: list(1) }, { index: 3, body: list() }, { index: 3, body: list() });
    const { sink } = await watch(server.address);
    await eventually(() => server.asked.length === 4);
    expect(server.asked).toEqual(['0', '70', '0', '3']);
    expect(ports(sink)).toEqual(['1', 'index-reset', '']);
  });

  it('never waits at index 0', async () => {
    const server = await scripted({ index: 0, body: list(1) });
    await watch(server.address);
    await eventually(() => server.asked.length === 2);
    expect(server.asked).toEqual(['0', '1']);
  });

  it('starts from 0 after an error, and marks that answer only', async () => {
    const server = await scripted(
      { index: 7, body: list(1) },
      { cut: true },
      { index: 8, body: list() },
      { index: 9, body: list(1) },
    );
    const { sink } = await watch(server.address);
    await eventually(() => server.asked.length === 5);
    expect(server.asked).toEqual(['0', '7', '0', '8', '9']);
    expect(ports(sink)).toEqual(['1', 'after-reconnect', '1']);
    expect(sink.errors.map(({ code }) => code)).toEqual(['registry-unreachable']);
  });

  it.each<[string, Answer, string]>([
    ['500', { status: 500, index: 1, body: 'No cluster leader' }, 'No cluster leader'],
    ['429', { status: 429 }, '429'],
    ['a page that is not Consul’s', { body: '<html>' }, 'no X-Consul-Index'],
    ['a body that is no JSON', { index: 5, body: '[{' }, 'cannot be read'],
    ['a body that is no list', { index: 5, body: '{"a":1}' }, 'not a list'],
  ])('keeps what it knows on %s', async (_name, answer, message) => {
    const server = await scripted({ index: 7, body: list(1) }, answer, answer, { index: 8, body: list(1) });
    const { sink } = await watch(server.address);
    await eventually(() => server.asked.length === 5);
    expect(server.asked).toEqual(['0', '7', '0', '0', '8']);
    expect(ports(sink)).toEqual(['1', '1 after-reconnect']);
    expect(sink.errors).toHaveLength(1);
    expect(sink.errors[0].message).toContain(message);
    expect(sink.errors[0].retryable).toBe(true);
  });

  it.each([
    ['has no leader', { 'X-Consul-KnownLeader': 'false' }, 'stale-server'],
    ['has not heard of its leader for long', { 'X-Consul-LastContact': '30001' }, 'stale-server'],
    ['hides endpoints from the token', { 'X-Consul-Results-Filtered-By-ACLs': 'true' }, 'emptied'],
    ['is well', { 'X-Consul-KnownLeader': 'true', 'X-Consul-LastContact': '12' }, ''],
  ])('says so when the server %s', async (_name, headers, suspicion) => {
    const server = await scripted({ index: 7, body: list(1) }, { index: 8, body: '[]', headers });
    const { sink } = await watch(server.address);
    await eventually(() => sink.sets.length === 2);
    expect(ports(sink)).toEqual(['1', suspicion]);
  });

  it('tells of an unchanged answer by the very same list', async () => {
    const other = JSON.stringify([{ ...record(1), Checks: [{ CheckID: 'a', Status: 'passing', Output: 'news' }] }]);
    const server = await scripted({ index: 7, body: list(1) }, { index: 8, body: list(1) }, { index: 9, body: other });
    const { sink } = await watch(server.address);
    await eventually(() => sink.sets.length === 3);
    expect(sink.sets[1].endpoints).toBe(sink.sets[0].endpoints);
    expect(sink.sets[2].endpoints).toBe(sink.sets[0].endpoints);
  });

  it('shares one watch among the pools of a service, and ends it with the last', async () => {
    const server = await scripted({ index: 7, body: list(1) });
    const { registry, subscription } = await watch(server.address);
    await eventually(() => server.asked.length === 2);
    const second = new RecordingSink();
    const other = registry.subscribe({ name: 'web', tags: [] }, second);
    expect(second.told).toEqual(['1 up 1']);
    subscription.close();
    const parked = server.parked[0];
    expect(parked.closed).toBe(false);
    other.close();
    await eventually(() => parked.closed);
    expect(server.asked).toHaveLength(2);
  });

  it('asks at once, from 0, when it is to refresh', async () => {
    const server = await scripted({ index: 7, body: list(1) }, { park: true }, { index: 7, body: list(1) });
    const { subscription, sink } = await watch(server.address);
    await eventually(() => server.asked.length === 2);
    subscription.refresh!();
    await eventually(() => server.asked.length === 4);
    expect(server.asked).toEqual(['0', '7', '0', '7']);
    expect(ports(sink)).toEqual(['1', '1']);
    expect(sink.errors).toEqual([]);
  });

  it('limits how often it asks a server that does not wait', async () => {
    const server = await scripted(...Array.from({ length: 500 }, () => ({ index: 7, body: list(1) })));
    await watch(server.address);
    await eventually(() => server.asked.length >= 8);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(server.asked.length).toBeLessThan(16);
  });

  it('sends the token, the datacenter and every tag', async () => {
    const urls: string[] = [];
    const tokens: unknown[] = [];
    const address = await listen(
      createServer((request, response) => {
        urls.push(request.url!);
        tokens.push(request.headers['x-consul-token']);
        response.setHeader('X-Consul-Index', '1').end('[]');
      }),
    );
    const registry = registries.create(
      registries.schema().parse({ kind: 'consul', address, token: 's3cret', datacenter: 'dc2', stale: false }),
      { name: 'consul', clock: systemClock, random: Math.random, log: () => {} },
    );
    stack.push(() => registry.close());
    registry.subscribe({ name: 'a/b c', tags: ['x', 'y&z'] }, new RecordingSink());
    await registry.start();
    await eventually(() => urls.length > 0);
    expect(urls[0]).toBe('/v1/health/service/a%2Fb%20c?dc=dc2&tag=x&tag=y%26z');
    expect(tokens[0]).toBe('s3cret');
  });

  it('counts records it cannot use and keeps the others', async () => {
    const body = JSON.stringify([record(1), record(2, { Address: '169.254.169.254' }), record(0), { Node: null }]);
    const server = await scripted({ index: 7, body });
    const { sink, log } = await watch(server.address);
    await eventually(() => sink.sets.length === 1);
    expect(ports(sink)).toEqual(['1']);
    expect(log).toHaveLength(1);
    expect(log[0]).toContain('"leftOut":3');
  });

  it('has one asker for all services while the registry is away, and spreads their return', async () => {
    let isUp = true;
    let watches = 0;
    let pings = 0;
    const address = await listen(
      createServer((request, response) => {
        if (request.url === '/v1/status/leader') pings++;
        else watches++;
        if (!isUp) return void request.socket.destroy();
        if (request.url!.includes('index=')) return;
        response.setHeader('X-Consul-Index', '5').end('[]');
      }),
    );
    const { registry } = await watch(address);
    const sinks = Array.from({ length: 50 }, () => new RecordingSink());
    for (const [i, sink] of sinks.entries()) registry.subscribe({ name: `s${i}`, tags: [] }, sink);
    await eventually(() => watches === 102);
    isUp = false;
    // A change of one service finds the registry gone.
    registry.subscribe({ name: 'new', tags: [] }, new RecordingSink());
    await eventually(() => pings > 5);
    expect(watches).toBeLessThan(106);
    expect(sinks.every(({ errors }) => errors.length === 1)).toBe(true);
    isUp = true;
    await eventually(() => sinks.every(({ last }) => last?.suspicion === 'after-reconnect'));
    expect(sinks.every(({ errors }) => errors.length === 1)).toBe(true);
  });
});

describe('the options of the consul registry', () => {
  const parse = (options: Record<string, unknown>) => registries.schema().safeParse({ kind: 'consul', ...options });

  it('have defaults', () => {
    expect(parse({}).data).toEqual({
      kind: 'consul',
      address: 'http://127.0.0.1:8500',
      token: '',
      datacenter: '',
      wait: 55_000,
      stale: true,
      tls: { verify: true },
      connections: 150,
    });
    expect(registries.schema().parse('consul')).toEqual(parse({}).data);
  });

  it.each([
    { address: '127.0.0.1:8500' },
    { address: 'http://x/path' },
    { wait: '10' },
    { wait: '20m' },
    { connections: 1 },
    { what: 1 },
  ])('refuse %j', (options) => {
    expect(parse(options).success).toBe(false);
  });
});
