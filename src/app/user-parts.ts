import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Catalog, type Kind, type KindSettings, PART_PATH } from '../base/catalog.ts';
import type { ConfigProblem } from '../base/errors.ts';
import type { DocumentTree } from '../config/document-tree.ts';
import type { Path } from '../config/path.ts';
import { asList, asMap } from '../config/plain.ts';
import { catalogs } from './catalogs.ts';

/** Where parts stand, and what each must be able to do. */
type Sort = 'schedulers' | 'registries' | 'probes' | 'middleware';
const METHODS: Readonly<Record<Sort, readonly string[]>> = {
  schedulers: ['update', 'pick'],
  registries: ['start', 'subscribe', 'close'],
  probes: ['check'],
  middleware: [],
};

type AnyKind = Kind<never, never>;
type AnyCatalog = Pick<Catalog<never, never>, 'noun' | 'adopt' | 'hasPart'>;
// Each sort of part has a context of its own; here nothing is made of them.
const anyCatalogs = catalogs as unknown as Readonly<Record<Sort, AnyCatalog>>;

/** A place in a document where a part is named. */
interface Place {
  readonly sort: Sort;
  readonly path: Path;
  readonly name: string;
  readonly replace: (name: string) => unknown;
}

/**
 * The parts of users that a document names by a path (`kind: ./my-scheduler.ts`). Importing them runs their code: done only for a document that is a
 * local file. A changed file is another part, so that a reload takes it; files that it imports itself are not looked at.
 */
export class UserParts {
  readonly problems: ConfigProblem[] = [];
  readonly #tree: DocumentTree;

  constructor(tree: DocumentTree) {
    this.#tree = tree;
  }

  /** Imports what `data` names, relative to `directory`, and puts the parts' own names in its place. */
  async load(data: unknown, directory: string): Promise<void> {
    for (const place of placesIn(data)) {
      try {
        const name = await nameOf(place.name, directory);
        await importPart(place.sort, name);
        place.replace(name);
      } catch (error) {
        this.#report(place, `cannot be loaded: ${(error as Error).message.split('\n')[0]}`);
      }
    }
  }

  /** Names every part as a problem. */
  refuse(data: unknown): void {
    for (const place of placesIn(data))
      this.#report(place, `${place.name} names code, which only a document in a local file may do`);
  }

  #report({ path }: Place, message: string): void {
    this.problems.push(this.#tree.problem(path, message));
  }
}

/** Imports a part into its catalog, unless it is there. Rejects with an Error that says in words what is wrong with it. */
async function importPart(sort: Sort, name: string): Promise<void> {
  const catalog = anyCatalogs[sort];
  if (catalog.hasPart(name)) return;
  const module: Readonly<Record<string, unknown>> = await import(name);
  const kinds = [...new Set(Object.values(module).filter(isKind))];
  if (kinds.length !== 1) throw new Error(`${fileURLToPath(name)} exports ${kinds.length} kinds; it must export one`);
  catalog.adopt(name, checked(sort, kinds[0]));
}

/** The name under which a part given as an object stands in a document of a host program. */
export function adoptKind(sort: Sort, kind: unknown): string {
  const catalog = anyCatalogs[sort];
  if (!isKind(kind)) throw new TypeError(`this is no ${catalog.noun}: it needs kind, summary, options and create`);
  let name = names.get(kind);
  if (name === undefined) {
    name = `${kind.kind}#${++lastNumber}`;
    names.set(kind, name);
  }
  if (!catalog.hasPart(name)) catalog.adopt(name, checked(sort, kind));
  return name;
}

const names = new WeakMap<AnyKind, string>();
let lastNumber = 0;

/** Every thread imports for itself what its share of a document names. */
export async function importParts(settings: Readonly<Partial<Record<Sort, readonly KindSettings[]>>>): Promise<void> {
  for (const [sort, list] of Object.entries(settings))
    for (const { kind } of list) if (PART_PATH.test(kind)) await importPart(sort as Sort, kind);
}

/** Whether there is something that this thread has not imported. */
export function hasNewParts(settings: Readonly<Partial<Record<Sort, readonly KindSettings[]>>>): boolean {
  return Object.entries(settings).some(([sort, list]) =>
    list.some(({ kind }) => PART_PATH.test(kind) && !anyCatalogs[sort as Sort].hasPart(kind)),
  );
}

/** The file's URL and, as a query, what it holds: Node imports it anew when it has changed. */
async function nameOf(path: string, directory: string): Promise<string> {
  const file = path.startsWith('file:') ? fileURLToPath(path) : resolve(directory, path);
  const print = createHash('sha256')
    .update(await readFile(file))
    .digest('hex')
    .slice(0, 12);
  return `${pathToFileURL(file).href}?v=${print}`;
}

/** By what it has: classes of a user's copy of evenkeel or zod are others than ours. */
function isKind(value: unknown): value is AnyKind {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, summary, options, create } = value as Record<string, unknown>;
  const canJudge = typeof (options as AnyKind['options'] | undefined)?.strict === 'function';
  return typeof kind === 'string' && typeof summary === 'string' && canJudge && typeof create === 'function';
}

/** A part that cannot do what is asked of it is found when it is built on trial, and not by traffic. */
function checked(sort: Sort, kind: AnyKind): AnyKind {
  return {
    ...kind,
    create(options, context) {
      const part = kind.create(options, context) as Record<string, unknown>;
      const lacking = METHODS[sort].filter((method) => typeof part?.[method] !== 'function');
      if (lacking.length > 0)
        throw new Error(`${kind.kind} is no ${anyCatalogs[sort].noun}: it has no ${lacking.join(', ')}`);
      return part as never;
    },
  };
}

function placesIn(data: unknown): Place[] {
  const root = asMap(data);
  const places: Place[] = [];
  const look = (sort: Sort, parent: unknown, key: string | number, path: Path): void => {
    const settings = (parent as Record<string | number, unknown> | undefined)?.[key];
    const at = [...path, key];
    if (typeof settings === 'string' && PART_PATH.test(settings)) {
      const replace = (name: string) => Object.assign(parent as object, { [key]: name });
      places.push({ sort, path: at, name: settings, replace });
    }
    const { kind } = asMap(settings);
    if (typeof kind !== 'string' || !PART_PATH.test(kind)) return;
    const replace = (name: string) => Object.assign(settings as object, { kind: name });
    places.push({ sort, path: [...at, 'kind'], name: kind, replace });
  };
  for (const name of Object.keys(asMap(root.registries))) look('registries', root.registries, name, ['registries']);
  for (const [name, pool] of Object.entries(asMap(root.pools))) {
    look('schedulers', pool, 'scheduler', ['pools', name]);
    look('probes', pool, 'probe', ['pools', name]);
  }
  for (const [i, listener] of asList(root.listeners).entries())
    for (const [j, route] of asList(asMap(listener).routes).entries())
      for (const k of asList(asMap(route).middleware).keys())
        look('middleware', asMap(route).middleware, k, ['listeners', i, 'routes', j, 'middleware']);
  return places;
}
