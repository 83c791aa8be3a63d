import { posix } from 'node:path';
import type { SourceFile } from './source-file.ts';

/** The floors of src, lowest first; folders in one list lie side by side and know nothing of each other. */
export const FLOORS: readonly (readonly string[])[] = [
  ['base'],
  ['config', 'wire', 'endpoint', 'stores'],
  ['discovery', 'scheduling', 'health', 'centre'],
  ['pool'],
  ['middleware'],
  ['routing'],
  ['proxy'],
  ['listener'],
  ['telemetry'],
  ['admin'],
  ['app'],
  ['embed'],
  ['cli'],
];

/** Past the first number a file or function is listed, past the second it is a fault. */
export const FILE_LINES = { listed: 400, fault: 600 };
export const FUNCTION_LINES = { listed: 70, fault: 120 };

/** Other projects' words for a pool, an endpoint and a registry, in an exported name's parts. */
const BANNED_WORDS = /(^|[a-z0-9_])(backends?|clusters?|providers?)(?![a-z])|(Backend|Cluster|Provider)(s?)(?![a-z])/;

/** On these floors the data plane runs: nothing may wait for a promise. */
const NO_ASYNC = ['wire', 'endpoint', 'scheduling', 'routing'];

/** `src/pool/pool.ts:12 what is wrong` */
export type Fault = string;

/** Every fault in the files of src and test; an empty list is a clean house. */
export function faultsIn(files: readonly SourceFile[]): Fault[] {
  const entries = entriesIn(files);
  return files.flatMap((file) => [
    ...referenceFaults(file),
    ...sizeFaults(file),
    ...statementFaults(file),
    ...(isSource(file) ? [...nameFaults(file), ...behaviourFaults(file, entries)] : []),
  ]);
}

/** What is allowed and should be thought about again. */
export function oversizedIn(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => [
    ...(file.lines > FILE_LINES.listed ? [`${file.path} ${file.lines} lines`] : []),
    ...(isSource(file)
      ? file.functions
          .filter(({ lines }) => lines > FUNCTION_LINES.listed)
          .map(({ name, line, lines }) => `${file.path}:${line} ${name} ${lines} lines`)
      : []),
  ]);
}

function referenceFaults(file: SourceFile): Fault[] {
  const faults: Fault[] = [];
  for (const { specifier, line, kind } of file.references) {
    if (!specifier.startsWith('.')) continue;
    const at = `${file.path}:${line}`;
    if (kind !== 'url' && !/\.(ts|json|js|mjs)$/.test(specifier)) {
      faults.push(`${at} imports '${specifier}': relative imports end in .ts`);
    } else if (kind !== 'url' && isSource(file) && /\.m?js$/.test(specifier)) {
      faults.push(`${at} imports '${specifier}': relative imports end in .ts`);
    }
    if (!isSource(file)) continue;
    const fault = floorFault(file.path, posix.join(posix.dirname(file.path), specifier), kind === 'url');
    if (fault !== null) faults.push(`${at} ${fault}`);
  }
  return faults;
}

function floorFault(from: string, to: string, isUrl: boolean): string | null {
  const own = folderOf(from);
  if (own === null || floorOf(own) === -1) return null; // reported once for the file, by nameFaults
  const other = folderOf(to);
  // An address may point out of src (the package's own package.json): there is no code to depend on.
  if (other === null) return isUrl ? null : `imports '${to}', which lies on no floor of src`;
  if (other === own) return null;
  const [ownFloor, otherFloor] = [floorOf(own), floorOf(other)];
  if (otherFloor === -1) return `imports '${to}', which lies on no floor of src`;
  if (otherFloor < ownFloor) return null;
  return `imports '${to}': ${own} may not know ${other}, which lies ${otherFloor > ownFloor ? 'above' : 'beside'} it`;
}

function folderOf(path: string): string | null {
  const [root, folder, ...rest] = path.split('/');
  return root === 'src' && rest.length > 0 ? folder : null;
}

function floorOf(folder: string): number {
  return FLOORS.findIndex((floor) => floor.includes(folder));
}

/** Files of src only: a corpus of requests in test is as long as it is. */
function sizeFaults(file: SourceFile): Fault[] {
  if (!isSource(file)) return [];
  const faults: Fault[] = [];
  if (file.lines > FILE_LINES.fault) faults.push(`${file.path} has ${file.lines} lines, over ${FILE_LINES.fault}`);
  for (const { name, line, lines } of file.functions) {
    if (lines <= FUNCTION_LINES.fault) continue;
    faults.push(`${file.path}:${line} ${name} has ${lines} lines, over ${FUNCTION_LINES.fault}`);
  }
  return faults;
}

function statementFaults(file: SourceFile): Fault[] {
  const faults = file.unfinished.map(({ word, line }) => `${file.path}:${line} ${word}: finish it or drop it`);
  if (/(^|\/)(utils?|helpers?|common|misc)\.ts$/.test(file.path) || /\/(utils?|common|misc)\//.test(file.path)) {
    faults.push(`${file.path} is named after nothing: name it after what it holds`);
  }
  return faults;
}

function nameFaults(file: SourceFile): Fault[] {
  const faults: Fault[] = [];
  const folder = folderOf(file.path);
  if (folder === null || floorOf(folder) === -1) faults.push(`${file.path} lies on no floor of src`);
  if (!/^([a-z0-9]+(-[a-z0-9]+)*)\.ts$/.test(posix.basename(file.path))) {
    faults.push(`${file.path} is not in kebab-case`);
  }
  if (posix.basename(file.path) === 'index.ts') faults.push(`${file.path} is a barrel: import the file itself`);
  for (const line of file.reexports) faults.push(`${file.path}:${line} re-exports: import the file itself`);
  for (const { name, line } of file.exportedNames) {
    if (name === 'default') faults.push(`${file.path}:${line} has a default export`);
    const banned = isRegistryFile(file.path) ? null : BANNED_WORDS.exec(name);
    if (banned !== null)
      faults.push(`${file.path}:${line} exports ${name}: '${banned[2] ?? banned[3]}' is not our word`);
  }
  return faults;
}

/** A registry's own words stay inside that registry's file, and there they are right. */
function isRegistryFile(path: string): boolean {
  return path.startsWith('src/discovery/');
}

function behaviourFaults(file: SourceFile, entries: ReadonlySet<string>): Fault[] {
  const folder = folderOf(file.path) ?? '';
  const faults: Fault[] = [];
  if (folder !== 'cli') {
    for (const line of file.consoleCalls) faults.push(`${file.path}:${line} writes to the console`);
    if (!entries.has(file.path)) {
      for (const line of file.effects) faults.push(`${file.path}:${line} does something when it is imported`);
    }
  }
  if (NO_ASYNC.includes(folder)) {
    for (const { name, line, isAsync } of file.functions) {
      if (isAsync) faults.push(`${file.path}:${line} ${name} is async: ${folder} is on the hot path`);
    }
  }
  return faults;
}

/** Files that are programs of their own, a thread's or a process's: started by address, never imported. */
function entriesIn(files: readonly SourceFile[]): Set<string> {
  const resolve = (file: SourceFile, specifier: string) => posix.join(posix.dirname(file.path), specifier);
  const started = files
    .filter(isSource)
    .flatMap((file) =>
      file.references
        .filter(({ kind }) => kind === 'url')
        .map(({ specifier }) => resolve(file, specifier.replace(/(\.ts)?$/, '.ts'))),
    );
  const imported = files
    .filter(isSource)
    .flatMap((file) =>
      file.references.filter(({ kind }) => kind === 'static').map(({ specifier }) => resolve(file, specifier)),
    );
  return new Set(started).difference(new Set(imported));
}

function isSource(file: SourceFile): boolean {
  return file.path.startsWith('src/');
}
