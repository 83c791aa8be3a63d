import type { z } from 'zod';
import type { ConfigProblem } from '../base/errors.ts';
import type { DocumentTree } from './document-tree.ts';
import { retyped } from './environment.ts';
import { IssueReader, withoutEchoes } from './issues.ts';
import { type Path, valueAt } from './path.ts';
import { jsonSchemaOf } from './schema-json.ts';

/** What a document turned out to be. */
export interface Validated<T> {
  /** Null when there are problems. */
  readonly value: T | null;
  /** The plain data that was judged: as written, variables replaced and read as numbers where numbers are needed. */
  readonly data: unknown;
  /** Every problem there is, in the order of the file. */
  readonly problems: readonly ConfigProblem[];
}

/** Judges plain data by a schema and gives every problem its place in the file. Changes `data` only where `${NAME}` stands for a number. */
export function validate<T>(schema: z.ZodType<T>, data: unknown, tree: DocumentTree): Validated<T> {
  let result = schema.safeParse(data);
  if (!result.success && retypeVariables(result.error.issues, data, tree)) result = schema.safeParse(data);
  if (result.success) return { value: result.data, data, problems: [] };
  const reader = new IssueReader(data, tree, jsonSchemaOf(schema));
  const faults = withoutEchoes(result.error.issues.flatMap((issue) => reader.faults(issue)));
  const problems = faults.map((fault) => tree.problem(fault.path, fault.message, fault.aim));
  return { value: null, data, problems: inFileOrder(problems) };
}

/** Sorted by place, each said once. */
export function inFileOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const once = new Map(problems.map((one) => [`${one.line}:${one.column} ${one.path} ${one.message}`, one]));
  return [...once.values()].sort((a, b) => a.line - b.line || a.column - b.column);
}

// The text of a variable is tried as text first, so that a token of digits stays a token; where text does not fit, as what it looks like.
function retypeVariables(issues: readonly z.core.$ZodIssue[], data: unknown, tree: DocumentTree): boolean {
  let changed = false;
  for (const path of issues.flatMap((issue) => pathsOf(issue, []))) {
    const text = valueAt(data, path);
    if (typeof text !== 'string' || tree.variablesAt(path).length === 0) continue;
    const value = retyped(text);
    if (value === text) continue;
    const parent = valueAt(data, path.slice(0, -1)) as Record<string | number, unknown>;
    parent[path.at(-1)!] = value;
    changed = true;
  }
  return changed;
}

function pathsOf(issue: z.core.$ZodIssue, base: Path): Path[] {
  const path = [...base, ...(issue.path as Path)];
  if (issue.code !== 'invalid_union') return [path];
  return [path, ...issue.errors.flat().flatMap((inner) => pathsOf(inner, path))];
}
