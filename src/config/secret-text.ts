import { readCapped } from '../base/read-capped.ts';
import type { DocumentTree } from './document-tree.ts';
import type { Path } from './path.ts';
import { isSecret } from './secrets.ts';

/** How a value says that it stands in a file: `file:/run/secrets/token`. */
const FILE = 'file:';
/** A token or a password; a key of 16 KiB fits. */
const MAX_BYTES = 64 * 1024;
/** What follows `:-` in a reference is text of the document. */
const DEFAULT = /\$\{[A-Za-z_]\w*:-[^{}]+\}/;
const PASSWORD_IN_ADDRESS = /\w:\/\/[^\s/:@]*:(?!\$\{)[^\s/@]+@/;

/** The file a secret is to be read from; null when the text is the secret itself. */
export function secretFile(text: string): string | null {
  return text.startsWith(FILE) ? text.slice(FILE.length) : null;
}

/** What a `file:` reference stands for. Rejects with Node's error, or one that says why it is no secret. */
export async function readSecret(file: string): Promise<string> {
  const text = (await readCapped(file, MAX_BYTES)).toString('utf8').replace(/\r?\n$/, '');
  if (text === '') throw new Error('it is empty');
  return text;
}

/** Paths of everything in plain data as written, variables not replaced, that is a secret and not a reference to one. */
export function literalSecrets(tree: DocumentTree, data: unknown, path: Path = []): Path[] {
  if (typeof data === 'object' && data !== null)
    return Object.entries(data).flatMap(([key, value]) =>
      literalSecrets(tree, value, [...path, Array.isArray(data) ? Number(key) : key]),
    );
  if (typeof data !== 'string' || data === '') return [];
  if (PASSWORD_IN_ADDRESS.test(data)) return [path];
  const isReference = secretFile(data) !== null || (data.includes('${') && !DEFAULT.test(data));
  return !isReference && isSecret(tree, path, data) ? [path] : [];
}
