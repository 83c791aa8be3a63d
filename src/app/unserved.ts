import type { ConfigProblem } from '../base/errors.ts';
import type { DocumentTree } from '../config/document-tree.ts';
import type { Path } from '../config/path.ts';

type Entry = readonly [path: string, isUnserved: (value: unknown) => boolean, instead: string];

/**
 * What the document may say but this version does not do yet: refused by name, never ignored. One line each: delete the line when
 * the feature is there. `[]` stands for every entry of a list, `*` for every key of a map.
 */
const ENTRIES: readonly Entry[] = [];

/** The problems of a document that asks for what is not served. Works on data that may be wrong elsewhere. */
export function unserved(data: unknown, tree: DocumentTree, entries: readonly Entry[] = ENTRIES): ConfigProblem[] {
  return entries.flatMap(([pattern, isUnserved, instead]) =>
    expand(data, pattern.replaceAll('[]', '.[]').split('.'), [])
      .filter(({ value }) => isUnserved(value))
      .map(({ path, value }) => {
        const what = typeof value === 'string' ? `${path.at(-1)}: ${value}` : path.at(-1);
        return tree.problem(path, `${what} is not served by this version; ${instead}`, 'key');
      }),
  );
}

function expand(value: unknown, steps: readonly string[], path: Path): { path: Path; value: unknown }[] {
  if (steps.length === 0) return [{ path, value }];
  if (typeof value !== 'object' || value === null) return [];
  const [step, ...rest] = steps;
  if (step === '[]') return Array.isArray(value) ? value.flatMap((item, i) => expand(item, rest, [...path, i])) : [];
  if (step === '*') return Object.entries(value).flatMap(([key, inner]) => expand(inner, rest, [...path, key]));
  return Object.hasOwn(value, step) ? expand((value as Record<string, unknown>)[step], rest, [...path, step]) : [];
}
