import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError, type ConfigProblem } from '../../../src/base/errors.ts';
import { loadSource, MAX_DOCUMENT_BYTES, parseSource, plainData } from '../../../src/config/load.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

async function problemsOf(act: () => unknown): Promise<readonly ConfigProblem[]> {
  try {
    await act();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const syntax = (text: string) => problemsOf(() => plainData(parseSource(text, 'a.yaml')));

describe('a file', () => {
  it('that is missing, a directory, not UTF-8 or too long is named with what is wrong', async () => {
    await using directory = await temporaryDirectory('load');
    await mkdir(join(directory.path, 'folder'));
    const latin = await directory.write('latin.yaml', Uint8Array.of(0x61, 0x3a, 0x20, 0xe4, 0x0a));
    const long = await directory.write('long.yaml', '#'.repeat(MAX_DOCUMENT_BYTES + 1));
    const message = async (file: string) => (await problemsOf(() => loadSource(file)))[0];
    const missing = join(directory.path, 'none.yaml');
    expect(await message(missing)).toMatchObject({
      file: missing,
      line: 0,
      message: expect.stringContaining('no such file'),
    });
    expect(await message(join(directory.path, 'folder'))).toMatchObject({
      message: expect.stringContaining('directory'),
    });
    expect(await message(latin)).toMatchObject({ message: expect.stringContaining('UTF-8') });
    expect(await message(long)).toMatchObject({ message: expect.stringContaining('longer than') });
  });

  it('may be JSON, indented with tabs', async () => {
    await using directory = await temporaryDirectory('load');
    const file = await directory.write('a.json', '{\n\t"a": [1,\n\t\ttrue],\n\t"b": null\n}\n');
    expect(plainData(await loadSource(file))).toEqual({ a: [1, true], b: null });
  });
});

describe('a syntax error', () => {
  it.each([
    ['a tab', 'a:\n\tb: 1\n', 2, 1, 'use spaces'],
    ['a key given twice', 'a: 1\nb: 2\na: 3\n', 3, 1, 'given twice'],
    ['an open bracket', 'a: [1, 2\nb: 3\n', 2, 1, ''],
    ['a second document', 'a: 1\n---\nb: 2\n', 2, 1, 'second document'],
    ['a tag', 'a: 1\nb: !!js/function x\n', 2, 4, 'tags are not used'],
    ['an alias without its anchor', 'a: 1\nb: *c\n', 2, 4, '"&c"'],
    ['an unquoted variable in flow style', `a: { b: \${X} }\n`, 1, 10, 'in quotes'],
  ])('%s is at its line and column', async (_, text, line, column, message) => {
    const problems = await syntax(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ file: 'a.yaml', line, column });
    expect(problems[0].message).toContain(message);
  });

  it('is every key that is given twice', async () => {
    expect(await syntax('a: 1\na: 2\nb: { c: 1, c: 2 }\n')).toHaveLength(2);
  });
});

describe('a document that means harm', () => {
  it('is refused when aliases blow it up', async () => {
    const level = (name: string, inner: string) => `${name}: &${name} [${Array.from({ length: 9 }, () => inner)}]\n`;
    const text = level('a', 'x') + level('b', '*a') + level('c', '*b') + level('d', '*c') + level('e', '*d');
    expect((await syntax(text))[0].message).toContain('aliases');
  });

  it.each([
    ['400 brackets', '['.repeat(400) + ']'.repeat(400), 0],
    ['5 000 brackets', '['.repeat(5000) + ']'.repeat(5000), 1],
    ['a million brackets', '{a: '.repeat(1_000_000), 1],
    ['100 000 lists in lists', '- '.repeat(100_000), 1],
    ['1 500 maps in maps', Array.from({ length: 1500 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), 1],
  ])('is read, or refused at once as nested too deeply: %s', async (_, text, expected) => {
    const started = performance.now();
    const problems = await syntax(`a:\n ${text.replaceAll('\n', '\n ')}`);
    for (const { message } of problems) expect(message).toBe('the document is nested too deeply');
    expect(problems.length).toBe(expected);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
