import { ByteTable } from './byte-table.ts';
import type { PathMatch } from './options.ts';
import { PathPattern } from './path-pattern.ts';
import type { RequestValues, Route } from './route.ts';

const SLASH = 0x2f;

/** Routes with the same host and path, the strictest first. */
type Rules = readonly Route[];

/** A prefix and the next shorter one of the same group: where a request goes on when no rule of this one admits it. */
interface Prefix {
  readonly rules: Rules;
  readonly shorter: Prefix | null;
}

/** The routes of one host, by path: exact, then patterns, then the longest prefix, then those that name no path. */
export class HostGroup {
  readonly #exact: ByteTable<Rules>;
  readonly #patterns: readonly { readonly pattern: PathPattern; readonly rules: Rules }[];
  readonly #prefixes: ByteTable<Prefix>;
  readonly #everything: Rules;
  /** The group that is asked when no route of this one admits the request; null for that of no host. */
  readonly wider: HostGroup | null;

  constructor(routes: readonly { readonly path: PathMatch | null; readonly route: Route }[], wider: HostGroup | null) {
    const of = (form: string | undefined) => {
      const chosen = routes.filter(({ path }) => path?.form === form);
      const texts = Map.groupBy(chosen, ({ path }) => path?.text ?? '');
      return new Map([...texts].map(([text, list]) => [text, strictestFirst(list.map(({ route }) => route))]));
    };
    this.wider = wider;
    this.#exact = new ByteTable(of('exact'), hashForward);
    this.#prefixes = new ByteTable(chained(of('prefix')), hashForward);
    this.#patterns = [...of('pattern')]
      .map(([text, rules]) => ({ pattern: new PathPattern(text), rules }))
      .sort((a, b) => a.pattern.compare(b.pattern));
    this.#everything = of(undefined).get('') ?? [];
  }

  /** The most specific route that admits the request; null when there is none in this group. */
  find(buf: Buffer, start: number, end: number, method: number, values: RequestValues | null): Route | null {
    let prefix: Prefix | null = null;
    if (end > start && buf[start] === SLASH) {
      const route = this.#findWhole(buf, start, end, method, values);
      if (route !== null) return route;
      prefix = this.#longestPrefix(buf, start, end);
    }
    for (; prefix !== null; prefix = prefix.shorter) {
      const route = admitted(prefix.rules, method, values);
      if (route !== null) return route;
    }
    return admitted(this.#everything, method, values);
  }

  #findWhole(buf: Buffer, start: number, end: number, method: number, values: RequestValues | null): Route | null {
    if (end - start <= this.#exact.longest) {
      const rules = this.#exact.get(hashOf(buf, start, end), buf, start, end);
      const route = rules === null ? null : admitted(rules, method, values);
      if (route !== null) return route;
    }
    for (const { pattern, rules } of this.#patterns) {
      const route = pattern.matches(buf, start, end) ? admitted(rules, method, values) : null;
      if (route !== null) return route;
    }
    return null;
  }

  /** Asks at every border for what has been passed: the last one found is the longest. Not beyond the longest key there is. */
  #longestPrefix(buf: Buffer, start: number, end: number): Prefix | null {
    const prefixes = this.#prefixes;
    const stop = Math.min(end, start + prefixes.longest + 1);
    let found: Prefix | null = null;
    let hash = 0;
    for (let p = start; p < stop; p++) {
      const byte = buf[p];
      if (byte === SLASH) found = prefixes.get(hash, buf, start, p) ?? found;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    return stop === end ? (prefixes.get(hash, buf, start, end) ?? found) : found;
  }
}

function admitted(rules: Rules, method: number, values: RequestValues | null): Route | null {
  for (const route of rules) if (route.admits(method, values)) return route;
  return null;
}

// Stable: among equally strict routes the document's order holds.
function strictestFirst(routes: readonly Route[]): Rules {
  return routes.toSorted((a, b) => b.conditions - a.conditions);
}

function hashForward(key: Buffer): number {
  return hashOf(key, 0, key.length);
}

function hashOf(buf: Buffer, start: number, end: number): number {
  let hash = 0;
  for (let p = start; p < end; p++) hash = (Math.imul(hash, 31) + buf[p]) | 0;
  return hash;
}

/** Prefixes without their last slash (`/` is the empty one), each linked to the next shorter that holds it. */
function chained(rulesByText: ReadonlyMap<string, Rules>): Map<string, Prefix> {
  const prefixes = new Map<string, Prefix>();
  const texts = [...rulesByText].map(([text, rules]) => [text === '/' ? '' : text, rules] as const);
  for (const [text, rules] of texts.sort(([a], [b]) => a.length - b.length)) {
    prefixes.set(text, { rules, shorter: nextShorter(text, prefixes) });
  }
  return prefixes;
}

function nextShorter(text: string, prefixes: ReadonlyMap<string, Prefix>): Prefix | null {
  for (let shorter = text; shorter !== ''; ) {
    shorter = shorter.slice(0, shorter.lastIndexOf('/'));
    const prefix = prefixes.get(shorter);
    if (prefix !== undefined) return prefix;
  }
  return null;
}
