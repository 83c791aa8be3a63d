import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalPath, type PathRules, pathOptions } from '../../../src/routing/normal-path.ts';

const DEFAULT = pathOptions.parse({});
/** The form of a path, null when it is refused. */
function form(path: string, rules: Partial<PathRules> = {}): string | null {
  const buf = Buffer.from(`xx${path}?%2e`, 'latin1');
  const out = Buffer.alloc(path.length, '/../');
  const length = normalPath(buf, 2, 2 + path.length, { ...DEFAULT, ...rules }, out);
  return length < 0 ? null : out.toString('latin1', 0, length);
}

describe('the form of a path', () => {
  it.each([
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/%61%2D%7e', '/a-~'],
    ['/%c3%a9%3b%25', '/%C3%A9%3B%25'],
    ['/%2541', '/%2541'],
    ['//a///b//', '/a/b/'],
    ['/.well-known/...', '/.well-known/...'],
    ['/a;b=..', '/a;b=..'],
    ['/a%2fb', '/a%2Fb'],
    ['/a%20b+c', '/a%20b+c'],
  ])('of %s is %s', (path, expected) => expect(form(path)).toBe(expected));

  it.each([
    '/..',
    '/.',
    '/a/../b',
    '/a/./b',
    '/a/%2e',
    '/%2E%2e/',
    '/a/..;x/b',
    '/a/..%3bx/b',
    '/a/.;',
    '/%00',
    '/%',
    '/%4',
    '/%zz',
    '/a\\b',
    '/a%5Cb',
  ])('does not exist for %s', (path) => expect(form(path)).toBeNull());

  it.each([
    ['dotSegments', 'resolve', '/a/./b/../c', '/a/c'],
    ['dotSegments', 'resolve', '/a/b/..', '/a/'],
    ['dotSegments', 'resolve', '/a/%2e%2E', '/'],
    ['dotSegments', 'resolve', '/a/.', '/a/'],
    ['dotSegments', 'resolve', '/..', null],
    ['dotSegments', 'resolve', '/a/../../b', null],
    ['dotSegments', 'resolve', '/a/..;b/c', null],
    ['emptySegments', 'keep', '//a//', '//a//'],
    ['emptySegments', 'refuse', '/a//b', null],
    ['emptySegments', 'refuse', '//', null],
    ['encodedSlash', 'refuse', '/a%2fb', null],
    ['encodedSlash', 'decode', '/a%2Fb%2f%2f', '/a/b/'],
    ['encodedSlash', 'decode', '/a%2f..%2fb', null],
    ['encodedSlash', 'keep', '/@a%2fb', '/@a%2Fb'],
    ['encodedSlash', 'keep', '/a/..%2fb', null],
    ['encodedSlash', 'keep', '/a%2f..', null],
    ['encodedSlash', 'keep', '/a%2f.%2Fb', null],
    ['backslash', 'slash', '/a\\b%5cc', '/a/b/c'],
    ['backslash', 'slash', '\\\\a', '/a'],
    ['backslash', 'slash', '/a\\..\\b', null],
  ] as const)('with %s: %s makes of %s %s', (rule, value, path, expected) =>
    expect(form(path, { [rule]: value })).toBe(expected),
  );

  it('is its own form, never longer, and holds nothing that was to be refused', () => {
    const piece = fc.constantFrom(
      '/',
      '//',
      'a',
      '.',
      '..',
      '%2e',
      '%2F',
      '%5c',
      '\\',
      ';',
      '%3B',
      '%25',
      '%',
      '2',
      'f',
      '%C3',
      '%61',
      '~',
    );
    const rules = fc.record({
      dotSegments: fc.constantFrom('refuse', 'resolve'),
      emptySegments: fc.constantFrom('refuse', 'merge', 'keep'),
      encodedSlash: fc.constantFrom('refuse', 'decode', 'keep'),
      backslash: fc.constantFrom('refuse', 'slash'),
    }) as fc.Arbitrary<PathRules>;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), rules, (pieces, rules) => {
        const path = `/${pieces.join('')}`;
        const made = form(path, rules);
        if (made === null) return;
        expect(form(made, rules)).toBe(made);
        expect(made.length).toBeLessThanOrEqual(path.length);
        expect(made).not.toContain('\\');
        // However a server behind decodes and cuts parameters, no segment is a dot segment.
        const decoded = made.replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
          String.fromCharCode(Number.parseInt(hex, 16)),
        );
        expect(decoded.split('/').map((segment) => segment.split(';')[0])).not.toContain('..');
      }),
      { numRuns: 3000 },
    );
  });
});
