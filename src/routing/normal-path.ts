import { z } from 'zod';
import { REFUSED } from './compared-path.ts';
import { BACKSLASH, DOT, dotsEnd, hexPair, PERCENT, SEMICOLON, SLASH } from './path-bytes.ts';

const UPPER_HEX = Buffer.from('0123456789ABCDEF');

/** `paths:` of a listener: what becomes of a path that servers read in different ways. Never optional: an escape that is none, and `%00`, are refused. */
export const pathOptions = z.strictObject({
  dotSegments: z.enum(['refuse', 'resolve']).describe('/../ and /./ in any spelling').prefault('refuse'),
  emptySegments: z.enum(['refuse', 'merge', 'keep']).describe('//').prefault('merge'),
  encodedSlash: z
    .enum(['refuse', 'decode', 'keep'])
    .describe('%2F; where it is kept, routes take it for a slash all the same')
    .prefault('keep'),
  backslash: z.enum(['refuse', 'slash']).describe('\\ and %5C').prefault('refuse'),
});

/** What a listener does with paths, resolved. */
export type PathRules = z.output<typeof pathOptions>;

/**
 * Writes the one form of a path to `out`, which is at least as long, and returns its length, or REFUSED: the form by which its route is found
 * and which is forwarded (RFC 3986 §6.2.2). Letters, digits and `-._~` are decoded, other escapes get capital digits. A form is its own form.
 */
export function normalPath(buf: Buffer, start: number, end: number, rules: PathRules, out: Buffer): number {
  let length = 0;
  let segment = 0;
  // Where a part begins that somebody may take for a segment: behind a slash, or behind one that stays encoded.
  let part = 0;
  for (let p = start; p < end; p++) {
    let byte = buf[p];
    if (byte === PERCENT) {
      byte = p + 2 < end ? hexPair(buf[p + 1], buf[p + 2]) : -1;
      if (byte <= 0) return REFUSED;
      p += 2;
      if (byte === SLASH && rules.encodedSlash === 'refuse') return REFUSED;
      if (byte === SLASH && rules.encodedSlash === 'keep') {
        if (isDotPart(out, part, length)) return REFUSED;
        length = writeEscape(out, length, byte);
        part = length;
        continue;
      }
      if (byte !== SLASH && byte !== BACKSLASH) {
        if (isUnreserved(byte)) out[length++] = byte;
        else length = writeEscape(out, length, byte);
        continue;
      }
    }
    if (byte !== SLASH && byte !== BACKSLASH) {
      out[length++] = byte;
      continue;
    }
    if (byte === BACKSLASH && rules.backslash === 'refuse') return REFUSED;
    if (isDotPart(out, part, length)) {
      length = part === segment ? withoutDots(out, segment, length, rules) : REFUSED;
      if (length === REFUSED) return REFUSED;
    } else if (length > 0 && out[length - 1] === SLASH && part === length) {
      if (rules.emptySegments === 'refuse') return REFUSED;
      if (rules.emptySegments === 'keep') out[length++] = SLASH;
    } else {
      out[length++] = SLASH;
    }
    segment = length;
    part = length;
  }
  if (!isDotPart(out, part, length)) return length;
  return part === segment ? withoutDots(out, segment, length, rules) : REFUSED;
}

/** The path up to `segment`, whose `.` or `..` ends at `length`, once that is resolved (RFC 3986 §5.2.4). Above the root there is nothing. */
function withoutDots(out: Buffer, segment: number, length: number, rules: PathRules): number {
  if (rules.dotSegments === 'refuse') return REFUSED;
  if (length - segment === 1) return segment;
  if (length - segment > 2 || out[segment + 1] !== DOT || segment < 2) return REFUSED;
  let parent = segment - 1;
  while (out[parent - 1] !== SLASH) parent--;
  return parent;
}

/** `.` or `..`, also with parameters behind it: some servers cut those off first. */
function isDotPart(out: Buffer, start: number, end: number): boolean {
  const next = dotsEnd(out, start, end);
  if (next < 0) return false;
  if (next === end || out[next] === SEMICOLON) return true;
  return next + 2 < end && out[next] === PERCENT && hexPair(out[next + 1], out[next + 2]) === SEMICOLON;
}

function writeEscape(out: Buffer, at: number, byte: number): number {
  out[at] = PERCENT;
  out[at + 1] = UPPER_HEX[byte >> 4];
  out[at + 2] = UPPER_HEX[byte & 15];
  return at + 3;
}

/** RFC 3986 §2.3. */
function isUnreserved(byte: number): boolean {
  const letter = byte | 0x20;
  if (letter >= 0x61 && letter <= 0x7a) return true;
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === DOT || byte === 0x5f || byte === 0x7e;
}
