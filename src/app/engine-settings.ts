import { BlockList, isIPv6 } from 'node:net';
import { middleware } from '../middleware/catalog.ts';
import type { Pool } from '../pool/pool.ts';
import type { BoundRoute, Http1Settings } from '../proxy/http1/engine.ts';
import type { UpstreamDialer } from '../proxy/http1/upstream-dialer.ts';
import { Via } from '../proxy/http1/via.ts';
import type { TcpSettings } from '../proxy/tcp/engine.ts';
import type { UdpSettings } from '../proxy/udp/engine.ts';
import { RouteCells } from '../routing/route-cells.ts';
import { RouteTable } from '../routing/route-table.ts';
import { TlsRoutes } from '../routing/tls-routes.ts';
import type { WorkerListener } from './messages.ts';

/** What the routes of a worker's listeners lead to. */
export interface RouteParts {
  /** Rows of shared memory. */
  readonly rows: number;
  /** A pool of the document. */
  readonly poolOf: (name: string) => Pool;
  readonly dialerOf: (pool: string) => UpstreamDialer;
}

/** A listener of the document as the HTTP/1.1 engine takes it. */
export function http1Settings(
  { options, routes }: Pick<WorkerListener, 'options' | 'routes'>,
  parts: RouteParts,
): Http1Settings {
  const bound = options.routes.map((route, i): BoundRoute => {
    const stages = route.middleware.map((settings) => middleware.create(settings, { route: route.name }));
    return { ...boundRoute(route, routes[i], parts), stages, connect: route.connect };
  });
  const { timeouts, limits } = options;
  return {
    listenerName: options.name,
    table: new RouteTable(options.routes, () => 0, options.paths),
    routes: bound,
    trusted: networkList(options.trustForwarded),
    via: options.via === null ? null : new Via(options.via),
    timeouts: {
      head: timeouts.head ?? 0,
      body: timeouts.body ?? 0,
      idle: timeouts.idle ?? 0,
      tunnel: timeouts.tunnel ?? 0,
    },
    limits: {
      head: limits.head ?? 0,
      headers: limits.headers ?? 0,
      target: limits.target ?? 0,
      body: limits.body ?? 0,
      bodyRate: limits.bodyRate ?? 0,
      chunkExtensions: limits.chunkExtensions ?? 0,
      trailers: limits.trailers ?? 0,
    },
  };
}

/** A listener of the document as the TCP engine takes it. */
export function tcpSettings({ options, routes }: WorkerListener, parts: RouteParts): TcpSettings {
  return {
    listenerName: options.name,
    table: new TlsRoutes(options.routes.map(({ match }) => match)),
    routes: options.routes.map((route, i) => boundRoute(route, routes[i], parts)),
    timeouts: { head: options.timeouts.head ?? 0, idle: options.timeouts.tunnel ?? 0 },
  };
}

/** A listener of the document as the UDP engine takes it. */
export function udpSettings(
  { options, routes }: WorkerListener,
  parts: RouteParts,
  processIsFull: () => boolean,
): UdpSettings {
  const [route] = options.routes;
  return {
    listenerName: options.name,
    route: { name: route.name, pool: parts.poolOf(route.pool), cells: new RouteCells(parts.rows, routes[0]) },
    idleMs: options.udp.idle,
    replies: options.udp.replies,
    perPacket: options.udp.per === 'packet',
    sessions: options.limits.connections ?? 0,
    processIsFull,
  };
}

function boundRoute(route: { name: string; pool: string }, cells: SharedArrayBuffer, parts: RouteParts) {
  return {
    name: route.name,
    pool: parts.poolOf(route.pool),
    dialer: parts.dialerOf(route.pool),
    cells: new RouteCells(parts.rows, cells),
  };
}

/** Networks of the document, null when there are none. */
export function networkList(networks: readonly string[]): BlockList | null {
  if (networks.length === 0) return null;
  const list = new BlockList();
  for (const network of networks) {
    const [address, bits] = network.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}
