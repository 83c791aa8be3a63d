import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { portOf, readAuthority, sameAuthority } from '../../../../src/wire/http1/authority.ts';

const nameOf = (text: string) => {
  const end = readAuthority(Buffer.from(`${text}\r\n`), 0, text.length);
  return end < 0 ? null : text.slice(0, end);
};
const same = (a: string, b: string, port = 80) =>
  sameAuthority(Buffer.from(`${a} ${b}\r\n`), 0, a.length, a.length + 1, a.length + 1 + b.length, port);

describe('readAuthority', () => {
  it('parts the name from the port', () => {
    expect(nameOf('shop.example.com:8080')).toBe('shop.example.com');
    expect(nameOf('shop.example.com')).toBe('shop.example.com');
    expect(nameOf('[::1]:8080')).toBe('[::1]');
    expect(nameOf('a:')).toBe('a');
  });

  it('takes for an IPv6 address what node:net takes for one', () => {
    const group = fc.constantFrom(
      '0',
      '1',
      'ff',
      'abcd',
      'ABCD',
      '12345',
      'g',
      '',
      '1.2.3.4',
      '1.2.3.256',
      '01.2.3.4',
      '1.2.3',
    );
    const address = fc.array(group, { minLength: 1, maxLength: 9 }).map((groups) => groups.join(':'));
    fc.assert(
      fc.property(address, (text) => {
        expect(nameOf(`[${text}]`) !== null, text).toBe(isIPv6(text));
      }),
      { numRuns: 5000 },
    );
  });

  it('looks at nothing behind the end', () => {
    const bytes = Buffer.from('[::1]:80');
    expect(readAuthority(bytes, 0, 4)).toBe(-1);
    expect(readAuthority(bytes, 0, 5)).toBe(5);
    expect(readAuthority(bytes, 0, 0)).toBe(-1);
  });
});

describe('portOf', () => {
  it('is a number from 1 to 65535, or 0 for none', () => {
    const port = (text: string) => portOf(Buffer.from(text), 0, text.length);
    expect([':1', ':080', ':65535', ':', ''].map(port)).toEqual([1, 80, 65_535, 0, 0]);
    expect([':0', ':65536', ':99999999999999999999', ':-1', ':8a', ': 8'].map(port)).toEqual([-1, -1, -1, -1, -1, -1]);
  });
});

describe('sameAuthority', () => {
  it('has no regard to case and to the default port', () => {
    expect(same('A.example', 'a.EXAMPLE')).toBe(true);
    expect(same('a:80', 'a')).toBe(true);
    expect(same('a:', 'a:80')).toBe(true);
    expect(same('[::AB]', '[::ab]:80')).toBe(true);
    expect(same('a', 'a:443', 443)).toBe(true);
  });

  it('tells names and ports apart', () => {
    expect(same('a', 'b')).toBe(false);
    expect(same('a', 'ab')).toBe(false);
    expect(same('a:81', 'a')).toBe(false);
    expect(same('a:80', 'a', 443)).toBe(false);
    expect(same('[::1]', '[::2]')).toBe(false);
    expect(same('[1::]', '[:1:]')).toBe(false);
  });
});
