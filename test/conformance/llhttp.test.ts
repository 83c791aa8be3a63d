import { describe, expect, it } from 'vitest';
import { difference } from './llhttp.ts';
import { mutantOf, numbersFrom, SEEDS } from './mutants.ts';

/** Mutants in one run; `npm run fuzz` makes a million. */
const RUNS = 10_000;

describe.each(['request', 'response'] as const)('llhttp in strict mode takes what we take: every %s', (kind) => {
  it('of the corpora', () => {
    const tally = { agreed: 0, refused: 0, outside: 0 };
    for (const text of SEEDS[kind]) {
      const { what, was } = difference(kind, Buffer.from(text, 'latin1'));
      expect(what, JSON.stringify(text)).toBe('');
      tally[was]++;
    }
    expect(tally.agreed).toBeGreaterThan(60);
  });

  it('of ten thousand mutants', () => {
    let agreed = 0;
    for (let i = 0; i < RUNS; i++) {
      const bytes = mutantOf(kind, numbersFrom(i));
      const { what, was } = difference(kind, bytes);
      expect(what, `${i} ${JSON.stringify(bytes.toString('latin1'))}`).toBe('');
      if (was === 'agreed') agreed++;
    }
    expect(agreed).toBeGreaterThan(RUNS / 20);
  });
});
