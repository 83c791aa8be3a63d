import { resolve } from 'node:path';
import { isAlias, LineCounter, parseDocument, visit, type YAMLError } from 'yaml';
import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import { readCapped } from '../base/read-capped.ts';
import { DocumentTree } from './document-tree.ts';

/** A document of 10 000 endpoints, written one a line, takes about 1 MiB. */
export const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;
/** Aliases may not blow a small text up: the `yaml` package counts how often the nodes behind them are used. */
const MAX_ALIASES = 100;
/** Levels a document may have; the parser takes a minute for 100 000 and its stack ends near 800. */
const MAX_DEPTH = 500;
const TOO_DEEP = 'the document is nested too deeply';

/** Reads a YAML or JSON file. Throws a ConfigError when there is no such file, it cannot be read, or it is not well-formed. */
export async function loadSource(file: string): Promise<DocumentTree> {
  const path = resolve(file);
  let bytes: Buffer;
  try {
    bytes = await readCapped(path, MAX_DOCUMENT_BYTES);
  } catch (error) {
    throw new ConfigError([{ file: path, line: 0, column: 0, path: '', message: unreadable(error) }]);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const message = 'the file is not UTF-8 text; save it as UTF-8';
    throw new ConfigError([{ file: path, line: 0, column: 0, path: '', message }]);
  }
  return parseSource(text, path);
}

function unreadable(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'there is no such file; name one with -c FILE';
  if (code === 'EACCES') return 'the file may not be read; check its permissions';
  if (code === 'EISDIR') return 'this is a directory; name a file with -c FILE';
  return `the file cannot be read: ${(error as Error).message}`;
}

/** Parses YAML 1.2 (JSON is a part of it). `file` only names the text in messages. Throws a ConfigError with every syntax error. */
export function parseSource(text: string, file: string): DocumentTree {
  const tooDeep = () => new ConfigError([{ file, line: 1, column: 1, path: '', message: TOO_DEEP }]);
  if (isTooDeep(text)) throw tooDeep();
  const lines = new LineCounter();
  let tree: DocumentTree;
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, merge: true });
    tree = new DocumentTree(file, text, document, lines);
  } catch (error) {
    // Deep block maps are left to the parser, which recurses.
    if (error instanceof RangeError) throw tooDeep();
    throw error;
  }
  const problems = telling([...tree.document.errors, ...tree.document.warnings]).map((one) => syntaxProblem(tree, one));
  if (problems.length === 0) problems.push(...lostAliases(tree));
  if (problems.length > 0) throw new ConfigError(problems);
  return tree;
}

// Brackets in quotes and comments count too: nobody writes hundreds of open ones there.
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1;
    if (depth > MAX_DEPTH) return true;
  }
  return text.includes('- '.repeat(MAX_DEPTH)) || text.includes('? '.repeat(MAX_DEPTH));
}

/** The document as plain data. Throws a ConfigError when aliases blow it up. */
export function plainData(tree: DocumentTree): unknown {
  try {
    return tree.document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    const message = `aliases cannot be followed: ${(error as Error).message}`;
    throw new ConfigError([{ file: tree.file, line: 1, column: 1, path: '', message }]);
  }
}

// Where the structure breaks, what the parser says of the rest follows from it: only the first such error tells something.
function telling(errors: readonly YAMLError[]): YAMLError[] {
  const breaks = errors.filter((error) => error.code !== 'DUPLICATE_KEY' && error.code !== 'TAG_RESOLVE_FAILED');
  return breaks.length > 0 ? breaks.slice(0, 1) : [...errors];
}

function syntaxProblem(tree: DocumentTree, error: YAMLError): ConfigProblem {
  const problem = tree.problemAtOffset(error.pos[0], syntaxMessage(error));
  // `{ key: ${NAME} }` opens a map inside the map: say what is meant instead of what the parser saw.
  const line = tree.text.split('\n', problem.line)[problem.line - 1] ?? '';
  const hint = /[{,[].*\$\{/.test(line) ? `; in flow style write "\${NAME}" in quotes` : '';
  return hint === '' ? problem : { ...problem, message: problem.message + hint };
}

function syntaxMessage(error: YAMLError): string {
  switch (error.code) {
    case 'DUPLICATE_KEY':
      return 'this key is given twice in the same map; keep one';
    case 'TAB_AS_INDENT':
      return 'a tab cannot indent; use spaces';
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; one file holds one document';
    case 'TAG_RESOLVE_FAILED':
      return `${error.message}; tags are not used here`;
    default:
      return error.message.startsWith('Maximum call stack') ? TOO_DEEP : error.message;
  }
}

function lostAliases(tree: DocumentTree): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  visit(tree.document, {
    Alias(_key, node) {
      if (!isAlias(node) || node.resolve(tree.document) !== undefined) return;
      const message = `no anchor "&${node.source}" stands before this alias`;
      problems.push(tree.problemAtOffset(node.range?.[0] ?? 0, message));
    },
  });
  return problems;
}
