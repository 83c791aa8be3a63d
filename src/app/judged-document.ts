import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import { type Environment, type Reference, referencesIn } from '../config/environment.ts';
import { parseSource, plainData } from '../config/load.ts';
import { dottedPath } from '../config/path.ts';
import { secretFile } from '../config/secret-text.ts';
import { catalogs } from './catalogs.ts';
import { type LoadedDocument, readDocument } from './document.ts';

/** A document that is only judged. Nobody is to learn from an answer about it what a variable or a file of this process holds. */
export interface JudgedDocument {
  /** Without what the files it names hold. Null when it is wrong, or when what was not read would have to be known. */
  readonly loaded: LoadedDocument | null;
  readonly problems: readonly ConfigProblem[];
  /** Places whose values are not known here. */
  readonly unjudged: readonly ConfigProblem[];
}

/** What stands for a value that is not read: fit for most places of text, and as long as a secret has to be. */
const standInFor = (name: string) => `${STAND_IN}${name})`;
const STAND_IN = 'value-not-read(';

/**
 * Reads a text to judge it. It gets the values of variables that the admin API shows of the document in force (`variables`) anyway; any other reference
 * stands for itself, and no file is opened. Never throws: what is wrong is in the answer.
 */
export function readToJudge(
  text: string,
  file: string,
  environment: Environment,
  variables: LoadedDocument['variables'],
): JudgedDocument {
  let unread: ReadonlySet<string> = new Set();
  try {
    const references = referencesIn(plainData(parseSource(text, file)));
    unread = new Set(references.filter(({ name }) => variables.get(name) !== true).map(({ path }) => dottedPath(path)));
    const loaded = readDocument(text, file, standIns(references, environment, variables), catalogs);
    return { loaded, problems: [], unjudged: [] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const unjudged = error.problems
      .filter(({ path }) => unread.has(path))
      .map((problem) => ({ ...problem, message: 'its value is not read to judge a document' }));
    return { loaded: null, problems: error.problems.filter(({ path }) => !unread.has(path)), unjudged };
  }
}

/** Whether something in it stands for what was not read. */
export function holdsReference(value: unknown): boolean {
  if (typeof value === 'string') return value.includes(STAND_IN) || secretFile(value) !== null;
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsReference);
}

function standIns(
  references: readonly Reference[],
  environment: Environment,
  variables: LoadedDocument['variables'],
): Environment {
  const values: Record<string, string | undefined> = {};
  for (const { name, fallback } of references) {
    const isShown = variables.get(name);
    // That the document in force has it set or not is no secret; of another variable its default is taken, if it has one.
    const isThere = isShown === false ? (environment[name] ?? '') !== '' : (fallback ?? '') === '';
    values[name] ??= isShown === true ? environment[name] : isThere ? standInFor(name) : undefined;
  }
  return values;
}
