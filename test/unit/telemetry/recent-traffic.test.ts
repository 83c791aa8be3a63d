import { describe, expect, it } from 'vitest';
import { Down } from '../../../src/endpoint/down.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { RouteCells } from '../../../src/routing/route-cells.ts';
import { HISTORY_SECONDS, RecentTraffic } from '../../../src/telemetry/recent-traffic.ts';
import { endpointSnapshot, listenerSnapshot, poolSummary } from '../../../src/telemetry/snapshot.ts';
import { LiveWorld, ROWS } from '../../helpers/live-world.ts';

function setUp() {
  const world = new LiveWorld();
  const recent = new RecentTraffic(() => world.state, world.clock);
  /** One second in which the endpoints serve so many requests each. */
  const second = (...served: [Parameters<LiveWorld['serve']>[0], number, number][]) => {
    for (const [endpoint, count, ms] of served) for (let i = 0; i < count; i++) world.serve(endpoint, ms);
    world.clock.advance(1000);
    recent.sample();
  };
  return { world, recent, second };
}

describe('RecentTraffic', () => {
  it('tells rates, shares and quantiles of the last ten seconds only', () => {
    const { world, recent, second } = setUp();
    const fast = world.addEndpoint('web', 1);
    const slow = world.addEndpoint('web', 2);
    recent.sample();
    for (let i = 0; i < 10; i++) second([fast, 10, 4], [slow, 10, 400]);
    expect(recent.endpoint(fast)).toMatchObject({ requestsPerSecond: 10, share: 0.5, lastSecond: 10 });
    expect(recent.endpoint(slow).p50).toBeGreaterThan(250);
    expect(recent.pool('web').p99).toBeGreaterThan(390);
    for (let i = 0; i < 10; i++) second([fast, 18, 4], [slow, 2, 4]);
    expect(recent.endpoint(fast)).toMatchObject({ requestsPerSecond: 18, share: 0.9 });
    expect(recent.endpoint(slow)).toMatchObject({ requestsPerSecond: 2, share: 0.1 });
    expect(recent.endpoint(slow).p99).toBeLessThanOrEqual(5);
    expect(recent.pool('web')).toMatchObject({ requestsPerSecond: 20, share: 1 });
    expect(recent.pool('web').p99).toBeLessThan(4.5);
  });

  it('does not take what an endpoint had counted before it was first seen for recent', () => {
    const { world, recent, second } = setUp();
    const endpoint = world.addEndpoint('web', 1);
    for (let i = 0; i < 1000; i++) world.serve(endpoint, 1);
    recent.sample();
    second();
    expect(recent.endpoint(endpoint)).toMatchObject({ requestsPerSecond: 0, p99: null });
  });

  it("tells a pool's rates as they are when a route leaves it or comes back", () => {
    const { world, recent, second } = setUp();
    const [first] = world.state.routes;
    const other = { ...first, route: 'other', cells: new RouteCells(ROWS) };
    const answer = (count: number, { cells }: typeof first) => {
      for (let i = 0; i < count; i++) cells.count(1, 0, i === 0 ? 503 : 200, 5);
    };
    world.state.routes = [first, other];
    for (const route of world.state.routes) answer(10_000, route);
    recent.sample();
    // Left, with the counts of the other route; back, with its own; and another that nobody has seen.
    for (const routes of [[first], [first, other], [other], [{ ...other, cells: new RouteCells(ROWS) }, first]]) {
      world.state.routes = routes;
      answer(10, routes[0]);
      second();
      expect(recent.pool('web')).toMatchObject({ lastSecond: 10 });
    }
    expect(recent.pool('web').requestsPerSecond).toBe(10);
    expect(recent.pool('web').failuresPerSecond).toBe(1);
  });

  it('counts failures of attempts, but not clients that left', () => {
    const { world, recent, second } = setUp();
    const endpoint = world.addEndpoint('web', 1);
    recent.sample();
    world.serve(endpoint, 1, { outcome: Outcome.RESET, status: 502 });
    world.serve(endpoint, 1, { outcome: Outcome.CLIENT_GONE, status: 499 });
    second();
    expect(recent.endpoint(endpoint)).toMatchObject({ requestsPerSecond: 2, failuresPerSecond: 1 });
    expect(recent.pool('web').failuresPerSecond).toBe(1);
  });

  it('measures rates by the clock, not by the number of samples', () => {
    const { world, recent } = setUp();
    const endpoint = world.addEndpoint('web', 1);
    recent.sample();
    for (let i = 0; i < 40; i++) world.serve(endpoint, 1);
    world.clock.advance(4000);
    recent.sample();
    expect(recent.endpoint(endpoint)).toMatchObject({ requestsPerSecond: 10, lastSecond: 10 });
  });

  it('keeps two minutes of history, and none of endpoints that left', () => {
    const { world, recent, second } = setUp();
    const stays = world.addEndpoint('web', 1);
    const leaves = world.addEndpoint('web', 2);
    recent.sample();
    for (let i = 0; i < HISTORY_SECONDS + 30; i++) second([stays, i % 7, 5], [leaves, 1, 5]);
    const history = recent.history('web', [stays, leaves]);
    expect(history.endpoints[stays.id].length).toBe(HISTORY_SECONDS);
    expect(history.endpoints[stays.id].at(-1)).toBe((HISTORY_SECONDS + 29) % 7);
    expect(history.p99.length).toBe(HISTORY_SECONDS);
    world.removeEndpoint('web', leaves);
    second();
    expect(Object.keys(recent.history('web', [stays, leaves]).endpoints)).toEqual([stays.id]);
  });

  it('starts anew for an endpoint that took the slot of another', () => {
    const { world, recent, second } = setUp();
    const before = world.addEndpoint('web', 1);
    recent.sample();
    second([before, 10, 1]);
    world.removeEndpoint('web', before);
    const after = world.addEndpoint('web', 9);
    expect(after.slot).toBe(before.slot);
    expect(recent.endpoint(after)).toMatchObject({ requestsPerSecond: 0, share: 0 });
    second();
    expect(recent.endpoint(after)).toMatchObject({ requestsPerSecond: 0, share: 0 });
    expect(recent.history('web', [after]).endpoints[after.id]).toEqual([0]);
  });
});

describe('snapshots', () => {
  it('tells of an endpoint what the contract lists', () => {
    const { world, recent } = setUp();
    const endpoint = world.addEndpoint('web', 9001, {
      weight: 5,
      zone: 'b',
      backup: true,
      tags: ['v2'],
      version: '1.4',
    });
    world.serve(endpoint, 4);
    world.serve(endpoint, 4, { worker: 1 });
    world.serve(endpoint, 40, { outcome: Outcome.SERVER_ERROR });
    world.view(endpoint, 0).begin(0);
    endpoint.setLatency(12.3456, 0);
    endpoint.setDown(Down.EJECTED | Down.PROBE);
    endpoint.ejectedUntilMs = world.clock.now() + 4000;
    const snapshot = endpointSnapshot(world.pool('web').endpoints[0], recent, world.clock.now());
    expect(snapshot).toMatchObject({
      id: '127.0.0.1:9001',
      address: '127.0.0.1:9001',
      weight: 5,
      zone: 'b',
      backup: true,
      tags: ['v2'],
      version: '1.4',
      available: false,
      down: ['probe', 'ejected'],
      active: 1,
      latencyMs: 12.346,
      requests: 3,
      failures: 1,
      ejectedForMs: 4000,
      outcomes: { ok: 2, 'server-error': 1 },
    });
    expect(snapshot.p50).toBeCloseTo(4.375, 3);
    expect(snapshot.p99).toBeGreaterThan(25);
  });

  it('has null, never NaN, where nothing was observed', () => {
    const { world, recent } = setUp();
    world.addEndpoint('web', 1);
    const [live] = world.pool('web').endpoints;
    const snapshot = endpointSnapshot(live, recent, 0);
    expect(snapshot).toMatchObject({ latencyMs: null, p50: null, p90: null, p99: null, ejectedForMs: null });
    expect(poolSummary(world.pool('web'), world.state.routes, recent)).toMatchObject({
      p99: null,
      requests: 0,
      size: 1,
    });
  });

  it('takes the quantiles of a pool from the durations of its routes', () => {
    const { world, recent } = setUp();
    const endpoint = world.addEndpoint('web', 1);
    for (let i = 0; i < 98; i++) world.serve(endpoint, 7);
    for (let i = 0; i < 2; i++) world.serve(endpoint, 700);
    const { p50, p99, requests } = poolSummary(world.pool('web'), world.state.routes, recent);
    expect(requests).toBe(100);
    // The fine histogram is right within a sixteenth; the exported buckets would say 5 to 10.
    expect(p50).toBeGreaterThanOrEqual(7);
    expect(p50).toBeLessThan(7 * (17 / 16));
    expect(p99).toBeGreaterThanOrEqual(700);
    expect(p99).toBeLessThan(700 * (17 / 16));
  });

  it('tells of a listener its connections, bytes and answers of its own', () => {
    const { world } = setUp();
    const { cells } = world.state.listeners[0];
    cells.opened(1);
    cells.opened(2);
    cells.closed(2);
    cells.rejected(1, 0);
    const snapshot = listenerSnapshot(world.state.listeners[0], world.state.routes);
    expect(snapshot).toMatchObject({ connections: { active: 1, total: 2 }, rejected: { 'no-endpoint': 1 } });
    expect(snapshot.routes.map(({ name }) => name)).toEqual(['web']);
  });
});
