import { isDeepStrictEqual } from 'node:util';

/** What the diff looks at; every validated document has it. */
export interface Comparable {
  readonly runtime: unknown;
  readonly admin: unknown;
  readonly log: unknown;
  readonly registries: Readonly<Record<string, unknown>>;
  readonly pools: Readonly<Record<string, unknown>>;
  readonly listeners: readonly ComparableListener[];
}

export interface ComparableListener {
  readonly name: string;
  readonly routes: readonly { readonly name: string }[];
}

/** Names that came, went, or mean something else than before. */
export interface Changes {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

/** What differs between two documents by meaning: order of keys, comments and spelling of a value (`60s`, `1m`) do not count. */
export interface DocumentDiff {
  /** `runtime`, `admin`, `log` that changed. */
  readonly sections: readonly string[];
  readonly registries: Changes;
  readonly pools: Changes;
  /** Without their routes: a listener that is only `changed` in its routes is not in here. */
  readonly listeners: Changes;
  /** By `listener/route`, for listeners that are in both. */
  readonly routes: Changes;
  /** Listeners that are in both and whose routes stand in another order. */
  readonly reordered: readonly string[];
  readonly empty: boolean;
}

/** Compares the running document with its successor; for the words of `config diff` and of a judgement. */
export function diffDocuments(before: Comparable, after: Comparable): DocumentDiff {
  const sections = (['runtime', 'admin', 'log'] as const).filter(
    (section) => !isDeepStrictEqual(before[section], after[section]),
  );
  const was = byName(before.listeners);
  const is = byName(after.listeners);
  const registries = changes(before.registries, after.registries);
  const pools = changes(before.pools, after.pools);
  const listeners = changes(withoutRoutes(was), withoutRoutes(is));
  const kept = Object.keys(was).filter((name) => Object.hasOwn(is, name));
  const routes = changes(routesOf(kept, was), routesOf(kept, is));
  const reordered = kept.filter((name) => isReordered(was[name], is[name]));
  const all = [registries, pools, listeners, routes];
  const empty = sections.length === 0 && reordered.length === 0 && all.every(isEmpty);
  return { sections, registries, pools, listeners, routes, reordered, empty };
}

function changes(before: Readonly<Record<string, unknown>>, after: Readonly<Record<string, unknown>>): Changes {
  return {
    added: Object.keys(after).filter((name) => !Object.hasOwn(before, name)),
    removed: Object.keys(before).filter((name) => !Object.hasOwn(after, name)),
    changed: Object.keys(before).filter(
      (name) => Object.hasOwn(after, name) && !isDeepStrictEqual(before[name], after[name]),
    ),
  };
}

function isEmpty(found: Changes): boolean {
  return found.added.length + found.removed.length + found.changed.length === 0;
}

function byName<T extends { readonly name: string }>(items: readonly T[]): Record<string, T> {
  return Object.fromEntries(items.map((item) => [item.name, item]));
}

function withoutRoutes(listeners: Record<string, ComparableListener>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(listeners).map(([name, { routes: _, ...rest }]) => [name, rest]));
}

function routesOf(names: readonly string[], listeners: Record<string, ComparableListener>): Record<string, unknown> {
  return Object.fromEntries(
    names.flatMap((name) => listeners[name].routes.map((route) => [`${name}/${route.name}`, route] as const)),
  );
}

// Only routes that are in both count: one that came or went has not moved the others.
function isReordered(before: ComparableListener, after: ComparableListener): boolean {
  const names = (listener: ComparableListener, other: ComparableListener) => {
    const there = new Set(other.routes.map((route) => route.name));
    return listener.routes.map((route) => route.name).filter((name) => there.has(name));
  };
  return !isDeepStrictEqual(names(before, after), names(after, before));
}
