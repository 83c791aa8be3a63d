import { describe, expect, it } from 'vitest';
import { LIMITS, viewResponse } from './messages.ts';
import { RESPONSES } from './responses.ts';

describe('response heads', () => {
  it('come in a corpus of at least 100 with names of their own', () => {
    expect(RESPONSES.length).toBeGreaterThanOrEqual(100);
    expect(new Set(RESPONSES.map((one) => one.name)).size).toBe(RESPONSES.length);
  });

  for (const one of RESPONSES) {
    const bytes = Buffer.from(one.bytes, 'latin1');
    it(`${one.name} (RFC ${one.rfc})`, () => {
      expect(viewResponse(bytes, [bytes.length], one.limits ?? LIMITS)).toMatchObject(one.expect);
    });
  }

  it('give the same result byte by byte', () => {
    for (const one of RESPONSES) {
      const bytes = Buffer.from(one.bytes, 'latin1');
      const ends = Array.from({ length: bytes.length + 1 }, (_, i) => i);
      const limits = one.limits ?? LIMITS;
      expect(viewResponse(bytes, ends, limits), one.name).toEqual(viewResponse(bytes, [bytes.length], limits));
    }
  });
});
