import { describe, expect, it } from 'vitest';
import { METHOD_LABELS } from '../../../../src/routing/route-cells.ts';
import { isIdempotent, isSafe, Method, methodOf } from '../../../../src/wire/http1/method.ts';

const of = (text: string) => methodOf(Buffer.from(`${text} /xxxxxxx`), 0, text.length);
const NAMES = Object.keys(Method);

describe('methodOf', () => {
  it('numbers the methods as the labels of the metrics do', () => {
    expect(METHOD_LABELS.map((label) => (label === 'other' ? 'OTHER' : label))).toEqual(NAMES);
    for (const [i, label] of METHOD_LABELS.slice(0, -1).entries()) expect(of(label), label).toBe(i);
  });

  it('takes every other token for OTHER', () => {
    for (const label of METHOD_LABELS.slice(0, -1)) {
      expect(of(label.toLowerCase())).toBe(Method.OTHER);
      expect(of(`${label}X`)).toBe(Method.OTHER);
      expect(of(`${label.slice(0, -1)}_`)).toBe(Method.OTHER);
      expect(of(label.slice(0, -1))).toBe(Method.OTHER);
    }
    for (const word of ['', 'G', 'GE', 'PURGE', 'PROPFIND', 'OPTIONZ', 'CONNECS', 'TRACK', 'PATCX', 'QUERY'])
      expect(of(word)).toBe(Method.OTHER);
  });
});

describe('the properties of methods', () => {
  it('are those of RFC 9110 §9.2', () => {
    const having = (has: (method: number) => boolean) =>
      NAMES.filter((name) => has(Method[name as keyof typeof Method]));
    expect(having(isSafe)).toEqual(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
    expect(having(isIdempotent)).toEqual(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']);
  });
});
