import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LinearPattern } from '../../../src/base/linear-pattern.ts';

describe('LinearPattern', () => {
  it('finds what JavaScript finds, for random patterns and texts', () => {
    const atom = fc.oneof(
      fc.constantFrom(
        'a',
        'b',
        '-',
        '.',
        '\\d',
        '\\w',
        '\\s',
        '\\.',
        '\\b',
        '^',
        '$',
        '[ab]',
        '[^a]',
        '[a-c1-]',
        '[\\d-]',
      ),
    );
    const { pattern } = fc.letrec<{ pattern: string; piece: string }>((tie) => ({
      piece: fc.oneof(
        { maxDepth: 3 },
        atom,
        fc
          .tuple(tie('pattern'), fc.constantFrom('', '*', '+', '?', '{2}', '{0,2}', '{1,}', '*?'))
          .map(([inner, times]) => `(${inner})${times}`),
        fc
          .tuple(fc.constantFrom('a', '.', '[ab]', '\\d'), fc.constantFrom('*', '+', '?', '{2,3}'))
          .map((both) => both.join('')),
      ),
      pattern: fc.oneof(
        fc.array(tie('piece'), { maxLength: 4 }).map((pieces) => pieces.join('')),
        fc.tuple(tie('piece'), tie('piece')).map((both) => both.join('|')),
      ),
    }));
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', '-', ' ', '.'), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (source, subject) => {
        expect(new LinearPattern(source).test(subject)).toBe(new RegExp(source).test(subject));
      }),
      { numRuns: 3000, seed: 11 },
    );
  });

  it('takes no longer for patterns that would keep JavaScript busy for ever', () => {
    const began = performance.now();
    expect(new LinearPattern('^(a+)+$').test(`${'a'.repeat(2000)}!`)).toBe(false);
    expect(new LinearPattern('(a|a)*b').test('a'.repeat(2000))).toBe(false);
    expect(new LinearPattern('a*a*a*a*a*c').test('a'.repeat(2000))).toBe(false);
    expect(performance.now() - began).toBeLessThan(1000);
  });

  it.each(['[', 'a)', '(a', '*a', 'a**b(', '\\', '(?=a)', '\\1', 'a{1000}', '((a{90}){90}){90}', '[b-a]'])(
    'refuses %s',
    (source) => {
      expect(() => new LinearPattern(source)).toThrow();
    },
  );
});
