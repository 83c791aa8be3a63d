import { BUCKETS, bucketQuantile, FINE_BUCKETS, fineQuantile } from '../base/histogram.ts';
import { HEDGE_OUTCOMES, PoolCounter, RETRY_REASONS } from '../endpoint/pool-words.ts';
import type { EjectionState } from '../pool/ejection-state.ts';
import { REASONS } from '../proxy/listener-cells.ts';
import { METHOD_LABELS, type RouteCells, STATUS_LABELS } from '../routing/route-cells.ts';
import { type EndpointState, endpointState } from './endpoint-state.ts';
import type {
  LiveEndpoint,
  LiveListener,
  LivePool,
  LiveRegistry,
  LiveRoute,
  LiveState,
  LiveWorker,
} from './live-state.ts';
import type { Recent, RecentTraffic } from './recent-traffic.ts';

/** Quantiles in ms since the counters began; null when nothing was observed. */
export interface Quantiles {
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
}

/** One endpoint in `/api/v1/pools`. Times are ms. */
export interface EndpointSnapshot extends EndpointState, Quantiles {
  /** The same as `id`. */
  readonly address: string;
  /** `weight`, lower during slow start. */
  readonly effectiveWeight: number;
  readonly version: string;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly failuresInRow: number;
  readonly ejections: number;
  readonly recent: Recent;
}

/** A pool without its endpoints. */
export interface PoolSummary extends Quantiles {
  readonly name: string;
  readonly scheduler: string;
  readonly panic: boolean;
  readonly size: number;
  readonly available: number;
  readonly ejected: number;
  /** `wanted` may be more than `ejected`: `note` says why. */
  readonly ejection: EjectionState | null;
  readonly active: number;
  readonly pending: number;
  readonly requests: number;
  readonly retries: Readonly<Record<string, number>>;
  readonly hedges: Readonly<Record<string, number>>;
  readonly recent: Recent;
}

/** An endpoint as JSON. `nowMs` is the clock's. */
export function endpointSnapshot(live: LiveEndpoint, recent: RecentTraffic, nowMs: number): EndpointSnapshot {
  const { endpoint } = live;
  const { version, tags, metadata } = endpoint.spec;
  const state = endpointState(live, nowMs);
  const buckets = Array.from({ length: BUCKETS }, (_, bucket) => endpoint.latencyBucket(bucket));
  return {
    ...state,
    address: endpoint.id,
    effectiveWeight: round(endpoint.effectiveWeight),
    version,
    tags,
    metadata,
    latencyMs: state.latencyMs === null ? null : round(state.latencyMs),
    ...quantiles((quantile) => bucketQuantile(buckets, quantile)),
    failuresInRow: endpoint.failuresInRow,
    ejections: endpoint.ejections,
    ejectedForMs: state.ejectedForMs === null ? null : Math.round(state.ejectedForMs),
    recent: roundRecent(recent.endpoint(endpoint)),
  };
}

/** A pool as JSON, without its endpoints. */
export function poolSummary(pool: LivePool, routes: readonly LiveRoute[], recent: RecentTraffic): PoolSummary {
  const fine = new Float64Array(FINE_BUCKETS);
  for (const { cells } of routes.filter((route) => route.pool === pool.name)) addFine(cells, fine);
  let available = 0;
  let active = 0;
  for (const { endpoint } of pool.endpoints) {
    if (endpoint.down === 0) available++;
    active += endpoint.active;
  }
  return {
    name: pool.name,
    scheduler: pool.scheduler,
    panic: pool.panic,
    size: pool.endpoints.length,
    available,
    ejected: pool.words.ejected,
    ejection: pool.ejection,
    active,
    pending: pool.words.counter(PoolCounter.PENDING),
    requests: sum([...fine]),
    ...quantiles((quantile) => fineQuantile(fine, quantile)),
    retries: Object.fromEntries(
      RETRY_REASONS.map((reason, index) => [reason, pool.words.counter(PoolCounter.RETRIES + index)]),
    ),
    hedges: Object.fromEntries(
      HEDGE_OUTCOMES.map((outcome, index) => [outcome, pool.words.counter(PoolCounter.HEDGES + index)]),
    ),
    recent: roundRecent(recent.pool(pool.name)),
  };
}

/** A registry as JSON; `ageMs` is null before the first good set. */
export function registrySnapshot({ name, kind, up, lastError, services }: LiveRegistry) {
  return {
    name,
    kind,
    up,
    state: up ? 'up' : 'down',
    lastError,
    services: services.map((service) => ({ ...service, ageMs: roundOrNull(service.ageMs) })),
  };
}

/** A listener and its routes as JSON. */
export function listenerSnapshot({ name, protocol, addresses, cells }: LiveListener, routes: readonly LiveRoute[]) {
  return {
    name,
    protocol,
    addresses,
    connections: { active: cells.connectionsActive, total: cells.connectionsTotal },
    bytes: { in: cells.bytesInTotal, out: cells.bytesOutTotal },
    rejected: nonZero(REASONS.map((reason, index) => [reason, cells.rejectedTotal(index)])),
    accessLogDropped: cells.logDroppedTotal,
    routes: routes.filter((route) => route.listener === name).map(routeSnapshot),
  };
}

/** A worker as JSON. */
export function workerSnapshot({ id, state, restarts, lagMs }: LiveWorker) {
  return { id, state, restarts, lagMs: round(lagMs) };
}

/** What `/api/v1/status` says. */
export function statusSnapshot(state: LiveState, nowMs: number) {
  return {
    ready: state.ready,
    reason: state.readyReason,
    uptimeMs: Math.round(nowMs - state.startedAtMs),
    config: { version: state.configVersion, number: state.configVersionNumber },
    workers: state.workers.map(workerSnapshot),
  };
}

function routeSnapshot({ route, pool, cells }: LiveRoute) {
  const fine = new Float64Array(FINE_BUCKETS);
  addFine(cells, fine);
  const statuses = STATUS_LABELS.map((label, status): [string, number] => {
    let count = 0;
    for (let method = 0; method < METHOD_LABELS.length; method++) count += cells.requests(method, status);
    return [label, count];
  });
  return {
    name: route,
    pool,
    requests: sum([...fine]),
    statuses: nonZero(statuses),
    ...quantiles((quantile) => fineQuantile(fine, quantile)),
  };
}

function addFine(cells: RouteCells, fine: Float64Array): void {
  for (let i = 0; i < FINE_BUCKETS; i++) fine[i] += cells.fineBucket(i);
}

function quantiles(of: (quantile: number) => number): Quantiles {
  return { p50: roundOrNull(of(0.5)), p90: roundOrNull(of(0.9)), p99: roundOrNull(of(0.99)) };
}

function roundRecent(recent: Recent): Recent {
  return {
    requestsPerSecond: round(recent.requestsPerSecond),
    lastSecond: round(recent.lastSecond),
    failuresPerSecond: round(recent.failuresPerSecond),
    share: round(recent.share),
    p50: recent.p50 === null ? null : round(recent.p50),
    p90: recent.p90 === null ? null : round(recent.p90),
    p99: recent.p99 === null ? null : round(recent.p99),
  };
}

function nonZero(entries: readonly [string, number][]): Record<string, number> {
  return Object.fromEntries(entries.filter(([, count]) => count > 0));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function roundOrNull(value: number): number | null {
  return Number.isFinite(value) ? round(value) : null;
}
