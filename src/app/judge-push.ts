import { ConfigError } from '../base/errors.ts';
import type { Environment } from '../config/environment.ts';
import { parseSource, plainData } from '../config/load.ts';
import { literalSecrets } from '../config/secret-text.ts';
import { catalogs } from './catalogs.ts';
import { type LoadedDocument, readDocument } from './document.ts';
import { tryBuild } from './try-build.ts';

const SECRET = `a secret stands here as text, and versions are kept for good; write a reference: \${NAME} or "file:/run/secrets/NAME"`;

/**
 * Judges a document that is to go into a config centre: everything `check` judges but the files it names, which are the proxies'; and it must not hold secrets,
 * because its versions are kept for good. `file` names it in messages. Throws a ConfigError with every problem.
 */
export function judgePush(text: string, file: string, environment: Environment): LoadedDocument {
  refuseSecrets(text, file);
  const loaded = readDocument(text, file, environment, catalogs);
  tryBuild(loaded);
  return loaded;
}

/** Throws a ConfigError with every secret that stands in a text as text. */
export function refuseSecrets(text: string, file: string): void {
  const tree = parseSource(text, file);
  const secrets = literalSecrets(tree, plainData(tree)).map((path) => tree.problem(path, SECRET));
  if (secrets.length > 0) throw new ConfigError(secrets);
}
