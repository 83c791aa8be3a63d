import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BUCKET_BOUNDS_SECONDS } from '../../../src/base/histogram.ts';
import { Down } from '../../../src/endpoint/down.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { POOL_COUNTERS, PoolCounter, RETRY_REASONS } from '../../../src/endpoint/pool-words.ts';
import { REASONS } from '../../../src/proxy/listener-cells.ts';
import { METHOD_LABELS } from '../../../src/routing/route-cells.ts';
import { EventCounts } from '../../../src/telemetry/event-counts.ts';
import { Metrics } from '../../../src/telemetry/prometheus.ts';
import { parseExposition, sampleValue } from '../../helpers/exposition-parser.ts';
import { LiveWorld } from '../../helpers/live-world.ts';

const LATENCY = 'evenkeel_endpoint_request_duration_seconds';

function setUp({ endpointSeries = 1000 } = {}) {
  const world = new LiveWorld();
  const counts = new EventCounts(endpointSeries);
  const metrics = new Metrics({ state: () => world.state, counts, endpointSeries, clock: world.clock });
  const text = async () => {
    world.clock.advance(1001);
    return (await metrics.exposition()).text.toString();
  };
  const scrape = async () => parseExposition(await text());
  return { world, counts, metrics, scrape, text };
}

describe('Metrics', () => {
  it('adds the histograms and counts of several workers', async () => {
    const { world, scrape } = setUp();
    const endpoint = world.addEndpoint('web', 9001);
    world.serve(endpoint, 0.4, { worker: 0 });
    world.serve(endpoint, 0.4, { worker: 1 });
    world.serve(endpoint, 30, { worker: 1 });
    const families = await scrape();
    const labels = { pool: 'web', endpoint: '127.0.0.1:9001' };
    expect(sampleValue(families, `${LATENCY}_bucket`, { ...labels, le: '0.0005' })).toBe(2);
    expect(sampleValue(families, `${LATENCY}_bucket`, { ...labels, le: '0.025' })).toBe(2);
    expect(sampleValue(families, `${LATENCY}_bucket`, { ...labels, le: '0.05' })).toBe(3);
    expect(sampleValue(families, `${LATENCY}_count`, labels)).toBe(3);
    expect(sampleValue(families, `${LATENCY}_sum`, labels)).toBeCloseTo(0.0308, 9);
    expect(
      sampleValue(families, 'evenkeel_request_duration_seconds_count', { listener: 'shop', route: 'web', pool: 'web' }),
    ).toBe(3);
  });

  it('has exactly the buckets of the contract', async () => {
    const { world, scrape } = setUp();
    world.addEndpoint('web', 9001);
    const buckets = (await scrape()).get(LATENCY)?.samples.filter((sample) => sample.name.endsWith('_bucket'));
    expect(buckets?.map((sample) => sample.labels.le)).toEqual([...BUCKET_BOUNDS_SECONDS.map(String), '+Inf']);
    expect(buckets?.map((sample) => sample.labels.le).join(' ')).toBe(
      '0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 +Inf',
    );
  });

  it('exports every family of the contract with its labels', async () => {
    const { world, counts, scrape } = setUp();
    const endpoint = world.addEndpoint('web', 9001);
    world.serve(endpoint, 3, { outcome: Outcome.SERVER_ERROR, status: 503 });
    world.view(endpoint, 1).begin(0);
    endpoint.setDown(Down.EJECTED);
    counts.take({ type: 'ejected', pool: 'web', endpoint: endpoint.id, cause: 'consecutive-failures', forMs: 10_000 });
    const { cells } = world.state.listeners[0];
    cells.opened(1);
    cells.bytesIn(1, 100);
    cells.bytesOut(2, 250);
    cells.rejected(1, REASONS.indexOf('limit'));
    cells.logDropped(2, 7);
    world.pool('web').words.counters[POOL_COUNTERS + PoolCounter.RETRIES + RETRY_REASONS.indexOf('503')] = 4;
    world.state.registries = [
      {
        name: 'consul',
        kind: 'consul',
        up: true,
        lastError: null,
        services: [
          { pool: 'web', service: 's', state: 'synced', ageMs: 1500, endpoints: 1, fromDisk: false, heldReason: null },
        ],
      },
    ];
    const families = await scrape();
    const values: [string, Record<string, string>, number][] = [
      ['evenkeel_requests_total', { listener: 'shop', route: 'web', pool: 'web', method: 'GET', status: '503' }, 1],
      ['evenkeel_endpoint_requests_total', { pool: 'web', endpoint: endpoint.id, outcome: 'server-error' }, 1],
      ['evenkeel_endpoint_requests_total', { pool: 'web', endpoint: endpoint.id, outcome: 'ok' }, 0],
      ['evenkeel_endpoint_active', { pool: 'web', endpoint: endpoint.id }, 1],
      ['evenkeel_endpoint_available', { pool: 'web', endpoint: endpoint.id }, 0],
      ['evenkeel_ejections_total', { pool: 'web', endpoint: endpoint.id, cause: 'consecutive-failures' }, 1],
      ['evenkeel_retries_total', { pool: 'web', reason: '503' }, 4],
      ['evenkeel_rejected_total', { listener: 'shop', reason: 'limit' }, 1],
      ['evenkeel_connections_active', { listener: 'shop' }, 1],
      ['evenkeel_bytes_total', { listener: 'shop', direction: 'in' }, 100],
      ['evenkeel_bytes_total', { listener: 'shop', direction: 'out' }, 250],
      ['evenkeel_access_log_dropped_total', { listener: 'shop' }, 7],
      ['evenkeel_registry_up', { registry: 'consul' }, 1],
      ['evenkeel_registry_age_seconds', { registry: 'consul', pool: 'web' }, 1.5],
      ['evenkeel_event_loop_lag_seconds', { worker: '0' }, 0.0015],
      ['evenkeel_worker_restarts_total', { worker: '1' }, 2],
      ['evenkeel_config_version', {}, 1],
      ['evenkeel_endpoint_series_left_out', {}, 0],
    ];
    for (const [name, labels, value] of values)
      expect([name, sampleValue(families, name, labels)]).toEqual([name, value]);
    expect(families.has('process_cpu_seconds_total')).toBe(true);
    expect(sampleValue(families, 'process_open_fds')).toBeGreaterThan(3);
  });

  it('writes only the request series that are not zero', async () => {
    const { world, scrape } = setUp();
    const endpoint = world.addEndpoint('web', 9001);
    expect((await scrape()).get('evenkeel_requests_total')?.samples).toEqual([]);
    world.serve(endpoint, 1);
    world.state.routes[0].cells.count(1, METHOD_LABELS.indexOf('other'), 418, 1);
    const samples = (await scrape()).get('evenkeel_requests_total')?.samples ?? [];
    expect(samples.map(({ labels }) => `${labels.method} ${labels.status}`)).toEqual(['GET 200', 'other 418']);
  });

  it('sums the endpoints beyond the limit per pool and tells how many were left out', async () => {
    const { world, scrape } = setUp({ endpointSeries: 2 });
    world.addPool('api');
    for (let port = 1; port <= 4; port++) world.serve(world.addEndpoint('web', port), 3);
    world.serve(world.addEndpoint('api', 9), 3);
    world.pool('web').endpoints[3].endpoint.setDown(Down.PROBE);
    const families = await scrape();
    expect(sampleValue(families, 'evenkeel_endpoint_series_left_out')).toBe(3);
    expect(sampleValue(families, `${LATENCY}_count`, { pool: 'web', endpoint: '127.0.0.1:2' })).toBe(1);
    expect(sampleValue(families, `${LATENCY}_count`, { pool: 'web', endpoint: 'other' })).toBe(2);
    expect(sampleValue(families, `${LATENCY}_count`, { pool: 'api', endpoint: 'other' })).toBe(1);
    expect(sampleValue(families, 'evenkeel_endpoint_available', { pool: 'web', endpoint: 'other' })).toBe(1);
  });

  it('lets the sum of the others never go back when endpoints leave or get series of their own', async () => {
    const { world, scrape } = setUp({ endpointSeries: 1 });
    const [own, first, second] = [1, 2, 3].map((port) => world.addEndpoint('web', port));
    const total = async () =>
      sampleValue(await scrape(), 'evenkeel_endpoint_requests_total', { endpoint: 'other', outcome: 'ok' });
    for (const endpoint of [own, first, second]) world.serve(endpoint, 1);
    expect(await total()).toBe(2);
    world.removeEndpoint('web', second);
    expect(await total()).toBe(2);
    world.serve(first, 1);
    expect(await total()).toBe(3);
    world.removeEndpoint('web', own);
    const families = await scrape();
    expect(sampleValue(families, 'evenkeel_endpoint_requests_total', { endpoint: first.id, outcome: 'ok' })).toBe(2);
    expect(sampleValue(families, 'evenkeel_endpoint_requests_total', { endpoint: 'other', outcome: 'ok' })).toBe(3);
    expect(sampleValue(families, 'evenkeel_endpoint_active', { endpoint: 'other' })).toBe(0);
  });

  it('counts from zero for an endpoint that took the slot of another among the others', async () => {
    const { world, scrape } = setUp({ endpointSeries: 0 });
    const before = world.addEndpoint('web', 1);
    for (let i = 0; i < 5; i++) world.serve(before, 1);
    await scrape();
    world.removeEndpoint('web', before);
    const after = world.addEndpoint('web', 2);
    expect(after.slot).toBe(before.slot);
    for (let i = 0; i < 7; i++) world.serve(after, 1);
    expect(sampleValue(await scrape(), 'evenkeel_endpoint_requests_total', { outcome: 'ok' })).toBe(12);
  });

  it('escapes label values', async () => {
    const { world, scrape } = setUp();
    world.state.routes[0] = { ...world.state.routes[0], route: 'a"b\\c\nd' };
    const samples = (await scrape()).get('evenkeel_request_duration_seconds')?.samples ?? [];
    expect(samples[0].labels.route).toBe('a"b\\c\nd');
  });

  it('adds routes that share their labels instead of writing a series twice', async () => {
    const { world, scrape } = setUp();
    const endpoint = world.addEndpoint('web', 1);
    world.serve(endpoint, 1);
    world.state.routes.push({ ...world.state.routes[0] });
    expect(sampleValue(await scrape(), 'evenkeel_requests_total')).toBe(2);
  });

  it('answers a storm of scrapes with one rendering a second', async () => {
    const { world, metrics, text } = setUp();
    let renderings = 0;
    const state = world.state;
    Object.defineProperty(world, 'state', {
      get: () => {
        renderings++;
        return state;
      },
    });
    await Promise.all(Array.from({ length: 20 }, () => metrics.exposition()));
    await metrics.exposition();
    expect(renderings).toBe(1);
    await text();
    expect(renderings).toBe(2);
  });

  it('compresses what it rendered', async () => {
    const { metrics } = setUp();
    const exposition = await metrics.exposition();
    expect(gunzipSync(await exposition.gzip()).equals(exposition.text)).toBe(true);
  });

  it('renders 1 000 endpoints in 100 ms of CPU and lets the thread go at least every 20', async () => {
    const { world, text, scrape } = setUp();
    for (let port = 1; port <= 1000; port++) world.serve(world.addEndpoint('web', port), port / 10);
    for (let warmUp = 0; warmUp < 5; warmUp++) await text();
    const totals: number[] = [];
    const longest: number[] = [];
    for (let i = 0; i < 5; i++) {
      const turns = watchTurns();
      await text();
      const cpu = turns.stop();
      totals.push(cpu.reduce((sum, ms) => sum + ms, 0));
      longest.push(Math.max(...cpu));
    }
    // Medians, in CPU time: garbage collections and other programs of a shared machine are not what is claimed here.
    expect(median(totals)).toBeLessThan(100);
    expect(median(longest)).toBeLessThan(20);
    expect((await scrape()).get(LATENCY)?.samples.length).toBe(19_000);
  });
});

/** CPU ms of this thread in each turn of the event loop until stopped. */
function watchTurns(): { stop(): number[] } {
  const turns: number[] = [];
  let last = process.threadCpuUsage();
  let isStopped = false;
  const turn = () => {
    const { user, system } = process.threadCpuUsage(last);
    last = process.threadCpuUsage();
    turns.push((user + system) / 1000);
    if (!isStopped) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    stop() {
      turn();
      isStopped = true;
      return turns;
    },
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
