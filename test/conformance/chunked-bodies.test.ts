import { describe, expect, it } from 'vitest';
import { ChunkedReader } from '../../src/wire/http1/chunked-reader.ts';
import { BODIES } from './chunked-bodies.ts';
import { CHUNKED_LIMITS, viewBody } from './messages.ts';

describe('chunked bodies', () => {
  it('have names of their own', () => {
    expect(new Set(BODIES.map((one) => one.name)).size).toBe(BODIES.length);
  });

  for (const one of BODIES) {
    it(`${one.name} (RFC ${one.rfc})`, () => {
      expect(viewBody(Buffer.from(one.bytes, 'latin1'))).toMatchObject(one.expect);
    });
  }

  it('give the same result byte by byte, with one reader for all', () => {
    const reader = new ChunkedReader(CHUNKED_LIMITS);
    for (const one of BODIES) {
      const bytes = Buffer.from(one.bytes, 'latin1');
      const ends = Array.from({ length: bytes.length + 1 }, (_, i) => i);
      expect(viewBody(bytes, ends, reader), one.name).toEqual(viewBody(bytes));
    }
  });
});
