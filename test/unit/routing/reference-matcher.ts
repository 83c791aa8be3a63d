import type { PathMatch, RouteOptions, ValueMatch } from '../../../src/routing/options.ts';
import { METHOD_LABELS } from '../../../src/routing/route-cells.ts';

/** A request as the naive matcher sees it: all text. */
export interface PlainRequest {
  readonly host: string;
  readonly path: string;
  readonly method: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
}

/** The same rules as RouteTable, written to be read: every route is tried, the fitting ones are ranked. Returns the route's index, or null. */
export function referenceMatch(routes: readonly RouteOptions[], request: PlainRequest): number | null {
  const path = decoded(request.path === '' ? '/' : request.path);
  if (path === null) return null;
  const host = request.host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  const fitting = routes.flatMap((route, index) =>
    (route.match.host ?? [null])
      .filter((pattern) => pattern === null || hostFits(pattern, host))
      .filter(() => pathFits(route.match.path, path) && conditionsHold(route, request))
      .map((pattern) => ({
        index,
        rank: [...hostRank(pattern), ...pathRank(route.match.path), conditions(route), -index],
      })),
  );
  fitting.sort((a, b) => compareRanks(b.rank, a.rank));
  return fitting[0]?.index ?? null;
}

function decoded(path: string): string | null {
  const text = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  if (text.includes('\0') && /%00/.test(path)) return null;
  const segments = text.replaceAll('\\', '/').split('/');
  if (segments.some((segment) => /^\.{1,2}(;.*)?$/s.test(segment))) return null;
  return segments.join('/').replace(/\/+/g, '/');
}

function hostFits(pattern: string, host: string): boolean {
  if (!pattern.startsWith('*.')) return pattern === host;
  return host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

function hostRank(pattern: string | null): number[] {
  if (pattern === null) return [0, 0];
  return pattern.startsWith('*.') ? [1, pattern.length] : [2, 0];
}

function pathFits(match: PathMatch | null, path: string): boolean {
  if (match === null) return true;
  if (match.form === 'exact') return path === match.text;
  if (match.form === 'prefix')
    return match.text === '/' ? path.startsWith('/') : path === match.text || path.startsWith(`${match.text}/`);
  // Words of the tests hold no character that means something in an expression.
  const source = match.text
    .split('/')
    .slice(1)
    .map((word) => (word === '**' ? '(/.*)?' : word === '*' ? '/[^/]+' : `/${word}`))
    .join('');
  return new RegExp(`^${source}$`, 's').test(path);
}

function pathRank(match: PathMatch | null): number[] {
  if (match === null) return [0];
  if (match.form === 'prefix') return [1, match.text.length];
  if (match.form === 'exact') return [3];
  // A word before *, * before the end, the end before **.
  const words = match.text.slice(1).split('/');
  const weights = words.map((word) => (word === '**' ? 0 : word === '*' ? 2 : 3));
  return [2, ...[...weights, 1, 1, 1, 1, 1].slice(0, 6)];
}

function conditions({ match }: RouteOptions): number {
  return (match.method === null ? 0 : 1) + Object.keys(match.header).length + Object.keys(match.query).length;
}

function conditionsHold({ match }: RouteOptions, request: PlainRequest): boolean {
  if (match.method !== null && !(match.method as readonly string[]).includes(METHOD_LABELS[request.method]))
    return false;
  const holds = (wanted: ValueMatch, value: string | undefined) =>
    value === undefined ? !wanted.present : wanted.present && (wanted.values?.includes(value) ?? true);
  return (
    Object.entries(match.header).every(([name, wanted]) => holds(wanted, request.headers[name])) &&
    Object.entries(match.query).every(([name, wanted]) => holds(wanted, request.query[name]))
  );
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
