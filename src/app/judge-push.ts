import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import type { DocumentTree } from '../config/document-tree.ts';
import type { Environment } from '../config/environment.ts';
import { parseSource, plainData } from '../config/load.ts';
import type { Path } from '../config/path.ts';
import { isSecret } from '../config/secrets.ts';
import { catalogs } from './catalogs.ts';
import { type LoadedDocument, readDocument } from './document.ts';
import { tryBuild } from './try-build.ts';

/**
 * Judges a document that is to go into a config centre: everything `check` judges but the PEM files, which are the proxies'; and it must not hold secrets,
 * because its versions are kept for good. `file` names it in messages. Throws a ConfigError with every problem.
 */
export function judgePush(text: string, file: string, environment: Environment): LoadedDocument {
  const tree = parseSource(text, file);
  const secrets = literalSecrets(tree, plainData(tree), []);
  if (secrets.length > 0) throw new ConfigError(secrets);
  const loaded = readDocument(text, file, environment, catalogs);
  tryBuild(loaded);
  return loaded;
}

function literalSecrets(tree: DocumentTree, data: unknown, path: Path): ConfigProblem[] {
  if (typeof data === 'object' && data !== null)
    return Object.entries(data).flatMap(([key, value]) =>
      literalSecrets(tree, value, [...path, Array.isArray(data) ? Number(key) : key]),
    );
  if (typeof data !== 'string' || data === '' || data.includes('${') || !isSecret(tree, path, data)) return [];
  const message = 'a secret stands here as text, and versions are kept for good; write a reference to a variable';
  return [tree.problem(path, message)];
}
