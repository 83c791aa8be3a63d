import type { KindSettings } from '../base/catalog.ts';
import type { RouteOptions, ValueMatch } from './options.ts';
import { ROUTE_METHODS } from './options.ts';

/** What a route may ask of a request beyond host, path and method. Called only when a route on the way has such conditions. */
export interface RequestValues {
  /** First value of a request header, or null. `name` in lower case. */
  header(name: string): string | null;
  /** First value of a query parameter, decoded; '' when it has none; null when the query does not name it. */
  queryValue(name: string): string | null;
}

/** Where a kind of request goes. One object per route and table; the engine keeps what it binds to it by `index`. */
export class Route {
  /** Place in the listener's `routes`, from 0. */
  readonly index: number;
  /** The metrics' label. */
  readonly name: string;
  readonly poolName: string;
  /** Number of the pool, as whoever built the table counts them. */
  readonly poolIndex: number;
  readonly middleware: readonly KindSettings[];
  /** How many conditions there are besides host and path: of two routes in the same place the stricter is asked first. */
  readonly conditions: number;
  /** Bits of METHOD_LABELS' indices; 0 for every method. */
  readonly #methods: number;
  readonly #headers: readonly (readonly [string, ValueMatch])[];
  readonly #query: readonly (readonly [string, ValueMatch])[];

  constructor(options: RouteOptions, index: number, poolIndex: number) {
    this.index = index;
    this.name = options.name;
    this.poolName = options.pool;
    this.poolIndex = poolIndex;
    this.middleware = options.middleware;
    const { method, header, query } = options.match;
    this.#methods = (method ?? []).reduce((mask, name) => mask | (1 << ROUTE_METHODS.indexOf(name)), 0);
    this.#headers = Object.entries(header);
    this.#query = Object.entries(query);
    this.conditions = (method === null ? 0 : 1) + this.#headers.length + this.#query.length;
  }

  /** Whether method, headers and query are as the route asks; host and path have been compared already. */
  admits(method: number, values: RequestValues | null): boolean {
    if (this.conditions === 0) return true;
    if (this.#methods !== 0 && (this.#methods & (1 << method)) === 0) return false;
    if (this.#headers.length + this.#query.length === 0) return true;
    if (values === null) return false;
    for (const [name, match] of this.#headers) if (!holds(match, values.header(name))) return false;
    for (const [name, match] of this.#query) if (!holds(match, values.queryValue(name))) return false;
    return true;
  }
}

function holds(match: ValueMatch, value: string | null): boolean {
  if (value === null) return !match.present;
  return match.present && (match.values === null || match.values.includes(value));
}
