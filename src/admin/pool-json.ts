import type { LiveEndpoint, LivePool, LiveRoute } from '../telemetry/live-state.ts';
import type { RecentTraffic } from '../telemetry/recent-traffic.ts';
import { endpointSnapshot, poolSummary } from '../telemetry/snapshot.ts';

/** What the JSON of a pool is made from. */
export interface PoolJsonContext {
  readonly routes: readonly LiveRoute[];
  readonly recent: RecentTraffic;
  readonly nowMs: number;
}

/** A pool as JSON text with the given of its endpoints, in parts: 10 000 endpoints must not hold main. */
export function* poolJson(
  pool: LivePool,
  endpoints: readonly LiveEndpoint[],
  { routes, recent, nowMs }: PoolJsonContext,
): Generator<string> {
  const summary = JSON.stringify(poolSummary(pool, routes, recent));
  yield `${summary.slice(0, -1)},"endpoints":[`;
  let comma = '';
  for (const live of endpoints) {
    yield comma + JSON.stringify(endpointSnapshot(live, recent, nowMs));
    comma = ',';
  }
  yield ']}';
}

/** Pools as the items of a JSON array. */
export function* poolItems(
  pools: readonly LivePool[],
  endpointsOf: (pool: LivePool) => readonly LiveEndpoint[],
  context: PoolJsonContext,
): Generator<string> {
  let comma = '';
  for (const pool of pools) {
    const endpoints = endpointsOf(pool);
    yield comma;
    yield* poolJson(pool, endpoints, context);
    comma = ',';
  }
}
