import { ByteTable } from './byte-table.ts';
import { comparedPath, isComparable, REFUSED } from './compared-path.ts';
import { HostGroup } from './host-group.ts';
import { normalPath, type PathRules } from './normal-path.ts';
import type { PathMatch, RouteOptions } from './options.ts';
import { type RequestValues, Route } from './route.ts';

const DOT = 0x2e;
const COLON = 0x3a;
/** RFC 1035 §2.3.4: a name has at most 255 bytes. A longer one matches only routes that name no host. */
const MAX_HOST = 255;
const ROOT = Buffer.from('/');

/**
 * Finds a request's route by host and path. Built off the hot path, one per listener and worker; asked once per request by the engine.
 * Order: exact host, then the longest `*.suffix`, then no host; within a host the exact path, then patterns, then the longest prefix
 * (in whole segments), then no path; within a place the route with more conditions. A route whose conditions fail passes the request
 * on in this order; a route whose pool is empty does not: that is an answer of 503, never another route.
 */
export class RouteTable {
  /** In the document's order, by `index`. */
  readonly routes: readonly Route[];
  /** Where the path of the last `match` ends, now that it is in its normal form. */
  pathEnd = 0;
  readonly #rules: PathRules | null;
  readonly #hosts: ByteTable<HostGroup>;
  /** By `.suffix`. */
  readonly #suffixes: ByteTable<HostGroup>;
  readonly #anyHost: HostGroup;
  readonly #host: Buffer = Buffer.alloc(MAX_HOST);
  #path: Buffer = Buffer.alloc(4096);
  #isPathRefused = false;

  /** Without `rules` paths are compared, and stay as they came. */
  constructor(options: readonly RouteOptions[], poolIndexOf: (name: string) => number, rules: PathRules | null = null) {
    this.#rules = rules;
    this.routes = options.map((one, index) => new Route(one, index, poolIndexOf(one.pool)));
    const entries = options.flatMap(({ match }, i) =>
      (match.host ?? ['']).map((host) => ({ host, path: match.path, route: this.routes[i] })),
    );
    const groups = groupsByHost(entries);
    this.#anyHost = groups.get('')!;
    const named = (isSuffix: boolean) =>
      new Map([...groups].filter(([key]) => key !== '' && key.startsWith('.') === isSuffix));
    this.#hosts = new ByteTable(named(false), hashBackward);
    this.#suffixes = new ByteTable(named(true), hashBackward);
  }

  /**
   * The route of a request, or null. `host` may carry a port and a trailing dot, in any case; empty when there is none. `path` is without
   * the query, as received; empty is `/`. Where it is not in its normal form, that is written in its place, up to `pathEnd`. `method` is an index into METHOD_LABELS. `values` may be null when no route asks for headers or
   * the query. After null, `isPathRefused` tells a path that nobody should be asked for (400) from one that no route matches.
   */
  match(
    buf: Buffer,
    hostStart: number,
    hostEnd: number,
    pathStart: number,
    pathEnd: number,
    method: number,
    values: RequestValues | null,
  ): Route | null {
    this.#isPathRefused = false;
    this.pathEnd = pathEnd;
    let group: HostGroup | null = this.#groupOf(buf, hostStart, hostEnd);
    let path = buf;
    let start = pathStart;
    let end = pathEnd;
    if (start === end) {
      path = ROOT;
      start = 0;
      end = 1;
    } else if (!isComparable(buf, start, end)) {
      if (end - start > this.#path.length) this.#path = Buffer.alloc(end - start);
      const length = this.#comparedPath(buf, start, end);
      this.#isPathRefused = length === REFUSED;
      if (length === REFUSED) return null;
      path = this.#path;
      start = 0;
      end = length;
    }
    for (; group !== null; group = group.wider) {
      const route = group.find(path, start, end, method, values);
      if (route !== null) return route;
    }
    return null;
  }

  #comparedPath(buf: Buffer, start: number, end: number): number {
    const path = this.#path;
    if (this.#rules === null) return comparedPath(buf, start, end, path);
    const length = normalPath(buf, start, end, this.#rules, path);
    if (length === REFUSED) return REFUSED;
    path.copy(buf, start, 0, length);
    this.pathEnd = start + length;
    // Another pass only where escapes or empty segments stay in what is forwarded.
    return isComparable(path, 0, length) ? length : comparedPath(buf, start, this.pathEnd, path);
  }

  /** Whether the last `match` gave null because of the path, one that servers read in different ways: answer 400, reason `bad-request`. */
  get isPathRefused(): boolean {
    return this.#isPathRefused;
  }

  /** Hashes the name from its end, so that every suffix is passed on the way: the last one found is the longest. */
  #groupOf(buf: Buffer, start: number, hostEnd: number): HostGroup {
    if (this.#hosts.size + this.#suffixes.size === 0) return this.#anyHost;
    const end = nameEnd(buf, start, hostEnd);
    if (end === start || end - start > MAX_HOST) return this.#anyHost;
    let group = this.#anyHost;
    let hash = 0;
    const name = this.#host;
    for (let i = end - start - 1; i >= 0; i--) {
      const byte = lower(buf[start + i]);
      name[i] = byte;
      hash = (Math.imul(hash, 31) + byte) | 0;
      if (byte === DOT && i > 0) group = this.#suffixes.get(hash, name, i, end - start) ?? group;
    }
    return this.#hosts.get(hash, name, 0, end - start) ?? group;
  }
}

/** Where the name ends: without `:port` and one trailing dot. */
function nameEnd(buf: Buffer, start: number, end: number): number {
  let p = end;
  while (p > start && buf[p - 1] >= 0x30 && buf[p - 1] <= 0x39) p--;
  const last = p > start && buf[p - 1] === COLON ? p - 1 : end;
  return last > start && buf[last - 1] === DOT ? last - 1 : last;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

function hashBackward(key: Buffer): number {
  return key.reduceRight((hash, byte) => (Math.imul(hash, 31) + byte) | 0, 0);
}

/** One group per host; each knows the wider one, so that a request that none of its routes admits goes on there. */
function groupsByHost(
  entries: readonly { readonly host: string; readonly path: PathMatch | null; readonly route: Route }[],
): Map<string, HostGroup> {
  const byKey = Map.groupBy(entries, ({ host }) => (host.startsWith('*.') ? host.slice(1) : host));
  const groups = new Map([['', new HostGroup(byKey.get('') ?? [], null)]]);
  const suffixesFirst = [...byKey.keys()].filter((key) => key !== '').sort((a, b) => rank(a) - rank(b));
  for (const key of suffixesFirst) {
    let dot = key.indexOf('.', 1);
    while (dot > 0 && !groups.has(key.slice(dot))) dot = key.indexOf('.', dot + 1);
    groups.set(key, new HostGroup(byKey.get(key)!, groups.get(dot > 0 ? key.slice(dot) : '')!));
  }
  return groups;
}

// Suffixes before names, short ones before long ones: the wider group is there before the narrower.
function rank(key: string): number {
  return key.startsWith('.') ? key.length : 1000 + key.length;
}
