import { parseAst } from 'vitest/node';

/** One place in a file where another is named: import and export statements, `import()`, `import('…')` types, `new URL('./…', …)`. */
export interface Reference {
  readonly specifier: string;
  readonly line: number;
  /** `url` is a file opened or started by address (a worker's entry, an asset), without its name having to end in `.ts`. */
  readonly kind: 'static' | 'dynamic' | 'type' | 'url';
}

export interface FunctionSpan {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  readonly isAsync: boolean;
}

/** What the house rules need to know of a file; all lines count from 1. */
export interface SourceFile {
  /** Relative to the checkout, with slashes: `src/base/clock.ts`. */
  readonly path: string;
  readonly lines: number;
  readonly references: readonly Reference[];
  readonly functions: readonly FunctionSpan[];
  readonly exportedNames: readonly { readonly name: string; readonly line: number }[];
  /** Lines of `export … from`: a barrel's statements. */
  readonly reexports: readonly number[];
  readonly consoleCalls: readonly number[];
  /** Calls at the top level: what happens when the file is imported. */
  readonly effects: readonly number[];
  readonly unfinished: readonly { readonly word: string; readonly line: number }[];
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

interface Facts {
  references: Reference[];
  functions: FunctionSpan[];
  exportedNames: { name: string; line: number }[];
  reexports: number[];
  consoleCalls: number[];
  effects: number[];
}

type LineOf = (offset: number) => number;

/** Throws when the text is no TypeScript. */
export function readSource(path: string, text: string): SourceFile {
  const program = parseAst(text, { lang: 'ts', astType: 'ts' } as never, path) as unknown as Node;
  const lineOf = lineFinder(text);
  const facts: Facts = {
    references: [],
    functions: [],
    exportedNames: [],
    reexports: [],
    consoleCalls: [],
    effects: [],
  };
  const plain = plainConstants(program);
  for (const statement of asNodes(program.body)) {
    readStatement(statement, facts, lineOf);
    if (isEffect(statement, plain)) facts.effects.push(lineOf(statement.start));
  }
  walk(program, '', (node, name) => readNode(node, name, facts, lineOf));
  return {
    path,
    lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0),
    ...facts,
    unfinished: unfinished(text),
  };
}

function readStatement(statement: Node, facts: Facts, lineOf: LineOf): void {
  const line = lineOf(statement.start);
  if (!statement.type.startsWith('Export')) return;
  if (isNode(statement.source)) facts.reexports.push(line);
  if (statement.type === 'ExportDefaultDeclaration') facts.exportedNames.push({ name: 'default', line });
  for (const name of namesOf(statement)) facts.exportedNames.push({ name, line });
}

function namesOf(statement: Node): string[] {
  const names = asNodes(statement.specifiers).map((specifier) => nameOf(specifier.exported));
  if (!isNode(statement.declaration)) return names;
  const { declaration } = statement;
  const declared = asNodes(declaration.declarations).map((declarator) => nameOf(declarator.id));
  return [...names, ...declared, ...(isNode(declaration.id) ? [nameOf(declaration.id)] : [])].filter(Boolean);
}

/** Values of a file's own: filling one at the top level reaches nothing outside the file. */
const PLAIN_VALUES = /^(BlockList|Map|Set|WeakMap|WeakSet|Array|\w+Array|DataView|Buffer)$/;

/** Names of the top level's constants that hold plain values. */
function plainConstants(program: Node): Set<string> {
  const declarations = asNodes(program.body).flatMap((statement) => {
    const declaration = isNode(statement.declaration) ? statement.declaration : statement;
    return asNodes(declaration.declarations);
  });
  return new Set(declarations.filter(({ init }) => isPlainValue(init)).map(({ id }) => nameOf(id)));
}

function isPlainValue(init: unknown): boolean {
  if (!isNode(init)) return false;
  if (init.type === 'ArrayExpression' || init.type === 'ObjectExpression') return true;
  return init.type === 'NewExpression' && PLAIN_VALUES.test(nameOf(init.callee));
}

/** A bare call at the top level. What a file does to make its own constants (loops that fill a table, checks) reaches nothing outside. */
function isEffect(statement: Node, plain: ReadonlySet<string>): boolean {
  if (statement.type !== 'ExpressionStatement' || !isNode(statement.expression)) return false;
  let { expression } = statement as Node & { expression: Node };
  while (isNode(expression.argument)) expression = expression.argument;
  if (!/^(Call|New|Import|Chain|Await|TaggedTemplate)Expression$/.test(expression.type)) return false;
  const { callee } = expression;
  return !(isNode(callee) && callee.type === 'MemberExpression' && plain.has(nameOf(callee.object)));
}

function readNode(node: Node, name: string, facts: Facts, lineOf: LineOf): void {
  const line = lineOf(node.start);
  const reference = referenceOf(node);
  if (reference !== null) facts.references.push({ ...reference, line });
  if (isFunction(node) && isNode(node.body)) {
    const lines = lineOf(node.end - 1) - line + 1;
    facts.functions.push({ name: nameOf(node.id) || name || '(anonymous)', line, lines, isAsync: node.async === true });
  }
  if (node.type === 'MemberExpression' && nameOf(node.object) === 'console') facts.consoleCalls.push(line);
}

function referenceOf(node: Node): { specifier: string; kind: Reference['kind'] } | null {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
      return literal(node.source, 'static');
    case 'ImportExpression':
      return literal(node.source, 'dynamic');
    case 'TSImportType':
      return literal(node.source ?? node.argument, 'type');
    case 'TSExternalModuleReference':
      return literal(node.expression, 'static');
    case 'CallExpression':
      return nameOf(node.callee) === 'require' ? literal(asNodes(node.arguments)[0], 'dynamic') : null;
    case 'NewExpression':
      return nameOf(node.callee) === 'URL' ? urlReference(asNodes(node.arguments)) : null;
    default:
      return null;
  }
}

function literal(node: unknown, kind: Reference['kind']): { specifier: string; kind: Reference['kind'] } | null {
  if (!isNode(node)) return null;
  if (node.type === 'Literal' && typeof node.value === 'string') return { specifier: node.value, kind };
  if (node.type === 'TSLiteralType') return literal(node.literal, kind);
  return null;
}

/** `new URL('./worker' + import.meta.url.slice(-3), import.meta.url)`: the literal it begins with. */
function urlReference([address, base]: Node[]): { specifier: string; kind: Reference['kind'] } | null {
  if (address === undefined || base === undefined) return null;
  let first: Node = address;
  while (first.type === 'BinaryExpression' && isNode(first.left)) first = first.left;
  const found = first.type === 'TemplateLiteral' ? templateStart(first) : literal(first, 'url')?.specifier;
  return found?.startsWith('.') ? { specifier: found, kind: 'url' } : null;
}

function templateStart(node: Node): string | undefined {
  const [quasi] = asNodes(node.quasis);
  return (quasi?.value as { cooked?: string } | undefined)?.cooked;
}

function isFunction(node: Node): boolean {
  return ['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'].includes(node.type);
}

/** Visits every node; `name` is what the node is assigned to, for functions without a name of their own. */
function walk(node: Node, name: string, visit: (node: Node, name: string) => void): void {
  visit(node, name);
  const own = nameOf(node.key) || nameOf(node.id);
  for (const key in node) {
    const value = node[key];
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, own, visit);
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string' && 'start' in value;
}

function asNodes(value: unknown): Node[] {
  return Array.isArray(value) ? value.filter(isNode) : [];
}

function nameOf(node: unknown): string {
  if (!isNode(node)) return '';
  if (node.type === 'PrivateIdentifier') return `#${String(node.name)}`;
  return node.type === 'Identifier' ? String(node.name) : '';
}

function lineFinder(text: string): LineOf {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  };
}

/** Marks of unfinished work stand in comments; the words are put together here so that this file carries none. */
function unfinished(text: string): { word: string; line: number }[] {
  const words = new RegExp(
    `\\b(${['TO', 'FIX', 'X', 'HA'].map((start, at) => start + ['DO', 'ME', 'XX', 'CK'][at]).join('|')})\\b`,
  );
  return text.split('\n').flatMap((content, index) => {
    const found = words.exec(content);
    return found === null ? [] : [{ word: found[1], line: index + 1 }];
  });
}
