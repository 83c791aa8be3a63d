import type { z } from 'zod';
import { shown } from '../base/literals.ts';
import type { Aim, DocumentTree } from './document-tree.ts';
import { dottedPath, type Path, valueAt } from './path.ts';
import { type JsonSchema, knownKeys, schemasAt } from './schema-json.ts';
import { isSecret } from './secrets.ts';
import { nearest, suggestion } from './suggest.ts';

/** One thing wrong, before it has a place in a file. */
export interface Fault {
  readonly path: Path;
  readonly aim: Aim;
  readonly message: string;
  /** The key that an unknown one was probably meant to be. */
  readonly meant?: string | null;
}

/** Leaves out that a key is missing where it is there but misspelt. */
export function withoutEchoes(faults: readonly Fault[]): Fault[] {
  const meant = new Set(faults.map((fault) => dottedPath([...fault.path.slice(0, -1), fault.meant ?? ''])));
  return faults.filter((fault) => fault.aim !== 'parent' || !meant.has(dottedPath(fault.path)));
}

type Issue = z.core.$ZodIssue;
type UnionIssue = z.core.$ZodIssueInvalidUnion;

const TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  null: 'nothing',
};

/** A secret of fewer characters, its quotes included, is not looked for in a sentence. */
const LEAST_QUOTED = 4;

/** Turns zod's issues into sentences about the document: what was found, and what would be right. */
export class IssueReader {
  readonly #data: unknown;
  readonly #tree: DocumentTree;
  readonly #schema: JsonSchema;

  constructor(data: unknown, tree: DocumentTree, schema: JsonSchema) {
    this.#data = data;
    this.#tree = tree;
    this.#schema = schema;
  }

  /** `base` is where a union stands whose branch the issue comes from. */
  faults(issue: Issue, base: Path = []): Fault[] {
    const path = [...base, ...(issue.path as Path)];
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => this.#unknownKey(path, key));
    if (issue.code === 'invalid_union' && issue.errors.length > 0) return this.#union(issue, path);
    if (valueAt(this.#data, path) === undefined && isAbsence(issue)) return [this.#missing(path)];
    if (issue.code === 'invalid_key') return [{ path, aim: 'key', message: this.#keyMessage(issue, path) }];
    return [{ path, aim: 'value', message: this.#message(issue, path) }];
  }

  #unknownKey(path: Path, key: string): Fault {
    const known = knownKeys(this.#schema, this.#data, path);
    const left = known.filter((one) => valueAt(this.#data, [...path, one]) === undefined);
    const message = `unknown key${suggestion(key, left, 'known here')}`;
    return { path: [...path, key], aim: 'key', message, meant: nearest(key, left) };
  }

  #missing(path: Path): Fault {
    const text = schemasAt(this.#schema, this.#data, path.slice(0, -1))
      .map((schema) => schema.properties?.[path.at(-1)!]?.description)
      .find((description) => description !== undefined);
    return { path, aim: 'parent', message: `is missing; it is needed here${text === undefined ? '' : `: ${text}`}` };
  }

  #keyMessage(issue: z.core.$ZodIssueInvalidKey, path: Path): string {
    const inner = issue.issues[0]?.message ?? '';
    return isStock(inner) ? `${shown(path.at(-1))} cannot be a key here` : inner;
  }

  #message(issue: Issue, path: Path): string {
    const found = this.#found(path);
    if (issue.code === 'invalid_union') return this.#kind(issue, found, path);
    if (!isStock(issue.message)) return this.#own(issue.message, path);
    switch (issue.code) {
      case 'invalid_type':
        return `${mismatch(issue.expected, found)}${quoteHint(issue.expected, valueAt(this.#data, path))}`;
      case 'invalid_value':
        return oneOf(found, valueAt(this.#data, path), issue.values);
      case 'too_small':
        return sizeMessage(issue.origin, 'at least', Number(issue.minimum), found);
      case 'too_big':
        return sizeMessage(issue.origin, 'at most', Number(issue.maximum), found);
      default:
        return `found ${found}: ${issue.message}`;
    }
  }

  #kind(issue: UnionIssue, found: string, path: Path): string {
    const options = (issue as { options?: readonly unknown[] }).options ?? [];
    return oneOf(found, valueAt(this.#data, path), options);
  }

  /** A part's own words quote the value as it is. */
  #own(message: string, path: Path): string {
    const value = valueAt(this.#data, path);
    if (!isSecret(this.#tree, path, value)) return message;
    const all = [JSON.stringify(value) ?? '', shown(value), `"${value}"`, String(value)];
    const spellings = all.filter(({ length }) => length >= LEAST_QUOTED);
    return spellings.reduce((text, spelling) => text.replaceAll(spelling, 'a secret value'), message);
  }

  #found(path: Path): string {
    const value = valueAt(this.#data, path);
    return isSecret(this.#tree, path, value) ? 'a secret value' : shown(value);
  }

  /** Reports the branch that was meant: the one that fits best; where none fits even by its type, all of them in one sentence. */
  #union(issue: UnionIssue, path: Path): Fault[] {
    const branches = flatten(issue);
    const meant = branches.filter((branch) => !branch.some(isOtherSort));
    const least = Math.min(...meant.map((branch) => branch.length));
    const best = meant.filter((branch) => branch.length === least);
    const words = wordsOf(branches);
    if (best.length === 0) return [{ path, aim: 'value', message: this.#noBranch(branches, path) }];
    const strange = best[0].filter((one) => one.code === 'unrecognized_keys');
    const chosen = best.length > 1 && strange.length > 0 ? strange : best[0];
    const hint = words.includes('off') ? ', or off' : '';
    return chosen
      .flatMap((one) => this.faults(one, path))
      .map((fault) => (needsHint(fault, path) ? { ...fault, message: fault.message + hint } : fault));
  }

  #noBranch(branches: readonly Issue[][], path: Path): string {
    const words = wordsOf(branches);
    const own = branches.flat().find((issue) => issue.path.length === 0 && !isStock(issue.message));
    if (own !== undefined)
      return this.#own(own.message, path) + (words.includes('off') && !own.message.includes('off') ? ', or off' : '');
    const value = valueAt(this.#data, path);
    const types = branches.flat().flatMap((issue) => (issue.code === 'invalid_type' ? [issue.expected as string] : []));
    const onlyText = types.every((type) => ['object', 'record', 'array'].includes(type));
    if (words.length > 0 && onlyText && typeof value === 'string') return oneOf(this.#found(path), value, words);
    const phrases = [...new Set([...words, ...types.map((type) => TYPES[type] ?? type)])];
    const hint = types.includes('string') ? quoteHint('string', value) : '';
    return `found ${this.#found(path)}; write ${phrases.join(' or ')}${hint}`;
  }
}

// A branch about another sort of value altogether (text where there is a map, another word than the one it stands for).
function isOtherSort(issue: Issue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

function flatten(issue: UnionIssue): Issue[][] {
  return issue.errors.flatMap((branch) => {
    const only = branch.length === 1 ? branch[0] : undefined;
    const nested = only?.code === 'invalid_union' && only.path.length === 0 && only.errors.length > 0;
    return nested ? flatten(only) : [branch as Issue[]];
  });
}

// `false` is accepted for `off` because old YAML says so; nobody is told to write it.
function wordsOf(branches: readonly Issue[][]): string[] {
  const values = branches
    .flat()
    .flatMap((issue) => (isOtherSort(issue) && issue.code === 'invalid_value' ? issue.values : []));
  return [...new Set(values.filter((value) => value !== false).map(String))];
}

function needsHint(fault: Fault, path: Path): boolean {
  return fault.path.length === path.length && fault.aim === 'value' && !/\boff\b/.test(fault.message);
}

function isAbsence(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union';
}

/** Whether zod made the message itself: parts that know better write their own. */
function isStock(message: string): boolean {
  return /^(Invalid|Too |Unrecognized)/.test(message);
}

function mismatch(expected: string, found: string): string {
  return `found ${found}; write ${TYPES[expected] ?? expected}`;
}

function quoteHint(expected: string, value: unknown): string {
  return expected === 'string' && (typeof value === 'number' || typeof value === 'boolean')
    ? ' (put it in quotes)'
    : '';
}

function oneOf(found: string, value: unknown, values: readonly unknown[]): string {
  const words = values.filter((word) => word !== false).map(String);
  return `${found} is not known here${suggestion(String(value), words, 'known')}`;
}

function sizeMessage(origin: string, bound: string, limit: number, found: string): string {
  if (origin === 'array') return `the list must have ${bound} ${limit} ${limit === 1 ? 'entry' : 'entries'}`;
  if (origin === 'string')
    return limit === 1 ? 'must not be empty' : `found ${found}; write ${bound} ${limit} characters`;
  return `found ${found}; write ${bound} ${limit}`;
}
