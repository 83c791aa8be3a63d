import { BUCKET_BOUNDS_SECONDS, BUCKETS } from '../base/histogram.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { OUTCOME_WORDS, type Outcome } from '../endpoint/outcome.ts';
import { HEDGE_OUTCOMES, PoolCounter, RETRY_REASONS } from '../endpoint/pool-words.ts';
import { REASONS } from '../proxy/listener-cells.ts';
import { METHOD_LABELS, type RouteCells, STATUS_LABELS } from '../routing/route-cells.ts';
import { SESSION_OUTCOMES } from '../routing/session-status.ts';
import { type EndpointSeries, OtherSeries, type OwnSeries } from './endpoint-series.ts';
import type { EventCounts } from './event-counts.ts';
import { familyHeader, formatLabels, formatNumber, sampleLine } from './exposition.ts';
import type { LiveRoute, LiveState } from './live-state.ts';

/** `,le="…"} ` of each bucket. */
const BUCKET_ENDS: readonly string[] = [...BUCKET_BOUNDS_SECONDS.map(String), '+Inf'].map((le) => `,le="${le}"} `);

/** Endpoints whose lines are written before main may turn to something else. */
const PER_PART = 64;

/** All families but those per endpoint, in parts that take well under a millisecond each. */
export function* smallFamilies(state: LiveState, counts: EventCounts): Generator<string> {
  yield* routeFamilies(state);
  yield listenerFamilies(state);
  yield poolFamilies(state);
  yield ejections(counts);
  yield registryFamilies(state);
  yield workerFamilies(state);
  yield configFamilies(state, counts);
}

/** The families per endpoint: own series, then the shared ones of each pool. */
export function* endpointFamilies(own: readonly OwnSeries[], series: EndpointSeries): Generator<string> {
  const others = [...series.others];
  const family = (header: string, write: (cells: EndpointCells, labels: string) => string) =>
    endpointFamily(own, others, header, write);
  const duration = 'evenkeel_endpoint_request_duration_seconds';
  yield* family(
    familyHeader(duration, 'histogram', 'Time from the start of an attempt to the response head.'),
    (cells, labels) => histogramLines(duration, labels, (i) => cells.latencyBucket(i), cells.latencySumMs),
  );
  const requests = 'evenkeel_endpoint_requests_total';
  yield* family(familyHeader(requests, 'counter', 'Attempts that ended, by how.'), (cells, labels) => {
    let lines = '';
    for (let i = 0; i < OUTCOME_WORDS.length; i++) {
      lines += `${requests}{${labels},outcome="${OUTCOME_WORDS[i]}"} ${cells.outcomes(i as Outcome)}\n`;
    }
    return lines;
  });
  const active = 'evenkeel_endpoint_active';
  yield* family(familyHeader(active, 'gauge', 'Attempts in flight.'), (cells, labels) =>
    sampleLine(active, labels, cells.active),
  );
  const available = 'evenkeel_endpoint_available';
  yield* family(
    familyHeader(available, 'gauge', 'Whether the endpoint takes new work; for other, how many do.'),
    (cells, labels) =>
      sampleLine(available, labels, cells instanceof OtherSeries ? cells.available : cells.down === 0 ? 1 : 0),
  );
  const leftOut = 'evenkeel_endpoint_series_left_out';
  yield familyHeader(leftOut, 'gauge', 'Endpoints that share the series endpoint="other" of their pool.') +
    sampleLine(leftOut, '', series.leftOut);
}

type EndpointCells = Endpoint | OtherSeries;

function* endpointFamily(
  own: readonly OwnSeries[],
  others: readonly OtherSeries[],
  header: string,
  write: (cells: EndpointCells, labels: string) => string,
): Generator<string> {
  let part = header;
  for (let i = 0; i < own.length; i++) {
    part += write(own[i].endpoint, own[i].labels);
    if (i % PER_PART !== PER_PART - 1) continue;
    yield part;
    part = '';
  }
  for (const other of others) part += write(other, other.labels);
  yield part;
}

/** `bucket` gives each bucket's own count; Prometheus wants them added up. */
function histogramLines(name: string, labels: string, bucket: (index: number) => number, sumMs: number): string {
  const start = `${name}_bucket{${labels}`;
  let lines = '';
  let count = 0;
  for (let i = 0; i < BUCKETS; i++) {
    count += bucket(i);
    lines += `${start}${BUCKET_ENDS[i]}${count}\n`;
  }
  return `${lines}${name}_sum{${labels}} ${formatNumber(sumMs / 1000)}\n${name}_count{${labels}} ${count}\n`;
}

function* routeFamilies(state: LiveState): Generator<string> {
  const isHttp = new Set(state.listeners.flatMap(({ name, protocol }) => (protocol === 'http' ? [name] : [])));
  yield* requestFamilies(routesByLabels(state.routes.filter(({ listener }) => isHttp.has(listener))));
  yield* sessionFamilies(routesByLabels(state.routes.filter(({ listener }) => !isHttp.has(listener))));
}

type RoutesByLabels = ReadonlyMap<string, readonly RouteCells[]>;

function* requestFamilies(routes: RoutesByLabels): Generator<string> {
  const requests = 'evenkeel_requests_total';
  yield familyHeader(requests, 'counter', 'Requests that ended, by what the client was answered.');
  for (const [labels, cells] of routes) yield requestLines(requests, labels, cells);
  const duration = 'evenkeel_request_duration_seconds';
  yield familyHeader(duration, 'histogram', 'Time from the arrival of a request to the last byte of its response.');
  yield* durationLines(duration, routes);
}

/** TCP connections and UDP sessions. */
function* sessionFamilies(routes: RoutesByLabels): Generator<string> {
  if (routes.size === 0) return;
  const sessions = 'evenkeel_sessions_total';
  yield familyHeader(sessions, 'counter', 'TCP connections and UDP sessions that ended, by how.');
  const other = METHOD_LABELS.indexOf('other');
  for (const [labels, cells] of routes) {
    let lines = '';
    for (const [outcome, status] of SESSION_OUTCOMES) {
      const at = STATUS_LABELS.indexOf(String(status));
      const count = cells.reduce((total, one) => total + one.requests(other, at), 0);
      lines += `${sessions}{${labels},outcome="${outcome}"} ${count}\n`;
    }
    yield lines;
  }
  const duration = 'evenkeel_session_duration_seconds';
  yield familyHeader(duration, 'histogram', 'Time from the beginning of a TCP connection or UDP session to its end.');
  yield* durationLines(duration, routes);
}

function* durationLines(name: string, routes: RoutesByLabels): Generator<string> {
  for (const [labels, cells] of routes) {
    const sum = (read: (one: RouteCells) => number) => cells.reduce((total, one) => total + read(one), 0);
    yield histogramLines(
      name,
      labels,
      (i) => sum((one) => one.durationBucket(i)),
      sum((one) => one.durationSumMs),
    );
  }
}

/** Routes that would have the same labels are added: a series that is there twice makes a server refuse the whole scrape. */
function routesByLabels(list: readonly LiveRoute[]): Map<string, RouteCells[]> {
  const routes = new Map<string, RouteCells[]>();
  for (const { listener, route, pool, cells } of list) {
    const labels = formatLabels({ listener, route, pool });
    const found = routes.get(labels);
    if (found === undefined) routes.set(labels, [cells]);
    else found.push(cells);
  }
  return routes;
}

function requestLines(name: string, labels: string, cells: readonly RouteCells[]): string {
  let lines = '';
  for (let method = 0; method < METHOD_LABELS.length; method++) {
    for (let status = 0; status < STATUS_LABELS.length; status++) {
      let count = 0;
      for (const one of cells) count += one.requests(method, status);
      if (count === 0) continue;
      lines += `${name}{${labels},method="${METHOD_LABELS[method]}",status="${STATUS_LABELS[status]}"} ${count}\n`;
    }
  }
  return lines;
}

function listenerFamilies(state: LiveState): string {
  let rejected = familyHeader(
    'evenkeel_rejected_total',
    'counter',
    'Requests that evenkeel itself answered or cut, by reason.',
  );
  let active = familyHeader('evenkeel_connections_active', 'gauge', 'Client connections open now.');
  let total = familyHeader('evenkeel_connections_total', 'counter', 'Client connections accepted.');
  let bytes = familyHeader('evenkeel_bytes_total', 'counter', 'Bytes from clients (in) and to clients (out).');
  let dropped = familyHeader('evenkeel_access_log_dropped_total', 'counter', 'Access-log lines that were not written.');
  for (const { name, cells } of state.listeners) {
    const labels = formatLabels({ listener: name });
    for (let reason = 0; reason < REASONS.length; reason++) {
      const own = `${labels},reason="${REASONS[reason]}"`;
      rejected += sampleLine('evenkeel_rejected_total', own, cells.rejectedTotal(reason));
    }
    active += sampleLine('evenkeel_connections_active', labels, cells.connectionsActive);
    total += sampleLine('evenkeel_connections_total', labels, cells.connectionsTotal);
    bytes += sampleLine('evenkeel_bytes_total', `${labels},direction="in"`, cells.bytesInTotal);
    bytes += sampleLine('evenkeel_bytes_total', `${labels},direction="out"`, cells.bytesOutTotal);
    dropped += sampleLine('evenkeel_access_log_dropped_total', labels, cells.logDroppedTotal);
  }
  return rejected + active + total + bytes + dropped;
}

function poolFamilies(state: LiveState): string {
  let retries = familyHeader(
    'evenkeel_retries_total',
    'counter',
    'Attempts beyond the first, by why there was another.',
  );
  let hedges = familyHeader(
    'evenkeel_hedges_total',
    'counter',
    'Second attempts beside slow first ones, by what became of them, or why there was none.',
  );
  let pending = familyHeader('evenkeel_pool_pending', 'gauge', 'Requests that wait for an endpoint.');
  let ejected = familyHeader('evenkeel_pool_ejected', 'gauge', 'Endpoints ejected now.');
  let refused = familyHeader(
    'evenkeel_pool_ejections_refused',
    'gauge',
    'Endpoints that fail enough to be ejected, but the cap is reached or nobody else is left.',
  );
  let panic = familyHeader('evenkeel_pool_panic', 'gauge', 'Whether too few endpoints are available and all are used.');
  for (const { name, words, ejection, panic: isPanic } of state.pools) {
    const labels = formatLabels({ pool: name });
    for (let reason = 0; reason < RETRY_REASONS.length; reason++) {
      const own = `${labels},reason="${RETRY_REASONS[reason]}"`;
      retries += sampleLine('evenkeel_retries_total', own, words.counter(PoolCounter.RETRIES + reason));
    }
    for (let outcome = 0; outcome < HEDGE_OUTCOMES.length; outcome++) {
      const own = `${labels},outcome="${HEDGE_OUTCOMES[outcome]}"`;
      hedges += sampleLine('evenkeel_hedges_total', own, words.counter(PoolCounter.HEDGES + outcome));
    }
    pending += sampleLine('evenkeel_pool_pending', labels, words.counter(PoolCounter.PENDING));
    ejected += sampleLine('evenkeel_pool_ejected', labels, words.ejected);
    refused += sampleLine(
      'evenkeel_pool_ejections_refused',
      labels,
      (ejection?.wanted ?? 0) - (ejection?.ejected ?? 0),
    );
    panic += sampleLine('evenkeel_pool_panic', labels, isPanic ? 1 : 0);
  }
  return retries + hedges + pending + ejected + refused + panic;
}

function ejections(counts: EventCounts): string {
  const name = 'evenkeel_ejections_total';
  let lines = familyHeader(name, 'counter', 'Endpoints taken out because live traffic failed on them.');
  for (const { pool, endpoint, cause, count } of counts.of('ejected'))
    lines += sampleLine(name, formatLabels({ pool, endpoint, cause }), count);
  const reported = 'evenkeel_ejections_reported_total';
  lines += familyHeader(reported, 'counter', 'Ejections that did not happen, because their cause is only reported.');
  for (const { pool, endpoint, cause, count } of counts.of('would-eject'))
    lines += sampleLine(reported, formatLabels({ pool, endpoint, cause }), count);
  const flapping = 'evenkeel_flapping_total';
  lines += familyHeader(flapping, 'counter', 'Times an endpoint was held down because it went up and down too often.');
  for (const { pool, endpoint, count } of counts.of('flapping'))
    lines += sampleLine(flapping, formatLabels({ pool, endpoint }), count);
  return lines;
}

function registryFamilies(state: LiveState): string {
  let up = familyHeader('evenkeel_registry_up', 'gauge', 'Whether the registry answers.');
  let age = familyHeader(
    'evenkeel_registry_age_seconds',
    'gauge',
    'Time since the last good set of endpoints; NaN before the first.',
  );
  for (const registry of state.registries) {
    up += sampleLine('evenkeel_registry_up', formatLabels({ registry: registry.name }), registry.up ? 1 : 0);
    // A pool may take several services of one registry: the oldest speaks for it.
    const oldest = new Map<string, number>();
    for (const { pool, ageMs } of registry.services) oldest.set(pool, Math.max(oldest.get(pool) ?? 0, ageMs));
    for (const [pool, ageMs] of oldest) {
      age += sampleLine('evenkeel_registry_age_seconds', formatLabels({ registry: registry.name, pool }), ageMs / 1000);
    }
  }
  return up + age;
}

function workerFamilies(state: LiveState): string {
  let lag = familyHeader(
    'evenkeel_event_loop_lag_seconds',
    'gauge',
    "Worst lag of a worker's event loop within the last second.",
  );
  let restarts = familyHeader(
    'evenkeel_worker_restarts_total',
    'counter',
    'Times a worker died or hung and was replaced.',
  );
  for (const worker of state.workers) {
    const labels = formatLabels({ worker: String(worker.id) });
    lag += sampleLine('evenkeel_event_loop_lag_seconds', labels, worker.lagMs / 1000);
    restarts += sampleLine('evenkeel_worker_restarts_total', labels, worker.restarts);
  }
  return lag + restarts;
}

function configFamilies(state: LiveState, counts: EventCounts): string {
  return (
    familyHeader('evenkeel_config_version', 'gauge', 'Documents accepted since the start.') +
    sampleLine('evenkeel_config_version', '', state.configVersionNumber) +
    familyHeader('evenkeel_config_refused_total', 'counter', 'Documents that could not be put in force.') +
    sampleLine('evenkeel_config_refused_total', '', counts.refusedDocuments) +
    familyHeader('evenkeel_config_info', 'gauge', 'Always 1; hash is that of the document in force.') +
    sampleLine('evenkeel_config_info', formatLabels({ hash: state.configVersion }), 1) +
    familyHeader('evenkeel_ready', 'gauge', 'Whether the listeners serve.') +
    sampleLine('evenkeel_ready', '', state.ready ? 1 : 0)
  );
}
