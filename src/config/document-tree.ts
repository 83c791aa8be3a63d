import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  type LineCounter,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
} from 'yaml';
import type { ConfigProblem } from '../base/errors.ts';
import { dottedPath, type Path } from './path.ts';

/** Where a problem points: at the value, at its key, or at what the missing thing would be in. */
export type Aim = 'value' | 'key' | 'parent';

/**
 * A parsed document with the place of everything in it. Made by `parseSource`, read by validation and cross-checks; lives only
 * while a document is loaded.
 */
export class DocumentTree {
  readonly file: string;
  readonly text: string;
  readonly #document: Document;
  readonly #lines: LineCounter;
  /** Scalars that were written with `${NAME}`, and the names. */
  readonly #variables = new Map<Node, readonly string[]>();

  constructor(file: string, text: string, document: Document, lines: LineCounter) {
    this.file = file;
    this.text = text;
    this.#document = document;
    this.#lines = lines;
  }

  /** The document itself, for the one step that rewrites scalars. */
  get document(): Document {
    return this.#document;
  }

  /** Remembers that a scalar's value came from these variables. */
  markVariables(scalar: Scalar, names: readonly string[]): void {
    this.#variables.set(scalar, names);
  }

  /** The variables a value was made of; empty when it stands in the document as it is. */
  variablesAt(path: Path): readonly string[] {
    const node = this.#nodeAt(path);
    return (node && this.#variables.get(node)) ?? [];
  }

  problem(path: Path, message: string, aim: Aim = 'value'): ConfigProblem {
    return { file: this.file, ...this.place(path, aim), path: dottedPath(path), message };
  }

  problemAtOffset(offset: number, message: string, path: Path = []): ConfigProblem {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.file, line, column: col, path: dottedPath(path), message };
  }

  /** 1-based. Falls back to the nearest thing around that has a place: what comes from a `<<` merge points at its anchor. */
  place(path: Path, aim: Aim = 'value'): { line: number; column: number } {
    const asked = aim === 'parent' ? path.slice(0, -1) : path;
    for (let length = asked.length; length >= 0; length--) {
      const around = asked.slice(0, length);
      const wantsKey = aim !== 'value' || length < asked.length;
      const node = (wantsKey ? this.#keyAt(around) : undefined) ?? this.#nodeAt(around);
      const offset = node?.range?.[0];
      if (offset === undefined) continue;
      const { line, col } = this.#lines.linePos(offset);
      return { line, column: col };
    }
    return { line: 1, column: 1 };
  }

  #nodeAt(path: Path): Node | undefined {
    let node: Node | undefined = this.#resolve(this.#document.contents);
    for (const step of path) node = this.#resolve(this.#child(node, step));
    return node;
  }

  #keyAt(path: Path): Node | undefined {
    if (path.length === 0) return undefined;
    const parent = this.#nodeAt(path.slice(0, -1));
    const pair = isMap(parent) ? pairOf(parent, path.at(-1)!) : undefined;
    return pair?.key as Node | undefined;
  }

  #child(node: Node | undefined, step: string | number): Node | undefined {
    if (isSeq(node)) return node.items[Number(step)] as Node | undefined;
    if (!isMap(node)) return undefined;
    const pair = pairOf(node, step);
    if (pair !== undefined) return (pair.value ?? pair.key) as Node | undefined;
    return this.#merged(node, step);
  }

  #merged(map: YAMLMap, step: string | number): Node | undefined {
    const merge = this.#resolve(map.items.find(isMerge)?.value as Node | undefined);
    const from = isSeq(merge) ? merge.items : [merge];
    for (const candidate of from) {
      const found = this.#child(this.#resolve(candidate as Node | undefined), step);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #resolve(node: Node | null | undefined): Node | undefined {
    if (!isAlias(node)) return node ?? undefined;
    return node.resolve(this.#document) ?? undefined;
  }
}

// The parser turns the key `<<` into a symbol of its own.
function isMerge(pair: Pair): boolean {
  return isScalar(pair.key) && (pair.key.value === '<<' || typeof pair.key.value === 'symbol');
}

function pairOf(map: YAMLMap, key: string | number): Pair | undefined {
  return map.items.find((pair) => isPair(pair) && isScalar(pair.key) && String(pair.key.value) === String(key));
}
