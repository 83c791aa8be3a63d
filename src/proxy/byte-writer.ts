/** Below this many bytes a loop is faster than a call into native code (about 40 ns). */
const LOOP_MAX = 40;

/**
 * Puts a message together in one buffer that is used again for every message, then hands out a copy of the right size. Shared by all
 * connections of a thread: what is begun must be taken within the same turn.
 */
export class ByteWriter {
  #bytes: Buffer;
  #length = 0;

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
    this.text(value.toString(base));
  }

  /** A copy of what was written; the writer is empty afterwards. */
  take(): Buffer {
    const copy = Buffer.allocUnsafe(this.#length);
    this.#bytes.copy(copy, 0, 0, this.#length);
    this.#length = 0;
    return copy;
  }

  #grow(needed: number): void {
    const bytes = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + needed));
    this.#bytes.copy(bytes, 0, 0, this.#length);
    this.#bytes = bytes;
  }
}
