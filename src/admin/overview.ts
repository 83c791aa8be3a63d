import type { LiveEndpoint, LivePool, LiveState } from '../telemetry/live-state.ts';
import { HISTORY_SECONDS, type PoolHistory, type RecentTraffic } from '../telemetry/recent-traffic.ts';
import { listenerSnapshot, registrySnapshot, statusSnapshot } from '../telemetry/snapshot.ts';
import { poolItems } from './pool-json.ts';

/** Endpoints of one pool that a person is shown; the rest is a number. */
const SHOWN = 50;

/**
 * Everything the dashboard shows, as JSON text in parts, asked for once a second: each pool with the endpoints worth looking at, however
 * many it has. `more` is added at the top level.
 */
export function* overviewJson(state: LiveState, recent: RecentTraffic, nowMs: number, more: object): Generator<string> {
  const head = JSON.stringify({
    ...statusSnapshot(state, nowMs),
    ...more,
    listeners: state.listeners.map((listener) => listenerSnapshot(listener, state.routes)),
    registries: state.registries.map(registrySnapshot),
  });
  yield `${head.slice(0, -1)},"pools":[`;
  yield* poolItems(state.pools, (pool) => shownEndpoints(pool, recent), { routes: state.routes, recent, nowMs });
  yield ']}';
}

/** The last two minutes of the same endpoints, asked for once by a page that opens. */
export function historyOf(state: LiveState, recent: RecentTraffic) {
  const pools: Record<string, PoolHistory> = {};
  for (const pool of state.pools) {
    const endpoints = shownEndpoints(pool, recent).map((live) => live.endpoint);
    pools[pool.name] = recent.history(pool.name, endpoints);
  }
  return { seconds: HISTORY_SECONDS, pools };
}

/** The pool's endpoints in its own order; of a large pool only those in trouble and the busiest. */
function shownEndpoints(pool: LivePool, recent: RecentTraffic): readonly LiveEndpoint[] {
  if (pool.endpoints.length <= SHOWN) return pool.endpoints;
  const interest = Float64Array.from(pool.endpoints, (live) => interestOf(live, recent));
  // Sorting bare numbers takes 1 ms for 10 000 endpoints, sorting the endpoints by them 15.
  const least = interest.toSorted()[interest.length - SHOWN];
  const shown = pool.endpoints.filter((_, index) => interest[index] > least);
  const ties = pool.endpoints.filter((_, index) => interest[index] === least).slice(0, SHOWN - shown.length);
  const chosen = new Set([...shown, ...ties]);
  return pool.endpoints.filter((live) => chosen.has(live));
}

/** Those that are down come first, then the busiest. */
function interestOf({ endpoint }: LiveEndpoint, recent: RecentTraffic): number {
  return (endpoint.down === 0 ? 0 : 1e9) + recent.attempts(endpoint);
}
