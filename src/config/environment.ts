import { isMap, isPair, isScalar, isSeq, type Node, type Scalar, visit } from 'yaml';
import type { ConfigProblem } from '../base/errors.ts';
import type { DocumentTree } from './document-tree.ts';
import type { Path } from './path.ts';

/** Variables by name: `process.env`, or what a test says. */
export type Environment = Readonly<Record<string, string | undefined>>;

// `$${` is a literal `${`; then NAME, optionally with `:-` and a default that holds no brace; then whatever is written wrongly.
const REFERENCE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{[^}]*\}?/g;

/** A variable that a document names at a place. */
export interface Reference {
  readonly path: Path;
  readonly name: string;
  /** Undefined when none is given. */
  readonly fallback: string | undefined;
}

/** Every reference in plain data whose variables are not replaced yet. */
export function referencesIn(data: unknown, path: Path = []): Reference[] {
  if (typeof data === 'object' && data !== null)
    return Object.entries(data).flatMap(([key, value]) =>
      referencesIn(value, [...path, Array.isArray(data) ? Number(key) : key]),
    );
  if (typeof data !== 'string' || !data.includes('${')) return [];
  return [...data.matchAll(REFERENCE)].flatMap(([, name, fallback]) =>
    name === undefined ? [] : [{ path, name, fallback }],
  );
}

/**
 * Replaces `${NAME}` and `${NAME:-default}` in every scalar value, after parsing: a value stays one scalar, whatever it holds, and
 * cannot add keys. The default holds when the variable is unset or empty, as in the shell. Keys are left alone. A replaced value is
 * text; where the document needs a number or true/false instead, validation reads it as one.
 */
export function substituteEnvironment(tree: DocumentTree, environment: Environment): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  visit(tree.document, {
    Scalar(key, node) {
      if (typeof node.value !== 'string' || !node.value.includes('${')) return;
      const fail = (message: string) =>
        problems.push(tree.problemAtOffset(node.range?.[0] ?? 0, message, pathTo(tree, node)));
      if (key === 'key') fail(`a key cannot hold \${…}; variables are replaced in values only`);
      else substitute(tree, node, environment, fail);
    },
  });
  return problems;
}

function substitute(tree: DocumentTree, node: Scalar, environment: Environment, fail: (message: string) => void): void {
  const names: string[] = [];
  node.value = String(node.value).replace(
    REFERENCE,
    (found, name: string | undefined, fallback: string | undefined) => {
      if (found === '$${') return '${';
      if (name === undefined) {
        fail(`${found} is not a variable; write \${NAME} or \${NAME:-default}, or $\${ for the characters themselves`);
        return found;
      }
      names.push(name);
      const value = environment[name];
      if (fallback !== undefined) return value || fallback;
      if (value === undefined) fail(`the environment has no ${name}; set it, or give a default: \${${name}:-default}`);
      return value ?? '';
    },
  );
  if (names.length > 0) tree.markVariables(node, names);
}

/** The path to a node, for messages. */
function pathTo(tree: DocumentTree, wanted: Node): (string | number)[] {
  const search = (node: unknown, path: (string | number)[]): (string | number)[] | null => {
    if (node === wanted) return path;
    if (isSeq(node)) return firstOf(node.items, (item, i) => search(item, [...path, i]));
    if (!isMap(node)) return null;
    return firstOf(node.items, (pair) => {
      if (!isPair(pair) || !isScalar(pair.key)) return null;
      const inside = [...path, String(pair.key.value)];
      return pair.key === wanted ? inside : search(pair.value, inside);
    });
  };
  return search(tree.document.contents, []) ?? [];
}

function firstOf<T, R>(items: readonly T[], find: (item: T, index: number) => R | null): R | null {
  for (let i = 0; i < items.length; i++) {
    const found = find(items[i], i);
    if (found !== null) return found;
  }
  return null;
}

/** What a replaced text is when the place wants no text: a number or true/false as YAML's core schema writes them; else the text. */
export function retyped(text: string): string | number | boolean {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : text;
}
