import { BlockList, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ManualClock } from '../../../../src/base/clock.ts';
import { FineTimers } from '../../../../src/base/fine-timers.ts';
import { seededRandom } from '../../../../src/base/random.ts';
import { TimerWheel } from '../../../../src/base/timer-wheel.ts';
import { TurnClock } from '../../../../src/base/turn-clock.ts';
import { packDelta } from '../../../../src/endpoint/delta.ts';
import { PoolWords } from '../../../../src/endpoint/pool-words.ts';
import { type Exchange, type Middleware, Verdict } from '../../../../src/middleware/exchange.ts';
import { Pool } from '../../../../src/pool/pool.ts';
import { Http1Engine, type Http1Settings } from '../../../../src/proxy/http1/engine.ts';
import { Refusals } from '../../../../src/proxy/http1/refusals.ts';
import { UpstreamConnections } from '../../../../src/proxy/http1/upstream-connections.ts';
import { PlainDialer } from '../../../../src/proxy/http1/upstream-dialer.ts';
import { ListenerCells } from '../../../../src/proxy/listener-cells.ts';
import { Sockets } from '../../../../src/proxy/sockets.ts';
import { UniqueIds } from '../../../../src/proxy/unique-ids.ts';
import { routeOptions } from '../../../../src/routing/options.ts';
import { RouteCells } from '../../../../src/routing/route-cells.ts';
import { RouteTable } from '../../../../src/routing/route-table.ts';
import { EndpointFactory } from '../../../helpers/endpoint-factory.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { startOrigin } from '../../../helpers/origin.ts';
import { poolOptionsOf } from '../../../helpers/pool-options.ts';
import { type RawClient, rawClient, request } from '../../../helpers/raw-client.ts';

const TICK_MS = 50;
/** More than the kernel takes for a client that does not read. */
const LARGE = 32 * 1024 * 1024;

describe('a client connection', () => {
  const cells = new ListenerCells(2);
  let clock: ManualClock;
  let wheel: TimerWheel;
  let engine: Http1Engine;
  let server: Server;
  let accepted: Socket[];
  let stage: Middleware;

  beforeEach(async () => {
    clock = new ManualClock();
    wheel = new TimerWheel(TICK_MS);
    accepted = [];
    stage = { onRequest: (exchange) => exchange.answer(200, 'hello') };
    const routes = [routeOptions(z.never()).parse({ name: 'all', pool: 'none' })];
    const settings: Http1Settings = {
      listenerName: 'web',
      table: new RouteTable(routes, () => 0),
      routes: [
        {
          name: 'all',
          pool: poolWith({}),
          dialer: new PlainDialer(),
          cells: new RouteCells(2),
          connect: false,
          stages: [{ onRequest: (exchange: Exchange) => stage.onRequest?.(exchange) ?? Verdict.CONTINUE }],
        },
      ],
      trusted: null,
      via: null,
      timeouts: { head: 15_000, body: 15_000, idle: 75_000, tunnel: 3_600_000 },
      limits: {
        head: 16_384,
        headers: 100,
        target: 8192,
        body: 0,
        bodyRate: 100,
        chunkExtensions: 4096,
        trailers: 16_384,
      },
    };
    const sockets = new Sockets(new TurnClock(clock));
    const upstreams = new UpstreamConnections(clock, wheel, sockets);
    const fine = new FineTimers(clock);
    const context = {
      row: 1,
      clock,
      wheel,
      fine,
      sockets,
      upstreams,
      uniqueIds: new UniqueIds(),
      refusals: new Refusals(1),
    };
    engine = new Http1Engine(settings, cells, context, null);
    server = createServer({ allowHalfOpen: true }, (socket) => {
      accepted.push(socket);
      engine.accept(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  afterEach(async () => {
    engine.cut();
    await new Promise((resolve) => server.close(resolve));
    expect(cells.connectionsActive).toBe(0);
  });

  /** A pool of one endpoint on `port`; of none without it. */
  function poolWith(timeouts: object, port?: number): Pool {
    const factory = new EndpointFactory(2, 1);
    const pool = new Pool('one', poolOptionsOf({ timeouts }), new PoolWords(2), {
      clock,
      random: seededRandom(1),
      worker: 0,
      workers: 1,
      row: 1,
      table: factory.table,
      onEjected: () => {},
      onGone: () => {},
    });
    const endpoints = port === undefined ? [] : [factory.make({ port })];
    for (const delta of packDelta('one', 1, endpoints, [])) pool.apply(delta);
    return pool;
  }

  function usePool(pool: Pool): void {
    const { settings } = engine;
    engine.settings = { ...settings, routes: [{ ...settings.routes[0], pool }] };
  }

  /** What the access log is told: status and reason of each exchange. */
  function records(): (readonly [number, string])[] {
    const told: (readonly [number, string])[] = [];
    engine.access = { record: ({ status, reason }) => void told.push([status, reason]) };
    return told;
  }

  const open = (paused = false): Promise<RawClient> =>
    rawClient((server.address() as { port: number }).port, { paused });

  function pass(ms: number): void {
    for (let left = ms; left > 0; left -= TICK_MS) {
      clock.advance(TICK_MS);
      wheel.tick();
    }
  }

  it('does not cut a last response that its client fetches slowly', async () => {
    stage = { onRequest: (exchange) => exchange.answer(200, 'x'.repeat(LARGE)) };
    await using client = await open(true);
    client.write(request('GET', '/', ['connection: close']));
    await eventually(() => accepted[0]?.writableLength > 0);
    pass(30_000);
    client.resume();
    expect((await client.response()).body.length).toBe(LARGE);
    expect(await client.ended()).toBe('end');
  });

  it('ends, in the end, although its client never fetches the response', async () => {
    stage = { onRequest: (exchange) => exchange.answer(200, 'x'.repeat(LARGE)) };
    await using client = await open(true);
    client.write(request('GET', '/', ['connection: close']));
    await eventually(() => accepted[0]?.writableLength > 0);
    pass(61_000);
    await eventually(() => accepted[0].destroyed);
    expect(engine.connections).toBe(0);
  });

  it('goes away two seconds after a last response was fetched, however much the client still sends', async () => {
    await using client = await open();
    client.write(request('POST', '/', ['content-length: 1000000'], 'part'));
    expect((await client.response()).fields.get('connection')).toBe('close');
    await eventually(() => accepted[0].writableFinished);
    client.write('more');
    expect(accepted[0].destroyed).toBe(false);
    pass(2100);
    await eventually(() => accepted[0].destroyed);
  });

  it('lets a client that has sent its end fetch the response, but not for ever', async () => {
    let held: Exchange | null = null;
    stage = {
      onRequest: (exchange) => {
        held = exchange;
        return exchange.answer(200, 'x'.repeat(LARGE));
      },
    };
    await using client = await open(true);
    client.write(request('GET', '/'));
    await eventually(() => accepted[0]?.writableLength > 0);
    expect(held).not.toBeNull();
    client.end();
    await eventually(() => accepted[0].writableEnded || accepted[0].isPaused());
    pass(75_100);
    pass(61_000);
    await eventually(() => accepted[0].destroyed);
    expect(engine.connections).toBe(0);
  });

  it('ends an idle connection when its time is over, and one that never said anything', async () => {
    await using client = await open();
    expect((await client.ask('GET', '/')).text).toBe('hello');
    pass(74_000);
    expect(client.over).toBeNull();
    pass(2_000);
    expect(await client.ended()).toBe('end');
    await using silent = await open();
    await eventually(() => accepted.length === 2);
    pass(15_100);
    expect(await silent.ended()).toBe('end');
  });

  it('answers 408 to a head that does not become whole, bytes or no bytes', async () => {
    await using client = await open();
    client.write('GET / HT');
    await eventually(() => accepted[0]?.bytesRead > 0);
    pass(10_000);
    client.write('TP/1.1\r\n');
    await eventually(() => accepted[0].bytesRead > 8);
    pass(5_100);
    const response = await client.response();
    expect([response.status, response.fields.get('x-evenkeel-reason')]).toEqual([408, 'head-timeout']);
  });

  it('cuts a body that comes byte by byte, not one that comes slowly', async () => {
    stage = { onRequest: () => Verdict.WAIT };
    for (const [piece, isCut] of [
      ['x', true],
      ['x'.repeat(150), false],
    ] as const) {
      await using client = await open();
      client.write(request('POST', '/', ['content-length: 1000000']));
      const socket = await eventually(() => accepted.find((one) => !one.destroyed && one.bytesRead > 0) ?? null);
      for (let second = 0; second < 32 && client.receivedBytes === 0; second++) {
        const before = socket.bytesRead;
        client.write(piece);
        await eventually(() => socket.bytesRead > before || client.receivedBytes > 0);
        pass(1000);
      }
      if (isCut) expect((await client.response()).fields.get('x-evenkeel-reason')).toBe('body-timeout');
      else expect(client.receivedBytes).toBe(0);
      client.reset();
      await eventually(() => engine.connections === 0);
    }
  });

  it('takes a reload into account from the next request on, and not in the midst of one', async () => {
    stage = { onRequest: (exchange) => exchange.answer(200, exchange.clientAddress) };
    await using client = await open();
    const lines = ['x-forwarded-for: 192.0.2.1', `x-long: ${'x'.repeat(500)}`];
    expect((await client.ask('GET', '/', lines)).text).toBe('127.0.0.1');
    const before = accepted[0].bytesRead;
    client.write('GET / HTTP/1.1\r\nhost: a\r\n');
    await eventually(() => accepted[0].bytesRead > before);
    const trusted = new BlockList();
    trusted.addAddress('127.0.0.1');
    const { settings } = engine;
    engine.settings = { ...settings, trusted, limits: { ...settings.limits, head: 300 } };
    client.write(`${lines.join('\r\n')}\r\n\r\n`);
    expect((await client.response()).text).toBe('127.0.0.1');
    expect((await client.ask('GET', '/', lines.slice(0, 1))).text).toBe('192.0.2.1');
    expect((await client.ask('GET', '/', lines)).status).toBe(431);
  });

  it('answers pipelined requests in order', async () => {
    let count = 0;
    stage = { onRequest: (exchange) => exchange.answer(200, `answer ${++count}`) };
    await using client = await open();
    client.write(request('GET', '/').repeat(3));
    for (const text of ['answer 1', 'answer 2', 'answer 3']) expect((await client.response()).text).toBe(text);
  });

  it('goes on at resume(), once, and not for a client that has left', async () => {
    const waiting: Exchange[] = [];
    let later = 0;
    stage = {
      onRequest: (exchange) => {
        if (waiting.length > 0) return exchange.answer(200, `${++later}`);
        waiting.push(exchange);
        return Verdict.WAIT;
      },
    };
    await using client = await open();
    client.write(request('GET', '/'));
    await eventually(() => waiting.length === 1);
    client.reset();
    await eventually(() => engine.connections === 0);
    waiting[0].resume();
    expect(later).toBe(0);
  });

  it.each([
    ['the request timeout of its pool', { request: '40s' }, 40_000],
    ['a minute where that is off', { request: 'off' }, 60_000],
  ])('answers 504 when a stage waits for longer than %s, and hears no late resume', async (_, timeouts, limitMs) => {
    const waiting: Exchange[] = [];
    stage = {
      onRequest: (exchange) => {
        waiting.push(exchange);
        return Verdict.WAIT;
      },
    };
    usePool(poolWith(timeouts));
    await using client = await open();
    client.write(request('GET', '/').repeat(2));
    await eventually(() => waiting.length === 1);
    pass(limitMs - 1000);
    expect(client.receivedBytes).toBe(0);
    pass(1100);
    const { status, fields } = await client.response();
    expect([status, fields.get('x-evenkeel-reason')]).toEqual([504, 'request-timeout']);
    await eventually(() => waiting.length === 2);
    waiting[0].resume();
    expect(client.receivedLength).toBe(0);
    waiting[1].resume();
    expect((await client.response()).fields.get('x-evenkeel-reason')).toBe('no-endpoint');
  });

  it('forgets the limit of a stage when it resumes', async () => {
    await using origin = await startOrigin();
    const waiting: Exchange[] = [];
    stage = {
      onRequest: (exchange) => {
        waiting.push(exchange);
        return Verdict.WAIT;
      },
    };
    usePool(poolWith({ request: 'off', response: 'off' }, origin.port));
    const { promise, resolve } = Promise.withResolvers<void>();
    origin.handler = async (_, reply) => {
      await promise;
      reply.send(200, 'late');
    };
    await using client = await open();
    client.write(request('GET', '/'));
    await eventually(() => waiting.length === 1);
    pass(50_000);
    waiting[0].resume();
    await eventually(() => origin.requests.length === 1);
    pass(50_000);
    resolve();
    expect((await client.response()).text).toBe('late');
  });

  it('lets go of an endpoint whose client takes nothing for a minute, though nothing limits the time between bytes', async () => {
    await using origin = await startOrigin((_, reply) => void reply.send(200, Buffer.alloc(LARGE, 'x')));
    const pool = poolWith({ between: 'off' }, origin.port);
    usePool(pool);
    stage = {};
    const told = records();
    await using client = await open(true);
    client.write(request('GET', '/'));
    await eventually(() => accepted[0]?.bytesWritten > 0);
    // Bytes go on coming until every buffer on the way is full.
    await eventually(async () => {
      const before = cells.bytesOutTotal;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return before === cells.bytesOutTotal;
    });
    pass(58_000);
    expect([told, pool.set.all[0].active]).toEqual([[], 1]);
    pass(3000);
    expect([told, pool.set.all[0].active]).toEqual([[[200, 'client-gone']], 0]);
    client.resume();
    expect(await client.ended()).toBe('reset');
  });

  it('keeps a slow client for as long as it likes while it takes what comes', async () => {
    await using origin = await startOrigin((_, reply) => void reply.send(200, Buffer.alloc(LARGE, 'x')));
    usePool(poolWith({ between: 'off' }, origin.port));
    stage = {};
    await using client = await open(true);
    client.write(request('GET', '/'));
    await eventually(() => accepted[0]?.bytesWritten > 0);
    for (let i = 0; i < 4; i++) {
      const { receivedBytes } = client;
      pass(40_000);
      client.resume();
      // A fast machine brings all of it at once.
      await eventually(() => client.receivedBytes > Math.min(receivedBytes + LARGE / 5, LARGE));
      if (i < 3) client.pause();
    }
    expect((await client.response()).body.length).toBe(LARGE);
  });

  it('says draining, not client-gone, of what it cuts itself', async () => {
    stage = { onRequest: () => Verdict.WAIT };
    const told = records();
    await using client = await open();
    client.write(request('GET', '/'));
    await eventually(() => accepted[0]?.bytesRead > 0);
    engine.cut();
    expect(told).toEqual([[503, 'draining']]);
    expect(await client.ended()).toBe('reset');
  });

  it('does not keep a connection that was refused, however much its client sends', async () => {
    const refusing = createServer({ allowHalfOpen: true }, (socket) => {
      accepted.push(socket);
      engine.refuse(socket);
    });
    await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve));
    await using client = await rawClient((refusing.address() as { port: number }).port);
    expect((await client.response()).status).toBe(503);
    const chatter = setInterval(() => client.write('x'), 100);
    await eventually(() => accepted[0].destroyed, { timeoutMs: 3000 });
    clearInterval(chatter);
    await new Promise((resolve) => refusing.close(resolve));
  });
});
