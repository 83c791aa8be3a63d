import { Field } from '../../wire/http1/field.ts';
import type { FieldSection } from '../../wire/http1/field-section.ts';

const OPEN = 0x28;
const CLOSE = 0x29;
const BACKSLASH = 0x5c;

/**
 * The name by which a listener shows itself in Via (RFC 9110 §7.6.3), and by which it knows its own requests when they come back. One per
 * listener and document; listeners without the option have none, and nobody looks at Via then.
 */
export class Via {
  /** By the minor version of the message that was received. */
  readonly #lines: readonly [Buffer, Buffer];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name.toLowerCase();
    this.#lines = [Buffer.from(`Via: 1.0 ${name}\r\n`), Buffer.from(`Via: 1.1 ${name}\r\n`)];
  }

  /** The line to add behind those that came. */
  line(minor: number): Buffer {
    return this.#lines[minor === 0 ? 0 : 1];
  }

  /** Whether a request has been here before. */
  isIn(head: FieldSection, buf: Buffer): boolean {
    for (let i = 0; i < head.headerCount; i++) {
      if (head.kinds[i] !== Field.VIA) continue;
      const value = withoutComments(buf, head.offsets[i * 5 + 2], head.offsets[i * 5 + 3]).toLowerCase();
      if (value.split(',').some((hop) => hop.trim().split(/[ \t]+/)[1] === this.#name)) return true;
    }
    return false;
  }
}

/** Comments may hold commas and may be nested (RFC 9110 §5.6.5); one that does not end reaches to the end. */
function withoutComments(buf: Buffer, start: number, end: number): string {
  let text = '';
  let depth = 0;
  for (let p = start; p < end; p++) {
    const byte = buf[p];
    if (byte === OPEN) depth++;
    else if (depth === 0) text += String.fromCharCode(byte);
    else if (byte === CLOSE) depth--;
    else if (byte === BACKSLASH) p++;
  }
  return text;
}
