import { isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { isLoopbackName } from '../admin/guard.ts';
import type { ConfigProblem } from '../base/errors.ts';
import { formatHostPort, parseDuration, parseHostPort } from '../base/literals.ts';
import type { Aim, DocumentTree } from '../config/document-tree.ts';
import { dottedPath, type Path } from '../config/path.ts';
import { asList, asMap, asText } from '../config/plain.ts';
import { suggestion } from '../config/suggest.ts';
import { defaultRouteName, type RouteMatch, routeMatch } from '../routing/options.ts';

type Report = (path: Path, message: string, aim?: Aim) => void;

/**
 * What no option can know alone: names that refer to other places, and values that contradict each other. Works on data that may be
 * wrong elsewhere, so that a user sees every problem at once.
 */
export function crossCheck(data: unknown, tree: DocumentTree): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const report: Report = (path, message, aim) => problems.push(tree.problem(path, message, aim));
  const root = asMap(data);
  checkAdmin(asMap(root.admin), report);
  checkBinds(root, report);
  const pools = asMap(root.pools);
  const names = new Map<string, Path>();
  for (const [i, listener] of asList(root.listeners).entries()) {
    const path = ['listeners', i];
    checkUnique(names, asText(asMap(listener).name), [...path, 'name'], 'listener', report);
    checkListener(asMap(listener), path, pools, report);
    checkRegister(asMap(listener), path, asMap(root.registries), report);
  }
  for (const [name, pool] of Object.entries(pools))
    checkPool(asMap(pool), ['pools', name], asMap(root.registries), report);
  return problems;
}

function checkUnique(
  seen: Map<string, Path>,
  name: string | undefined,
  path: Path,
  what: string,
  report: Report,
): void {
  if (name === undefined) return;
  const first = seen.get(name);
  if (first === undefined) seen.set(name, path);
  else report(path, `${what} "${name}" is already at ${dottedPath(first.slice(0, -1))}; give each its own name`);
}

function checkAdmin(admin: Readonly<Record<string, unknown>>, report: Report): void {
  const bind = asText(admin.bind);
  const address = bind === undefined ? null : parseHostPort(bind);
  if (address === null || isLoopbackName(address.host) || (asText(admin.token) ?? '') !== '') return;
  const message = `${bind} can be reached from other machines; set admin.token, or bind to 127.0.0.1`;
  report(['admin', 'bind'], message);
}

/** One address asked for twice fails at start or splits the traffic; port 0 is a fresh port each time. */
function checkBinds(root: Readonly<Record<string, unknown>>, report: Report): void {
  const taken: { host: string; port: number; transport: string; path: Path }[] = [];
  const take = (text: unknown, transport: string, path: Path) => {
    const address = parseHostPort(asText(text) ?? '');
    if (address === null || address.port === 0) return;
    const clash = taken.find((other) => other.transport === transport && overlap(other, address));
    if (clash === undefined) taken.push({ ...address, transport, path });
    else report(path, `${formatHostPort(address.host, address.port)} is already bound by ${dottedPath(clash.path)}`);
  };
  for (const [i, item] of asList(root.listeners).entries()) {
    const listener = asMap(item);
    const transport = listener.protocol === 'udp' ? 'udp' : 'tcp';
    const path = ['listeners', i, 'bind'];
    if (!Array.isArray(listener.bind)) take(listener.bind, transport, path);
    for (const [j, one] of asList(listener.bind).entries()) take(one, transport, [...path, j]);
  }
  const admin = asMap(root.admin);
  take(admin.bind ?? '127.0.0.1:9900', 'tcp', ['admin', 'bind']);
  for (const [name, registry] of Object.entries(asMap(root.registries)))
    take(asMap(registry).bind, 'tcp', ['registries', name, 'bind']);
}

// 0.0.0.0 takes the port on every IPv4 address, `::` on every address of both families.
function overlap(a: { host: string; port: number }, b: { host: string; port: number }): boolean {
  if (a.port !== b.port) return false;
  if (a.host === b.host || a.host === '::' || b.host === '::') return true;
  return (a.host === '0.0.0.0' && !isIPv6(b.host)) || (b.host === '0.0.0.0' && !isIPv6(a.host));
}

function checkListener(
  listener: Readonly<Record<string, unknown>>,
  path: Path,
  pools: Readonly<Record<string, unknown>>,
  report: Report,
): void {
  const hasRoutes = listener.routes !== undefined;
  const hasPool = listener.pool !== undefined;
  if (hasRoutes && hasPool)
    report([...path, 'pool'], 'stands beside routes; pool is short for one route, keep either', 'key');
  if (!hasRoutes && !hasPool) report(path, 'has neither routes nor pool; give one of them');
  checkReference(listener.pool, 'pool', pools, [...path, 'pool'], report);
  checkClientCertificates(asMap(listener.tls), [...path, 'tls'], report);
  const names = new Map<string, Path>();
  const matches: { key: unknown; path: Path }[] = [];
  for (const [i, item] of asList(listener.routes).entries()) {
    const route = asMap(item);
    const at = [...path, 'routes', i];
    checkReference(route.pool, 'pool', pools, [...at, 'pool'], report);
    checkMatch(route, at, matches, names, report);
    checkProtocol(asText(listener.protocol) ?? 'http', route, at, report);
  }
  if (listener.protocol !== 'udp') return;
  for (const key of ['tls', 'proxyProtocol'])
    if (listener[key] !== undefined) report([...path, key], 'has no effect on a UDP listener; take it away', 'key');
}

/** What each protocol knows of a client before it must choose. */
const MATCHED: Readonly<Record<string, readonly string[]>> = {
  http: ['host', 'path', 'method', 'header', 'query'],
  tcp: ['sni', 'alpn'],
  udp: [],
};

function checkProtocol(protocol: string, route: Readonly<Record<string, unknown>>, path: Path, report: Report): void {
  const known = MATCHED[protocol];
  if (known === undefined) return;
  const instead = known.length === 0 ? 'give it one pool' : `there are ${known.join(', ')}`;
  for (const key of Object.keys(asMap(route.match)))
    if (!known.includes(key))
      report([...path, 'match', key], `cannot be matched by a listener with protocol: ${protocol}; ${instead}`, 'key');
  if (protocol !== 'http' && asList(route.middleware).length > 0)
    report([...path, 'middleware'], `has no effect with protocol: ${protocol}; take it away`, 'key');
}

function checkRegister(
  listener: Readonly<Record<string, unknown>>,
  path: Path,
  registries: Readonly<Record<string, unknown>>,
  report: Report,
): void {
  const { register } = listener;
  const bind = asText(Array.isArray(listener.bind) ? listener.bind[0] : listener.bind);
  const host = parseHostPort(bind ?? '')?.host;
  const entries = Array.isArray(register) ? register : register === undefined ? [] : [register];
  for (const [i, item] of entries.entries()) {
    const entry = asMap(item);
    const at = [...path, 'register', ...(Array.isArray(register) ? [i] : [])];
    checkReference(entry.registry, 'registry', registries, [...at, 'registry'], report);
    if (entry.address !== undefined || (host !== '0.0.0.0' && host !== '::')) continue;
    report(at, `needs address: ${bind} is no address at which others reach this machine`, 'key');
  }
}

function checkClientCertificates(tls: Readonly<Record<string, unknown>>, path: Path, report: Report): void {
  const asks = tls.clientCertificates === 'request' || tls.clientCertificates === 'require';
  const message = 'needs clientCa: without authorities no certificate could be believed';
  if (asks && tls.clientCa === undefined) report([...path, 'clientCertificates'], message, 'key');
  if (!asks && tls.clientCa !== undefined)
    report([...path, 'clientCa'], 'has no effect; set clientCertificates to request or require', 'key');
}

function checkMatch(
  route: Readonly<Record<string, unknown>>,
  path: Path,
  matches: { key: unknown; path: Path }[],
  names: Map<string, Path>,
  report: Report,
): void {
  const match = routeMatch.safeParse(route.match ?? {}).data;
  if (match === undefined) return;
  const key = canonical(match);
  const same = matches.find((other) => isDeepStrictEqual(other.key, key));
  if (same !== undefined) {
    report(
      path,
      `matches the same requests as ${dottedPath(same.path)}, which comes first; this one never would be used`,
    );
    return;
  }
  matches.push({ key, path });
  const isNamed = route.name !== undefined;
  const name = isNamed ? asText(route.name) : defaultRouteName(match);
  checkUnique(names, name, [...path, isNamed ? 'name' : 'match'], 'route', report);
}

function canonical(match: RouteMatch): unknown {
  const sorted = <T>(list: readonly T[] | null) => (list === null ? null : [...list].sort());
  const { host, method, sni, alpn } = match;
  return { ...match, host: sorted(host), method: sorted(method), sni: sorted(sni), alpn: sorted(alpn) };
}

function checkReference(
  value: unknown,
  what: string,
  known: Readonly<Record<string, unknown>>,
  path: Path,
  report: Report,
): void {
  const name = asText(value);
  if (name === undefined || Object.hasOwn(known, name)) return;
  const names = Object.keys(known);
  const hint = names.length === 0 ? `; the document has no ${what} at all` : suggestion(name, names, 'there are');
  report(path, `there is no ${what} "${name}"${hint}`);
}

function checkPool(
  pool: Readonly<Record<string, unknown>>,
  path: Path,
  registries: Readonly<Record<string, unknown>>,
  report: Report,
): void {
  if (pool.discover !== undefined && pool.endpoints !== undefined)
    report([...path, 'endpoints'], 'stands beside discover; a pool takes its endpoints from one of them', 'key');
  if (pool.discover === undefined && pool.endpoints === undefined)
    report(path, 'has neither discover nor endpoints; give one of them', 'key');
  checkDiscover(asMap(pool.discover), [...path, 'discover'], registries, report);
  const seen = new Map<string, Path>();
  for (const [i, item] of asList(pool.endpoints).entries()) {
    const address = parseHostPort(asText(asMap(item).address) ?? '');
    if (address === null) continue;
    const id = formatHostPort(address.host, address.port);
    const at = [...path, 'endpoints', i, 'address'];
    const first = seen.get(id);
    if (first === undefined) seen.set(id, at);
    else report(at, `${id} is already at ${dottedPath(first)}; an address stands once in a pool, use weight instead`);
  }
  checkTimes(pool, path, report);
  const tls = asMap(pool.tls);
  for (const [one, other] of [['cert', 'key'] as const, ['key', 'cert'] as const])
    if (tls[one] !== undefined && tls[other] === undefined)
      report([...path, 'tls', one], `stands alone; ${other} belongs to it`, 'key');
}

function checkDiscover(
  discover: Readonly<Record<string, unknown>>,
  path: Path,
  registries: Readonly<Record<string, unknown>>,
  report: Report,
): void {
  checkReference(discover.registry, 'registry', registries, [...path, 'registry'], report);
  for (const policy of ['union', 'first']) {
    for (const [i, one] of asList(discover[policy]).entries())
      checkReference(asMap(one).registry, 'registry', registries, [...path, policy, i, 'registry'], report);
  }
}

// Only what the user wrote is held against each other: a short request timeout alone simply ends attempts earlier.
function checkTimes(pool: Readonly<Record<string, unknown>>, path: Path, report: Report): void {
  const timeouts = asMap(pool.timeouts);
  const request = parseDuration(asText(timeouts.request) ?? '');
  if (request === null) return;
  const compare = (value: unknown, at: Path) => {
    const ms = parseDuration(asText(value) ?? '');
    if (ms === null || ms <= request) return;
    report(at, `${value} is longer than timeouts.request (${timeouts.request}), which ends first; make it shorter`);
  };
  compare(asMap(pool.retry).perTryTimeout, [...path, 'retry', 'perTryTimeout']);
  compare(timeouts.response, [...path, 'timeouts', 'response']);
  compare(timeouts.connect, [...path, 'timeouts', 'connect']);
}
