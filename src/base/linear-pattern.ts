/** The pattern cannot be used; the message says why. */
export class PatternError extends Error {}

/** States of a compiled pattern; repetition counts multiply them. */
const MAX_STATES = 2000;
/** Characters of a pattern. */
const MAX_LENGTH = 512;
const MAX_REPEAT = 100;

type CharacterTest = (code: number) => boolean;

/** A state either consumes one character that fits, or leads on without consuming. */
interface State {
  test: CharacterTest | null;
  assertion: 'start' | 'end' | 'boundary' | 'noBoundary' | null;
  next: State[];
  id: number;
}

/** A piece under construction: where it begins and its one loose end. */
interface Piece {
  readonly start: State;
  readonly end: State;
}

/**
 * A regular expression whose matching time is linear in the text, whatever the pattern: filters come from clients, and JavaScript's own
 * expressions can be made to run for ever. Understands literals, `.`, classes, `\d \w \s \b`, groups, `|`, `* + ? {n,m}`, `^` and `$`.
 */
export class LinearPattern {
  readonly #start: State;
  readonly #accept: State;
  readonly #size: number;

  /** Throws PatternError. */
  constructor(source: string) {
    if (source.length > MAX_LENGTH)
      throw new PatternError(`the regular expression is longer than ${MAX_LENGTH} characters`);
    const compiler = new Compiler(source);
    const piece = compiler.whole();
    this.#start = piece.start;
    this.#accept = piece.end;
    this.#size = compiler.states;
  }

  /** Whether it matches anywhere in the text. */
  test(text: string): boolean {
    let current: State[] = [];
    let marks = new Uint8Array(this.#size);
    for (let at = 0; at <= text.length; at++) {
      this.#follow(this.#start, text, at, current, marks);
      if (marks[this.#accept.id] === 1) return true;
      if (at === text.length) return false;
      const next: State[] = [];
      const nextMarks = new Uint8Array(this.#size);
      const code = text.charCodeAt(at);
      for (const state of current) {
        if (state.test?.(code)) for (const target of state.next) this.#follow(target, text, at + 1, next, nextMarks);
      }
      current = next;
      marks = nextMarks;
    }
    return false;
  }

  /** Adds everything that can be reached without consuming. Iterative: a pattern may be thousands of states deep. */
  #follow(from: State, text: string, at: number, into: State[], marks: Uint8Array): void {
    const open = [from];
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      if (marks[state.id] === 1) continue;
      if (state.assertion !== null && !holds(state.assertion, text, at)) continue;
      marks[state.id] = 1;
      if (state.test !== null) into.push(state);
      else open.push(...state.next);
    }
  }
}

const isWord: CharacterTest = (code) =>
  (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122);
const isDigit: CharacterTest = (code) => code >= 48 && code <= 57;
const isSpace: CharacterTest = (code) => code === 32 || (code >= 9 && code <= 13 && code !== 11);
const not =
  (test: CharacterTest): CharacterTest =>
  (code) =>
    !test(code);
const CLASSES: Readonly<Record<string, CharacterTest>> = {
  d: isDigit,
  D: not(isDigit),
  w: isWord,
  W: not(isWord),
  s: isSpace,
  S: not(isSpace),
};
const ESCAPES: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11 };

function holds(assertion: NonNullable<State['assertion']>, text: string, at: number): boolean {
  if (assertion === 'start') return at === 0;
  if (assertion === 'end') return at === text.length;
  const before = at > 0 && isWord(text.charCodeAt(at - 1));
  const after = at < text.length && isWord(text.charCodeAt(at));
  return (before !== after) === (assertion === 'boundary');
}

/** Thompson's construction by recursive descent. */
class Compiler {
  readonly #source: string;
  #at = 0;
  #depth = 0;
  states = 0;

  constructor(source: string) {
    this.#source = source;
  }

  whole(): Piece {
    const piece = this.#alternatives();
    if (this.#at < this.#source.length) throw new PatternError('unexpected ) in the regular expression');
    return piece;
  }

  #alternatives(): Piece {
    if (++this.#depth > 50) throw new PatternError('the regular expression is nested too deeply');
    const pieces = [this.#sequence()];
    while (this.#take('|')) pieces.push(this.#sequence());
    this.#depth--;
    if (pieces.length === 1) return pieces[0];
    const end = this.#state();
    for (const piece of pieces) piece.end.next.push(end);
    return { start: this.#state(pieces.map((piece) => piece.start)), end };
  }

  #sequence(): Piece {
    const start = this.#state();
    let end = start;
    while (this.#at < this.#source.length && this.#peek() !== '|' && this.#peek() !== ')') {
      const piece = this.#repeated();
      end.next.push(piece.start);
      end = piece.end;
    }
    return { start, end };
  }

  #repeated(): Piece {
    const from = this.#at;
    let piece = this.#atom();
    const [least, most] = this.#quantifier();
    if (least === 1 && most === 1) return piece;
    // Each repetition needs states of its own: its source is compiled again.
    const again = (): Piece => {
      const resume = this.#at;
      this.#at = from;
      const copy = this.#atom();
      this.#at = resume;
      return copy;
    };
    const start = this.#state();
    const out = this.#state();
    let end = start;
    for (let i = 0; i < least; i++) {
      end.next.push(piece.start);
      end = piece.end;
      piece = again();
    }
    if (most === Number.POSITIVE_INFINITY) {
      const loop = this.#state([piece.start, out]);
      end.next.push(loop);
      piece.end.next.push(loop);
      return { start, end: out };
    }
    for (let i = least; i < most; i++) {
      end.next.push(piece.start, out);
      end = piece.end;
      piece = again();
    }
    end.next.push(out);
    return { start, end: out };
  }

  #quantifier(): [number, number] {
    let range: [number, number] = [1, 1];
    if (this.#take('*')) range = [0, Number.POSITIVE_INFINITY];
    else if (this.#take('+')) range = [1, Number.POSITIVE_INFINITY];
    else if (this.#take('?')) range = [0, 1];
    else {
      const match = /^\{(\d{1,4})(,(\d{1,4})?)?\}/.exec(this.#source.slice(this.#at));
      if (match === null) return range;
      this.#at += match[0].length;
      const least = Number(match[1]);
      const open = match[2] !== undefined && match[3] === undefined;
      range = [least, open ? Number.POSITIVE_INFINITY : Number(match[3] ?? match[1])];
      const highest = open ? least : range[1];
      if (highest > MAX_REPEAT || highest < least)
        throw new PatternError(`repetition of more than ${MAX_REPEAT} or none`);
    }
    // Lazy or greedy makes no difference to whether it matches.
    this.#take('?');
    return range;
  }

  #atom(): Piece {
    const character = this.#source[this.#at++];
    if (character === '(') return this.#group();
    if (character === '[') return this.#consuming(this.#class());
    if (character === '.') return this.#consuming((code) => code !== 10);
    if (character === '^') return this.#asserting('start');
    if (character === '$') return this.#asserting('end');
    if (character === '\\') return this.#escape();
    if (character === '*' || character === '+' || character === '?')
      throw new PatternError(`missing argument to repetition operator: ${character}`);
    const code = character.charCodeAt(0);
    return this.#consuming((found) => found === code);
  }

  #group(): Piece {
    const special = /^\?(?:P?<\w+>|:)/.exec(this.#source.slice(this.#at));
    if (special !== null) this.#at += special[0].length;
    else if (this.#peek() === '?') throw new PatternError('lookaround and flags are not supported');
    const inner = this.#alternatives();
    if (!this.#take(')')) throw new PatternError('missing closing ) in the regular expression');
    return inner;
  }

  #escape(): Piece {
    const character = this.#source[this.#at++];
    if (character === undefined) throw new PatternError('trailing backslash at end of expression');
    if (character === 'b') return this.#asserting('boundary');
    if (character === 'B') return this.#asserting('noBoundary');
    return this.#consuming(escaped(character));
  }

  #class(): CharacterTest {
    const negated = this.#take('^');
    const tests: CharacterTest[] = [];
    for (let first = true; ; first = false) {
      const character = this.#source[this.#at++];
      if (character === undefined) throw new PatternError('missing closing ] in the regular expression');
      if (character === ']' && !first) break;
      tests.push(this.#classItem(character));
    }
    const any: CharacterTest = (code) => tests.some((test) => test(code));
    return negated ? not(any) : any;
  }

  #classItem(character: string): CharacterTest {
    const single = character === '\\' ? this.#source[this.#at++] : character;
    if (single === undefined) throw new PatternError('trailing backslash at end of expression');
    if (character === '\\' && (CLASSES[single] !== undefined || this.#peek() !== '-')) return escaped(single);
    const next = this.#source[this.#at + 1];
    const low = character === '\\' ? (ESCAPES[single] ?? single.charCodeAt(0)) : single.charCodeAt(0);
    if (this.#peek() !== '-' || next === undefined || next === ']') return (code) => code === low;
    this.#at += 2;
    const high = (next === '\\' ? this.#source[this.#at++] : next)?.charCodeAt(0) ?? 0;
    if (high < low) throw new PatternError('invalid character class range');
    return (code) => code >= low && code <= high;
  }

  #consuming(test: CharacterTest): Piece {
    const end = this.#state();
    const start = this.#state([end]);
    start.test = test;
    return { start, end };
  }

  #asserting(assertion: NonNullable<State['assertion']>): Piece {
    const end = this.#state();
    const start = this.#state([end]);
    start.assertion = assertion;
    return { start, end };
  }

  #state(next: State[] = []): State {
    if (this.states >= MAX_STATES) throw new PatternError('the regular expression is too large');
    return { test: null, assertion: null, next, id: this.states++ };
  }

  #peek(): string | undefined {
    return this.#source[this.#at];
  }

  #take(character: string): boolean {
    if (this.#source[this.#at] !== character) return false;
    this.#at++;
    return true;
  }
}

function escaped(character: string): CharacterTest {
  const known = CLASSES[character];
  if (known !== undefined) return known;
  if (/[0-9a-zA-Z]/.test(character) && ESCAPES[character] === undefined)
    throw new PatternError(`invalid escape sequence: \\${character}`);
  const code = ESCAPES[character] ?? character.charCodeAt(0);
  return (found) => found === code;
}
