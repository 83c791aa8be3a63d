import { isDeepStrictEqual } from 'node:util';
import { type Changes, type Comparable, type DocumentDiff, diffDocuments } from './diff.ts';
import { maskedPart } from './mask.ts';
import { maskedText } from './secrets.ts';

/** Details told of one thing that changed; the rest is counted. */
const DETAILS = 12;

/** What differs between two documents by meaning, a line each: `+ pool orders`, `~ pool web  endpoints + 127.0.0.1:9003`. Empty when nothing does. */
export function diffText(before: Comparable, after: Comparable): string {
  return diffLines(before, after)
    .map((line) => `${line}\n`)
    .join('');
}

/** The same as a list. */
export function diffLines(before: Comparable, after: Comparable): string[] {
  const diff = diffDocuments(before, after);
  return [
    ...diff.sections.flatMap((name) => changed(name, before[name as 'log'], after[name as 'log'])),
    ...told('registry', diff.registries, before.registries, after.registries),
    ...told('pool', diff.pools, before.pools, after.pools),
    ...told('listener', diff.listeners, listenersOf(before), listenersOf(after)),
    ...told('route', diff.routes, routesOf(before), routesOf(after)),
    ...diff.reordered.map((name) => `~ listener ${name}  its routes stand in another order`),
  ];
}

/** A short sentence: how much of what came, went and changed. */
export function diffSummary(diff: DocumentDiff): string {
  const all = [diff.registries, diff.pools, diff.listeners, diff.routes];
  const sum = (pick: (one: Changes) => readonly string[]) => all.reduce((total, one) => total + pick(one).length, 0);
  return `${sum((one) => one.added)} added, ${sum((one) => one.removed)} removed, ${sum((one) => one.changed) + diff.sections.length + diff.reordered.length} changed`;
}

type Things = Readonly<Record<string, unknown>>;

function told(noun: string, { added, removed, changed: names }: Changes, before: Things, after: Things): string[] {
  return [
    ...added.map((name) => `+ ${noun} ${name}`),
    ...removed.map((name) => `- ${noun} ${name}`),
    ...names.flatMap((name) => changed(`${noun} ${name}`, before[name], after[name])),
  ];
}

function changed(what: string, before: unknown, after: unknown): string[] {
  const details = [...leaves(before, after, [])];
  const shown = details.slice(0, DETAILS).map((detail) => `~ ${what}  ${detail}`);
  return details.length > DETAILS ? [...shown, `~ ${what}  and ${details.length - DETAILS} more`] : shown;
}

function* leaves(before: unknown, after: unknown, path: readonly string[]): Generator<string> {
  if (isDeepStrictEqual(before, after)) return;
  const [was, is] = [parts(before), parts(after)];
  const place = maskedText(path.join('.'));
  if (was === null || is === null) {
    yield `${place}: ${spelled(before, path)} → ${spelled(after, path)}`;
    return;
  }
  for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
    // The items of a list are called what they are, which may be a secret.
    const name = maskedPart(key, path);
    if (!Object.hasOwn(is, key)) yield `${place} - ${name}`;
    else if (!Object.hasOwn(was, key) && Array.isArray(after)) yield `${place} + ${name}`;
    else yield* leaves(was[key], is[key], [...path, key]);
  }
}

/** An object's entries; a list's by what its items are called, where they are called anything. */
function parts(value: unknown): Things | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!Array.isArray(value)) return value as Things;
  return Object.fromEntries(value.map((item, i) => [nameOf(item) ?? String(i), item]));
}

function nameOf(item: unknown): string | null {
  if (typeof item !== 'object' || item === null) return typeof item === 'string' ? item : null;
  const { name, address, host, port } = item as Record<string, unknown>;
  if (typeof name === 'string') return name;
  if (typeof address === 'string') return address;
  return typeof host === 'string' && typeof port === 'number' ? `${host}:${port}` : null;
}

function spelled(value: unknown, path: readonly string[]): string {
  return value === undefined ? 'nothing' : JSON.stringify(maskedPart(value, path));
}

function listenersOf({ listeners }: Comparable): Things {
  return Object.fromEntries(listeners.map(({ routes: _, ...rest }) => [rest.name, rest]));
}

function routesOf({ listeners }: Comparable): Things {
  return Object.fromEntries(
    listeners.flatMap(({ name, routes }) => routes.map((route) => [`${name}/${route.name}`, route])),
  );
}
