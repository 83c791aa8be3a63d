import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Field, fieldOf } from '../../../../src/wire/http1/field.ts';

const of = (name: string) => {
  const bytes = Buffer.from(`x${name}:`, 'latin1');
  return fieldOf(bytes, 1, bytes.length - 1);
};
const SPECIAL = ['OTHER', 'X_EVENKEEL', 'LOOKALIKE', 'NAMED_BY_CONNECTION', 'X_FORWARDED_MORE'];
/** The constants name the fields: X_FORWARDED_FOR is x-forwarded-for. */
const KNOWN = new Map(
  Object.entries(Field)
    .filter(([word]) => !SPECIAL.includes(word))
    .map(([word, field]) => [word.toLowerCase().replaceAll('_', '-'), field]),
);
const OWNED = /^(transfer-encoding|content-length|x-forwarded-(for|proto|host|port)|x-real-ip)$/;

/** The rule said again, over text. */
function expected(name: string): number {
  const lower = name.toLowerCase();
  if (KNOWN.has(lower)) return KNOWN.get(lower) as number;
  if (lower.startsWith('x-evenkeel-') && lower.length > 11) return Field.X_EVENKEEL;
  if (/^x-forwarded-./.test(lower)) return Field.X_FORWARDED_MORE;
  const folded = lower.replaceAll('_', '-');
  if (OWNED.test(folded) || /^x-(evenkeel|forwarded)-./.test(folded)) return Field.LOOKALIKE;
  return Field.OTHER;
}

describe('fieldOf', () => {
  it('knows each field in any case', () => {
    for (const [name, field] of KNOWN) {
      expect(of(name), name).toBe(field);
      expect(of(name.toUpperCase()), name).toBe(field);
      expect(of(name.replace(/\b[a-z]/g, (letter) => letter.toUpperCase())), name).toBe(field);
    }
  });

  it('knows no name that is one byte off', () => {
    for (const name of KNOWN.keys())
      for (let i = 0; i <= name.length; i++)
        for (const other of ['x', '-', '_', '.', '~', 'M'])
          for (const near of [
            name.slice(0, i) + other + name.slice(i + 1),
            name.slice(0, i) + other + name.slice(i),
            name.slice(0, i) + name.slice(i + 1),
          ])
            if (near !== '') expect(of(near), near).toBe(expected(near));
  });

  it('agrees with the rule for any name', () => {
    const letter = fc.constantFrom(...'abcdefghilmnoprtuvxyHOSTE-_.1');
    const name = fc.oneof(
      fc.string({ unit: letter, minLength: 1, maxLength: 30 }),
      fc.string({ unit: letter, maxLength: 40 }).map((tail) => `X-evenkeel${tail}`),
      fc.string({ unit: letter, maxLength: 40 }).map((tail) => `x_Forwarded-${tail}`),
    );
    fc.assert(
      fc.property(name, (text) => {
        expect(of(text), text).toBe(expected(text));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes the prefix alone for no field of evenkeel', () => {
    expect(of('x-evenkeel-')).toBe(Field.OTHER);
    expect(of('x-evenkeel-a')).toBe(Field.X_EVENKEEL);
    expect(of(`X-EVENKEEL-${'a'.repeat(200)}`)).toBe(Field.X_EVENKEEL);
    expect(of('x_evenkeel-a')).toBe(Field.LOOKALIKE);
    expect(of('x-forwarded-')).toBe(Field.OTHER);
    expect(of('X-Forwarded-Prefix')).toBe(Field.X_FORWARDED_MORE);
    expect(of('x-forwarded-a_b')).toBe(Field.X_FORWARDED_MORE);
    expect(of('x_forwarded_prefix')).toBe(Field.LOOKALIKE);
  });

  it('numbers the kinds without a gap, from 0, within what the tables hold', () => {
    expect(Object.values(Field)).toEqual(Object.values(Field).map((_, i) => i));
    expect(Object.values(Field).length).toBeLessThanOrEqual(64);
  });
});
