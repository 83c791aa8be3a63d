/** What a comparison does with a selector's value. */
export type Comparison = 'equal' | 'in' | 'empty' | 'matches';

/** A filter expression in Consul's language, parsed. */
export type Expression =
  | { readonly kind: 'and' | 'or'; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'not'; readonly operand: Expression }
  | {
      readonly kind: 'compare';
      readonly comparison: Comparison;
      readonly negated: boolean;
      readonly selector: readonly string[];
      /** '' where the comparison takes none. */
      readonly value: string;
    };

export class FilterSyntaxError extends Error {}

/** Longest expression, and how deep it may be nested. */
const MAX_LENGTH = 4096;
const MAX_DEPTH = 50;

type Token = { readonly kind: 'word' | 'text' | 'sign'; readonly text: string; readonly at: number };

/** Reads an expression; throws FilterSyntaxError that says where. `or` binds weaker than `and`, `not` strongest. */
export function parseFilter(source: string): Expression {
  if (source.length > MAX_LENGTH) throw new FilterSyntaxError(`longer than ${MAX_LENGTH} characters`);
  return new Parser(tokens(source), source.length).whole();
}

function tokens(source: string): Token[] {
  const found: Token[] = [];
  const pattern = /\s+|("(?:[^"\\]|\\.)*")|(`[^`]*`)|(==|!=|[()[\]])|([^\s()[\]"`=!]+)/y;
  while (pattern.lastIndex < source.length) {
    const at = pattern.lastIndex;
    const match = pattern.exec(source);
    if (match === null) throw new FilterSyntaxError(`1:${at + 1} (${at}): no match found`);
    if (match[1] !== undefined) found.push({ kind: 'text', text: unquoted(match[1], at), at });
    else if (match[2] !== undefined) found.push({ kind: 'text', text: match[2].slice(1, -1), at });
    else if (match[3] !== undefined) found.push({ kind: 'sign', text: match[3], at });
    else if (match[4] !== undefined) found.push({ kind: 'word', text: match[4], at });
  }
  return found;
}

function unquoted(quoted: string, at: number): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw new FilterSyntaxError(`1:${at + 1} (${at}): not a string`);
  }
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #end: number;
  #next = 0;
  #depth = 0;

  constructor(tokens: readonly Token[], end: number) {
    this.#tokens = tokens;
    this.#end = end;
  }

  whole(): Expression {
    const expression = this.#or();
    if (this.#next < this.#tokens.length) throw this.#wrong('the end, "and" or "or"');
    return expression;
  }

  #or(): Expression {
    if (++this.#depth > MAX_DEPTH) throw new FilterSyntaxError(`nested deeper than ${MAX_DEPTH}`);
    let left = this.#and();
    while (this.#word('or')) left = { kind: 'or', left, right: this.#and() };
    this.#depth--;
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#word('and')) left = { kind: 'and', left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    let negations = 0;
    while (this.#word('not')) negations++;
    const operand = this.#sign('(') ? this.#group() : this.#comparison();
    return negations % 2 === 0 ? operand : { kind: 'not', operand };
  }

  #group(): Expression {
    const inner = this.#or();
    if (!this.#sign(')')) throw this.#wrong('")"');
    return inner;
  }

  /** `value in selector`, `selector is empty`, `selector == value` and so on. */
  #comparison(): Expression {
    const first = this.#tokens[this.#next];
    if (first === undefined || first.kind === 'sign') throw this.#wrong('a selector or a value');
    const after = this.#tokens[this.#next + 1];
    const later = this.#tokens[this.#next + 2];
    const isIn = after?.kind === 'word' && after.text === 'in';
    const isNotIn = after?.kind === 'word' && after.text === 'not' && later?.kind === 'word' && later.text === 'in';
    if (isIn || isNotIn) {
      this.#next += isIn ? 2 : 3;
      return { kind: 'compare', comparison: 'in', negated: isNotIn, selector: this.#selector(), value: first.text };
    }
    const selector = this.#selector();
    const { comparison, negated } = this.#operator();
    return { kind: 'compare', comparison, negated, selector, value: comparison === 'empty' ? '' : this.#value() };
  }

  #operator(): { comparison: Comparison; negated: boolean } {
    if (this.#sign('==')) return { comparison: 'equal', negated: false };
    if (this.#sign('!=')) return { comparison: 'equal', negated: true };
    if (this.#word('is')) {
      const negated = this.#word('not');
      if (!this.#word('empty')) throw this.#wrong('"empty"');
      return { comparison: 'empty', negated };
    }
    const negated = this.#word('not');
    if (this.#word('contains')) return { comparison: 'in', negated };
    if (this.#word('matches')) return { comparison: 'matches', negated };
    throw this.#wrong('"==", "!=", "in", "contains", "matches" or "is"');
  }

  #selector(): string[] {
    const token = this.#tokens[this.#next];
    if (token === undefined || token.kind !== 'word' || !/^[a-zA-Z][\w/-]*(\.[\w/-]+)*$/.test(token.text))
      throw this.#wrong('a selector');
    this.#next++;
    const path = token.text.split('.');
    while (this.#sign('[')) {
      const key = this.#tokens[this.#next];
      if (key?.kind !== 'text') throw this.#wrong('a quoted key');
      this.#next++;
      path.push(key.text);
      if (!this.#sign(']')) throw this.#wrong('"]"');
      const rest = this.#tokens[this.#next];
      if (rest?.kind === 'word' && /^(\.[\w/-]+)+$/.test(rest.text)) {
        path.push(...rest.text.slice(1).split('.'));
        this.#next++;
      }
    }
    return path;
  }

  #value(): string {
    const token = this.#tokens[this.#next];
    if (token === undefined || token.kind === 'sign') throw this.#wrong('a value');
    this.#next++;
    return token.text;
  }

  #word(text: string): boolean {
    return this.#take('word', text);
  }

  #sign(text: string): boolean {
    return this.#take('sign', text);
  }

  #take(kind: Token['kind'], text: string): boolean {
    const token = this.#tokens[this.#next];
    if (token?.kind !== kind || token.text !== text) return false;
    this.#next++;
    return true;
  }

  #wrong(expected: string): FilterSyntaxError {
    const at = this.#tokens[this.#next]?.at ?? this.#end;
    return new FilterSyntaxError(`1:${at + 1} (${at}): no match found, expected: ${expected}`);
  }
}
