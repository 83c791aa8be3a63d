import type { RouteOptions } from './options.ts';
import type { RequestValues } from './route.ts';
import { RouteTable } from './route-table.ts';

/** Where a request's head lies: what a RouteTable is asked with. */
export interface MatchedHead {
  readonly bytes: Buffer;
  readonly hostStart: number;
  readonly hostEnd: number;
  readonly pathStart: number;
  readonly pathEnd: number;
  readonly method: number;
  readonly values: RequestValues;
}

/** Why a route was not the one. */
export interface RouteReason {
  readonly route: string;
  readonly because: string;
}

const ANYTHING: RouteOptions['match'] = {
  host: null,
  path: null,
  method: null,
  header: {},
  query: {},
  sni: null,
  alpn: null,
};

export function matchHead(table: RouteTable, head: MatchedHead) {
  return table.match(head.bytes, head.hostStart, head.hostEnd, head.pathStart, head.pathEnd, head.method, head.values);
}

/**
 * Why each of these routes did not get a request: each of its conditions alone is asked of a table of its own, so that it is the matcher itself that
 * answers. For explaining, off the request path. `chosen` is who got it, null when nobody did.
 */
export function routeReasons(routes: readonly RouteOptions[], head: MatchedHead, chosen: string | null): RouteReason[] {
  return routes
    .filter(({ name }) => name !== chosen)
    .map((route) => ({ route: route.name, because: reasonOf(route, head, chosen) }));
}

function reasonOf(route: RouteOptions, head: MatchedHead, chosen: string | null): string {
  const { match } = route;
  const holds = (condition: Partial<RouteOptions['match']>) =>
    matchHead(new RouteTable([{ ...route, match: { ...ANYTHING, ...condition } }], () => 0), head) !== null;
  if (!holds({ host: match.host })) return `host is not ${match.host?.join(' or ')}`;
  if (!holds({ path: match.path })) return `path is not ${match.path?.form} ${match.path?.text}`;
  if (!holds({ method: match.method })) return `method is not ${match.method?.join(' or ')}`;
  for (const [name, value] of Object.entries(match.header))
    if (!holds({ header: { [name]: value } })) return `header ${name} is not as asked`;
  for (const [name, value] of Object.entries(match.query))
    if (!holds({ query: { [name]: value } })) return `query ${name} is not as asked`;
  return `matches too, but ${chosen} is more specific`;
}
