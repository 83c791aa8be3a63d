import { createHash } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { type AdminOptions, adminOptions } from '../admin/options.ts';
import type { Catalog, KindSettings } from '../base/catalog.ts';
import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import { isName, shown } from '../base/literals.ts';
import type { DocumentTree } from '../config/document-tree.ts';
import { type Environment, type Reference, referencesIn, substituteEnvironment } from '../config/environment.ts';
import { loadSource, parseSource, plainData } from '../config/load.ts';
import { masked } from '../config/mask.ts';
import { type Path, valueAt } from '../config/path.ts';
import { type JsonSchema, jsonSchemaOf } from '../config/schema-json.ts';
import { inFileOrder, validate } from '../config/validate.ts';
import type { EjectionOptions } from '../health/ejection-options.ts';
import { type ListenerOptions, listenerOptions } from '../listener/options.ts';
import { type PoolOptions, poolOptions } from '../pool/options.ts';
import { type LogOptions, logOptions } from '../telemetry/options.ts';
import { crossCheck } from './cross-check.ts';
import { type RuntimeOptions, runtimeOptions } from './runtime-options.ts';
import { withSecretFiles } from './secret-files.ts';
import { withTlsFiles } from './tls-files.ts';
import { UserParts } from './user-parts.ts';

type KindSchemas = Pick<Catalog<never, never>, 'schema'> & Partial<Pick<Catalog<never, never>, 'openSchema'>>;

/** The kinds a document may name. `app/catalogs.ts` holds evenkeel's own; a host program may add to them. */
export interface Catalogs {
  readonly schedulers: KindSchemas;
  readonly registries: KindSchemas;
  readonly probes: KindSchemas;
  readonly middleware: KindSchemas;
  readonly ejection: z.ZodType<EjectionOptions>;
}

/** The whole configuration, resolved: nothing is left to default. Times in ms, sizes in bytes, shares 0…1, null for `off`. */
export interface DocumentOptions {
  readonly runtime: RuntimeOptions;
  readonly admin: AdminOptions;
  readonly log: LogOptions;
  readonly registries: Readonly<Record<string, KindSettings>>;
  /** At least one. */
  readonly listeners: readonly ListenerOptions[];
  readonly pools: Readonly<Record<string, PoolOptions>>;
  /** Only while a version of a config centre is on trial; no document says it. */
  readonly rehearsal?: Rehearsal;
}

/** HTTP listeners as another document has them, for some of the connections of those in force by the same name. */
export interface Rehearsal {
  /** Of the connections, 0…1. */
  readonly share: number;
  readonly listeners: readonly ListenerOptions[];
}

/** A document that passed every check. */
export interface LoadedDocument {
  readonly document: DocumentOptions;
  /** Absolute path, or what a pushed document was called. */
  readonly file: string;
  /** The configuration's version: the first 12 hex digits of the SHA-256 of its text, as `sha256sum FILE` begins. */
  readonly version: string;
  readonly text: string;
  /** The variables it names, and whether `masked` shows their values wherever they stand. */
  readonly variables: ReadonlyMap<string, boolean>;
  /** As written, variables replaced, secrets `***`: what the admin API shows. */
  readonly masked: unknown;
  /** Gives a problem that is found later (a part that cannot be built) its place in the file. */
  readonly problemAt: (path: Path, message: string) => ConfigProblem;
}

const name = z.string().refine(isName, {
  error: (issue) => `${shown(issue.input)} cannot be a name; use letters, digits, _ . - (at most 63)`,
});

/** The schema of a whole document, made from the catalogs: what `check` judges by and `schema` prints. */
export function documentSchema(catalogs: Catalogs, leastListeners = 1): z.ZodType<DocumentOptions> {
  const pool = poolOptions({
    scheduler: catalogs.schedulers.schema(),
    probe: catalogs.probes.schema(),
    ejection: catalogs.ejection,
  });
  const listeners = z.array(listenerOptions(catalogs.middleware.schema())).describe('where clients arrive');
  return z.strictObject({
    runtime: runtimeOptions.describe('the process').prefault({}),
    admin: adminOptions.describe('admin API and dashboard').prefault({}),
    log: logOptions.describe('event log and access log').prefault({}),
    registries: z
      .record(name, catalogs.registries.schema())
      .describe('where endpoints come from, by name')
      .prefault({}),
    listeners: leastListeners === 0 ? listeners.prefault([]) : listeners.min(leastListeners),
    pools: z.record(name, pool).describe('groups of endpoints that serve the same traffic, by name').prefault({}),
  }) as unknown as z.ZodType<DocumentOptions>;
}

/** The schema of a document as JSON Schema, for editors. */
export function documentJsonSchema(catalogs: Catalogs): JsonSchema {
  const { schedulers, registries, probes, middleware, ejection } = catalogs;
  const open = (catalog: Catalogs['probes']) => ({ schema: () => catalog.openSchema?.() ?? catalog.schema() });
  const opened = { schedulers: open(schedulers), registries: open(registries), probes: open(probes) };
  const schema = jsonSchemaOf(documentSchema({ ...opened, middleware: open(middleware), ejection }));
  return { ...schema, title: 'evenkeel document', patternProperties: { '^x-': {} } };
}

/** Reads and judges a file and the files it names. Starts nothing. Throws a ConfigError with every problem found. */
export async function loadDocument(
  file: string,
  environment: Environment,
  catalogs: Catalogs,
  leastListeners = 1,
): Promise<LoadedDocument> {
  return loadTree(await loadSource(file), environment, catalogs, leastListeners);
}

/** What a host program configures: a document without listeners, as plain data. Paths in it count from `directory`. */
export async function loadEmbedded(options: object, directory: string, catalogs: Catalogs): Promise<LoadedDocument> {
  const tree = parseSource(JSON.stringify(options, null, 1), resolve(directory, 'createBalancer'));
  return loadTree(tree, {}, catalogs, 0);
}

async function loadTree(
  tree: DocumentTree,
  environment: Environment,
  catalogs: Catalogs,
  leastListeners: number,
): Promise<LoadedDocument> {
  const read = readTree(tree, environment);
  const parts = new UserParts(tree);
  const asWritten = structuredClone(read.data);
  await parts.load(read.data, dirname(tree.file));
  const loaded = judge(tree, read, parts.problems, catalogs, leastListeners);
  return withFiles({ ...loaded, masked: masked(asWritten, tree) });
}

/**
 * The same for text that is already here: a pushed document. `file` names it in messages. Opens no file: `withFiles` does, before it is put in
 * force. It names no code: a part's file is imported only where the document is a file itself.
 */
export function readDocument(text: string, file: string, environment: Environment, catalogs: Catalogs): LoadedDocument {
  const tree = parseSource(text, file);
  const read = readTree(tree, environment);
  const parts = new UserParts(tree);
  parts.refuse(read.data);
  return judge(tree, read, parts.problems, catalogs, 1);
}

/** With what the files it names hold. Throws a ConfigError. */
export async function withFiles(loaded: LoadedDocument): Promise<LoadedDocument> {
  return withTlsFiles(await withSecretFiles(loaded));
}

/** Whether the same is in force, the contents of PEM files included. */
export function isSameDocument(one: LoadedDocument, other: LoadedDocument): boolean {
  return one.version === other.version && isDeepStrictEqual(one.document, other.document);
}

interface ReadTree {
  readonly data: unknown;
  readonly references: readonly Reference[];
  readonly variables: readonly ConfigProblem[];
}

function readTree(tree: DocumentTree, environment: Environment): ReadTree {
  const references = tree.text.includes('${') ? referencesIn(plainData(tree)) : [];
  const variables = substituteEnvironment(tree, environment);
  return { variables, references, data: sectionsOf(plainData(tree)) };
}

function judge(
  tree: DocumentTree,
  { data, variables, references }: ReadTree,
  partProblems: readonly ConfigProblem[],
  catalogs: Catalogs,
  leastListeners: number,
): LoadedDocument {
  const { value, problems } = validate(documentSchema(catalogs, leastListeners), data, tree);
  // What an unset variable leaves behind is no second problem.
  const unset = new Set(variables.map(({ path }) => path));
  const isBadPart = new Set(partProblems.map(({ path }) => path));
  const judged = problems.filter(({ path }) => !isBadPart.has(path));
  const found = [...partProblems, ...judged, ...crossCheck(data, tree)].filter(({ path }) => !unset.has(path));
  const all = [...variables, ...found];
  if (value === null || all.length > 0) throw new ConfigError(inFileOrder(all));
  const version = createHash('sha256').update(tree.text).digest('hex').slice(0, 12);
  const problemAt = (path: Path, message: string) => tree.problem(path, message);
  return {
    document: value,
    file: tree.file,
    version,
    text: tree.text,
    variables: shownVariables(references, data, tree),
    masked: masked(data, tree),
    problemAt,
  };
}

function shownVariables(references: readonly Reference[], data: unknown, tree: DocumentTree): Map<string, boolean> {
  const variables = new Map<string, boolean>();
  for (const { path, name } of references) {
    const value = valueAt(data, path);
    const isShown = value !== undefined && masked(value, tree, path) === value;
    variables.set(name, isShown && variables.get(name) !== false);
  }
  return variables;
}

// `x-…` at the top is a place for anchors that are merged elsewhere; a section whose entries are all commented out is none.
function sectionsOf(data: unknown): unknown {
  if (data === null) return {};
  if (typeof data !== 'object' || Array.isArray(data)) return data;
  return Object.fromEntries(Object.entries(data).filter(([key, value]) => !key.startsWith('x-') && value !== null));
}
