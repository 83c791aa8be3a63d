import { readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FLOORS, faultsIn, oversizedIn } from './house/rules.ts';
import { readSource, type SourceFile } from './house/source-file.ts';

const checkout = join(import.meta.dirname, '..');

async function readTree(): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for await (const path of glob(['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'tools/**/*.ts'], { cwd: checkout })) {
    files.push(readSource(path.replaceAll('\\', '/'), readFileSync(join(checkout, path), 'utf8')));
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function faultsOf(path: string, text: string): string[] {
  return faultsIn([readSource(path, text)]);
}

describe('the house', () => {
  it('is in order', async () => {
    const files = await readTree();
    const oversized = oversizedIn(files);
    if (oversized.length > 0) console.warn(`think again about:\n  ${oversized.join('\n  ')}`);
    expect(files.length).toBeGreaterThan(20);
    expect(faultsIn(files)).toEqual([]);
  });

  it('has no folder in src that is not a floor', async () => {
    const known = new Set(FLOORS.flat());
    for await (const entry of glob('src/*', { cwd: checkout, withFileTypes: true })) {
      expect(known, `src/${entry.name}`).toContain(entry.name);
    }
  });
});

describe('the house rules find', () => {
  it.each([
    ['an import from above', `import { a } from '../pool/a.ts';`],
    ['a type import from above', `import type { A } from '../pool/a.ts';`],
    ['an inline type from above', `export type A = import('../pool/a.ts').A;`],
    ['an import for its effect from above', `import '../pool/a.ts';`],
    ['a dynamic import from above', `export const a = () => import('../pool/a.ts');`],
    [
      'a thread started above',
      `export const a = () => new URL('../pool/a' + import.meta.url.slice(-3), import.meta.url);`,
    ],
    ['an import from above through a detour', `import { a } from '.././../src/pool/a.ts';`],
    ['an import over several lines, with a comment', `import {\n  a, // from '../base/a.ts'\n} from '../pool/a.ts';`],
    ['an import from beside', `import { a } from '../health/a.ts';`],
    ['an import of a test', `import { a } from '../../test/helpers/a.ts';`],
    ['an import of no floor', `import { a } from '../extra/a.ts';`],
  ])('%s', (_, text) => {
    expect(faultsOf('src/scheduling/some.ts', text)).toHaveLength(1);
  });

  it.each([
    ['an import without its ending', `import { a } from '../base/a';`],
    ['an import of a .js', `import { a } from '../base/a.js';`],
    ['a re-export', `export { a } from './a.ts';`],
    ['a re-export of all', `export * from './a.ts';`],
    ['a default export', `export default class Some {}`],
    ['a default export by name', `const a = 1;\nexport { a as default };`],
    ['unfinished work', `// ${'TO'}DO: later`],
    ['a call of the console', `export function a(): void {\n  console.log('a');\n}`],
    ['an effect on import', `start();`],
    ['an effect on import through an object of its own', `const server = createServer();\nserver.listen(80);`],
    ['an awaited effect on import', `await start();`],
    ['an async function on the hot path', `export const a = async (): Promise<void> => {};`],
    ['a word of others in a class', `export class BackendPool {}`],
    ['a word of others in a constant', `export const maxClusters = 1;`],
    ['a word of others in a function', `export function providerOf(): void {}`],
    ['a function too long', `export function a(): void {\n${'  f();\n'.repeat(130)}}`],
    ['a method too long', `export class A {\n  a(): { b: number } {\n${'    f();\n'.repeat(130)}  }\n}`],
    ['a file too long', 'export const a = 1;\n'.repeat(601)],
  ])('%s', (_, text) => {
    expect(faultsOf('src/scheduling/some.ts', text).length).toBeGreaterThan(0);
  });

  it.each([
    'src/scheduling/utils.ts',
    'src/scheduling/index.ts',
    'src/scheduling/SomeThing.ts',
    'src/some.ts',
    'src/extra/some.ts',
  ])('the misplaced or misnamed file %s', (path) => {
    expect(faultsOf(path, 'export const a = 1;\n')).toHaveLength(1);
  });

  it('nothing in good code', () => {
    const text = `
      import { readFile } from 'node:fs/promises';
      import type { Clock } from '../base/clock.ts';
      import { Endpoint } from '../endpoint/endpoint.ts';
      import { other } from './other.ts';
      /** See '../pool/pool.ts'; from "../cli/main.ts" comes the text. */
      export const text = "import x from '../cli/main.ts'";
      export const template = \`\${other} import '../pool/a.ts'\`;
      export const pattern = /['"]import '..\\/pool\\/a.ts'/;
      export class Clustering { providing = 1 }
      export const packageJson = new URL('../../package.json', import.meta.url);
      export const again = { Endpoint, readFile } satisfies object;
      const table = new Uint8Array(4);
      for (let at = 0; at < 4; at++) table[at] = at;
      const listed = new Set<string>();
      listed.add('a');
      export type Time = Clock;`;
    expect(faultsOf('src/scheduling/some.ts', text)).toEqual([]);
    expect(faultsOf('src/app/some.ts', `import '../admin/a.ts';\nexport async function a(): Promise<void> {}`)).toEqual(
      [],
    );
    expect(faultsOf('src/cli/main.ts', `import { a } from '../app/a.ts';\nawait a();\nconsole.log(1);`)).toEqual([]);
  });

  it('effects in a file that others import, not in one that is started as a thread or process', () => {
    const entry = readSource('src/app/worker.ts', `serve();`);
    const starter = readSource(
      'src/app/workers.ts',
      `export const url = new URL('./worker' + import.meta.url.slice(-3), import.meta.url);`,
    );
    const importer = readSource('src/app/run.ts', `import './worker.ts';`);
    expect(faultsIn([entry, starter])).toEqual([]);
    expect(faultsIn([entry])).toHaveLength(1);
    expect(faultsIn([entry, starter, importer])).toHaveLength(1);
  });

  it('a file that is no TypeScript', () => {
    expect(() => readSource('src/base/a.ts', 'let = (')).toThrow();
  });
});
