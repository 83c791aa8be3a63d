const SLASH = 0x2f;

/** One segment of a pattern: its bytes, or null for `*`. */
type Segment = Buffer | null;

/** `/users/*\/orders`: `*` is one whole segment that is not empty, `**` at the end is any rest, none included. Linear in the path. */
export class PathPattern {
  readonly #segments: readonly Segment[];
  readonly #isOpen: boolean;
  readonly #order: string;

  constructor(text: string) {
    const words = text.slice(1).split('/');
    this.#isOpen = words.at(-1) === '**';
    if (this.#isOpen) words.pop();
    this.#segments = words.map((word) => (word === '*' ? null : Buffer.from(word, 'latin1')));
    // Segment by segment: a word before *, * before **. The end stands where ** would, so that it is compared as the narrower.
    this.#order = words.map((word) => (word === '*' ? '1' : '0')).join('') + (this.#isOpen ? '2' : '');
  }

  matches(buf: Buffer, start: number, end: number): boolean {
    let p = start;
    for (const segment of this.#segments) {
      if (p >= end || buf[p] !== SLASH) return false;
      const from = p + 1;
      p = from;
      while (p < end && buf[p] !== SLASH) p++;
      if (segment === null ? p === from : !equals(segment, buf, from, p)) return false;
    }
    return p === end || this.#isOpen;
  }

  /** Negative when this pattern is the narrower one. */
  compare(other: PathPattern): number {
    return this.#order < other.#order ? -1 : this.#order > other.#order ? 1 : 0;
  }
}

function equals(key: Buffer, buf: Buffer, start: number, end: number): boolean {
  if (key.length !== end - start) return false;
  for (let i = 0; i < key.length; i++) if (key[i] !== buf[start + i]) return false;
  return true;
}
