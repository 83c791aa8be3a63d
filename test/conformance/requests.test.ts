import { describe, expect, it } from 'vitest';
import { LIMITS, viewRequest } from './messages.ts';
import { REQUESTS } from './requests.ts';

describe('request heads', () => {
  it('come in a corpus of at least 200 with names of their own', () => {
    expect(REQUESTS.length).toBeGreaterThanOrEqual(200);
    expect(new Set(REQUESTS.map((one) => one.name)).size).toBe(REQUESTS.length);
  });

  for (const one of REQUESTS) {
    const bytes = Buffer.from(one.bytes, 'latin1');
    it(`${one.name} (RFC ${one.rfc})`, () => {
      expect(viewRequest(bytes, [bytes.length], one.limits ?? LIMITS)).toMatchObject(one.expect);
    });
  }

  it('give the same result byte by byte', () => {
    for (const one of REQUESTS) {
      const bytes = Buffer.from(one.bytes, 'latin1');
      const ends = Array.from({ length: bytes.length + 1 }, (_, i) => i);
      const limits = one.limits ?? LIMITS;
      expect(viewRequest(bytes, ends, limits), one.name).toEqual(viewRequest(bytes, [bytes.length], limits));
    }
  });
});
