import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { retyped, substituteEnvironment } from '../../../src/config/environment.ts';
import { parseSource, plainData } from '../../../src/config/load.ts';

const $ = '$';

function substituted(text: string, environment: Record<string, string> = {}) {
  const tree = parseSource(text, 'a.yaml');
  const problems = substituteEnvironment(tree, environment);
  return {
    data: plainData(tree),
    problems: problems.map(({ line, column, path, message }) => `${line}:${column} ${path} ${message}`),
  };
}

describe('variables', () => {
  it('are replaced in values, whole or in part, in every style', () => {
    const text = `a: ${$}{X}\nb: "http://${$}{X}:${$}{Y}/"\nc: ['${$}{X}']\nd: |\n  ${$}{X}\n`;
    expect(substituted(text, { X: 'x', Y: '1' }).data).toEqual({ a: 'x', b: 'http://x:1/', c: ['x'], d: 'x\n' });
  });

  it('take their default when unset or empty, which may be empty itself', () => {
    const text = `a: ${$}{X:-d}\nb: "${$}{Y:-}"\nc: ${$}{Z:-d}\nd: ${$}{U:-http://h:1/?q=:-}\n`;
    const { data, problems } = substituted(text, { Z: '' });
    expect(data).toEqual({ a: 'd', b: '', c: 'd', d: 'http://h:1/?q=:-' });
    expect(problems).toEqual([]);
  });

  it('that are unset and have no default are problems at their place, all of them', () => {
    const { problems } = substituted(`a: ${$}{X}\nb:\n  - "${$}{Y} ${$}{Z}"\n`);
    expect(problems).toEqual([
      expect.stringMatching(/^1:4 a the environment has no X; set it/),
      expect.stringMatching(/^2:5|3:5 b\[0\] the environment has no Y/),
      expect.stringMatching(/^3:5 b\[0\] the environment has no Z/),
    ]);
  });

  it('that are set to nothing and have no default are empty', () => {
    expect(substituted(`a: "${$}{X}"\n`, { X: '' })).toEqual({ data: { a: '' }, problems: [] });
  });

  it.each([`${$}{1A}`, `${$}{A-b}`, `${$}{}`, `${$}{A`])('written as %s are a problem', (text) => {
    expect(substituted(`a: '${text}'\n`, { A: 'x' }).problems).toEqual([expect.stringContaining('is not a variable')]);
  });

  it(`are left alone after a second dollar`, () => {
    expect(substituted(`a: "$${$}{X}"\n`)).toEqual({ data: { a: `${$}{X}` }, problems: [] });
  });

  it('in keys are a problem', () => {
    expect(substituted(`${$}{X}: 1\n`, { X: 'a' }).problems).toEqual([expect.stringContaining('a key cannot hold')]);
  });

  it('are replaced once: what they hold is not looked into', () => {
    expect(substituted(`a: ${$}{X}\n`, { X: `${$}{Y}` })).toEqual({ data: { a: `${$}{Y}` }, problems: [] });
  });

  it('never add or change anything but their own value', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string({ unit: fc.constantFrom('\n', ':', ' ', '-', '}', '"', 'a', '{', '&', '*') }),
        (x, y) => {
          const { data } = substituted(`a: ${$}{X}\nb: { c: "${$}{Y}" }\nd: end\n`, { X: x, Y: y });
          expect(data).toEqual({ a: x, b: { c: y }, d: 'end' });
        },
      ),
    );
  });
});

describe('retyped', () => {
  it.each([
    ['8080', 8080],
    ['-1.5', -1.5],
    ['1e3', 1000],
    ['true', true],
    ['False', false],
    ['', ''],
    ['0x10', '0x10'],
    ['5s', '5s'],
    ['off', 'off'],
    [' 5', ' 5'],
  ])('%j is %j', (text, value) => {
    expect(retyped(text)).toBe(value);
  });
});
