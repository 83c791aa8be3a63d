/** Below this many bytes a loop is faster than a call into native code (about 40 ns). */
const LOOP_MAX = 40;

/** Views up to this length are made once: messages of one kind have few lengths. */
const VIEWS = 4096;

/**
 * Puts a message together in one buffer that is used again for every message, then hands out a copy of the right size. Shared by all
 * connections of a thread: what is begun must be taken within the same turn.
 */
export class ByteWriter {
  #bytes: Buffer;
  #length = 0;
  readonly #views: (Buffer | undefined)[] = Array.from({ length: VIEWS });

  constructor(capacity = 64 * 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity);
  }

  get length(): number {
    return this.#length;
  }

  begin(): void {
    this.#length = 0;
  }

  /** Copies `from[start, end)`. */
  bytes(from: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (this.#length + count > this.#bytes.length) this.#grow(count);
    const to = this.#bytes;
    let at = this.#length;
    if (count < LOOP_MAX) for (let i = start; i < end; i++) to[at++] = from[i];
    else (from as Buffer).copy(to, at, start, end);
    this.#length += count;
  }

  /** Copies a whole prepared piece. */
  piece(from: Uint8Array): void {
    this.bytes(from, 0, from.length);
  }

  /** Writes text whose characters are all below 0x100. */
  text(text: string): void {
    if (this.#length + text.length > this.#bytes.length) this.#grow(text.length);
    if (text.length < LOOP_MAX) {
      const to = this.#bytes;
      let at = this.#length;
      for (let i = 0; i < text.length; i++) to[at++] = text.charCodeAt(i);
    } else {
      this.#bytes.write(text, this.#length, 'latin1');
    }
    this.#length += text.length;
  }

  /** Writes a non-negative integer in the given base (10 or 16). */
  number(value: number, base: 10 | 16): void {
    // A status: no string is made.
    if (base === 16 || value < 100 || value > 999) return this.text(value.toString(base));
    if (this.#length + 3 > this.#bytes.length) this.#grow(3);
    const tens = (value / 10) | 0;
    this.#bytes[this.#length++] = 0x30 + ((value / 100) | 0);
    this.#bytes[this.#length++] = 0x30 + (tens % 10);
    this.#bytes[this.#length++] = 0x30 + (value % 10);
  }

  /** A copy of what was written; the writer is empty afterwards. */
  take(): Buffer {
    const copy = Buffer.allocUnsafe(this.#length);
    this.#bytes.copy(copy, 0, 0, this.#length);
    this.#length = 0;
    return copy;
  }

  /** What was written, where it lies: valid until the next `begin` or `letGo`. */
  view(): Buffer {
    const length = this.#length;
    if (length >= VIEWS) return this.#bytes.subarray(0, length);
    const known = this.#views[length];
    if (known !== undefined) return known;
    const made = this.#bytes.subarray(0, length);
    this.#views[length] = made;
    return made;
  }

  /** Leaves the bytes to who holds `view`, and begins anew. */
  letGo(): void {
    this.#use(Buffer.allocUnsafeSlow(this.#bytes.length));
    this.#length = 0;
  }

  #use(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#views.fill(undefined);
  }

  #grow(needed: number): void {
    const bytes = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + needed));
    this.#bytes.copy(bytes, 0, 0, this.#length);
    this.#use(bytes);
  }
}
