import { resolve } from 'node:path';
import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import type { Path } from '../config/path.ts';
import { readSecret, secretFile } from '../config/secret-text.ts';
import { isSecretKey } from '../config/secrets.ts';
import type { LoadedDocument } from './document.ts';
import { whyNot } from './tls-files.ts';

/**
 * Puts the contents of files in place of `file:` references, in values whose keys say that they are secrets. A newline at the end is no part of a secret.
 * Read anew for every reload. Relative names count from the working directory. Throws a ConfigError with every problem.
 */
export async function withSecretFiles(loaded: LoadedDocument): Promise<LoadedDocument> {
  const problems: ConfigProblem[] = [];
  const read = async (value: unknown, path: Path): Promise<unknown> => {
    if (Array.isArray(value)) return Promise.all(value.map((item, i) => read(item, [...path, i])));
    if (isPlain(value)) {
      const entries = Object.entries(value).map(async ([key, item]) => [key, await read(item, [...path, key])]);
      return Object.fromEntries(await Promise.all(entries));
    }
    const file = typeof value === 'string' && isSecretPlace(path) ? secretFile(value) : null;
    if (file === null) return value;
    try {
      return await readSecret(file);
    } catch (error) {
      const message = `cannot read ${resolve(file)}: ${whyNot(error as NodeJS.ErrnoException)}`;
      problems.push(loaded.problemAt(path, message));
      return value;
    }
  };
  const document = (await read(loaded.document, [])) as LoadedDocument['document'];
  if (problems.length > 0) throw new ConfigError(problems);
  return { ...loaded, document };
}

/** The last key that is a name, not a place in a list. */
function isSecretPlace(path: Path): boolean {
  return isSecretKey(String(path.findLast((step) => typeof step === 'string') ?? ''));
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
