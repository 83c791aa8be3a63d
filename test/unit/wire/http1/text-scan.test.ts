import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TEXT } from '../../../../src/wire/http1/byte-class.ts';
import { skipText, wordsOf } from '../../../../src/wire/http1/text-scan.ts';

/** Where a value ends, as its reader finds it: by words, then byte by byte. */
function valueEnd(buf: Buffer, start: number, bound: number): number {
  let p = skipText(wordsOf(buf), buf, start, bound);
  while (p < bound && TEXT[buf[p]] !== 0) p++;
  return p;
}

function plainEnd(buf: Buffer, start: number, bound: number): number {
  let p = start;
  while (p < bound && TEXT[buf[p]] !== 0) p++;
  return p;
}

describe('skipText', () => {
  it('stops at the first byte that is not text, whatever surrounds it', () => {
    // Values next to the edges of the ranges, where borrows and carries run from byte to byte.
    const byte = fc.oneof(
      { arbitrary: fc.constantFrom(0x20, 0x21, 0x7e, 0x80, 0xff, 0xfe, 9), weight: 20 },
      fc.constantFrom(0, 1, 8, 10, 13, 0x1f, 0x7f),
    );
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 60 }), fc.nat(9), fc.nat(9), (bytes, before, behind) => {
        const buf = Buffer.from(bytes);
        const start = Math.min(before, buf.length);
        const bound = Math.max(start, buf.length - behind);
        expect(valueEnd(buf, start, bound)).toBe(plainEnd(buf, start, bound));
      }),
      { numRuns: 5000 },
    );
  });

  it('never passes the bound, nor the end of the buffer', () => {
    for (let length = 0; length < 40; length++) {
      const exact = Buffer.alloc(length, 'a');
      const longer = Buffer.alloc(length + 20, 'a');
      for (let start = 0; start <= length; start++) {
        expect(valueEnd(exact, start, length)).toBe(length);
        expect(valueEnd(longer, start, length)).toBe(length);
      }
    }
  });

  it('sees a buffer at its own place in the memory it shares', () => {
    const whole = Buffer.from('\r\r\r\r\r\r\rabcdefghijklmnopqrstuvwxyz\r');
    const part = whole.subarray(7);
    expect(valueEnd(part, 0, part.length)).toBe(26);
    expect(valueEnd(whole, 7, whole.length)).toBe(33);
  });
});
