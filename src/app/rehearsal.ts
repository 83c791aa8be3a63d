import { isDeepStrictEqual } from 'node:util';
import type { Discovery, PoolOptions } from '../pool/options.ts';
import type { DocumentOptions, LoadedDocument } from './document.ts';

/**
 * The document in force, with another one beside it for a share of the connections: its HTTP routes, and the pools and registries behind them that are other
 * than those in force, under names with the version's number (`web@7`). Null where the two cannot run side by side: no HTTP listener of both, or a registry
 * that this process would have to serve itself. Changes of anything else show only when it is in force wholly.
 */
export function rehearsalOf(
  base: LoadedDocument,
  staged: LoadedDocument,
  number: number,
  share: number,
): LoadedDocument | null {
  const [was, is] = [base.document, staged.document];
  const names = new Names(was, is, number);
  const listeners = is.listeners.filter(
    ({ name, protocol }) =>
      protocol === 'http' && was.listeners.some((one) => one.name === name && one.protocol === 'http'),
  );
  if (listeners.length === 0) return null;
  const used = new Set(listeners.flatMap(({ routes }) => routes.map(({ pool }) => pool)));
  const pools = [...used].filter((pool) => names.pool(pool) !== pool);
  const registries = [...new Set(pools.flatMap((pool) => registriesOf(is.pools[pool])))].filter(
    (registry) => names.registry(registry) !== registry,
  );
  if (registries.some((registry) => is.registries[registry].kind === 'embedded')) return null;
  const document: DocumentOptions = {
    ...was,
    registries: { ...was.registries, ...renamed(is.registries, registries, (name) => names.registry(name)) },
    pools: { ...was.pools, ...renamed(names.pools, pools, (name) => names.pool(name)) },
    rehearsal: {
      share,
      listeners: listeners.map((listener) => ({
        ...listener,
        routes: listener.routes.map((route) => ({
          ...route,
          name: names.of(route.name),
          pool: names.pool(route.pool),
        })),
      })),
    },
  };
  return { ...base, document };
}

/** What the parts of the document on trial are called beside the one in force: as they are where both mean the same. */
class Names {
  readonly #was: DocumentOptions;
  readonly #is: DocumentOptions;
  readonly #number: number;

  constructor(was: DocumentOptions, is: DocumentOptions, number: number) {
    this.#was = was;
    this.#is = is;
    this.#number = number;
  }

  of(name: string): string {
    return `${name}@${this.#number}`;
  }

  registry(name: string): string {
    return isDeepStrictEqual(this.#was.registries[name], this.#is.registries[name]) ? name : this.of(name);
  }

  pool(name: string): string {
    const pool = this.#is.pools[name];
    const isSame =
      isDeepStrictEqual(this.#was.pools[name], pool) &&
      registriesOf(pool).every((registry) => this.registry(registry) === registry);
    return isSame ? name : this.of(name);
  }

  /** The pools on trial, with their registries as these are called here. */
  get pools(): Readonly<Record<string, PoolOptions>> {
    const from = (one: Discovery) => ({ ...one, registry: this.registry(one.registry) });
    return Object.fromEntries(
      Object.entries(this.#is.pools).map(([name, pool]) => {
        const { discover } = pool;
        return [name, discover === null ? pool : { ...pool, discover: { ...discover, from: discover.from.map(from) } }];
      }),
    );
  }
}

function registriesOf({ discover }: PoolOptions): string[] {
  return discover?.from.map(({ registry }) => registry) ?? [];
}

function renamed<T>(
  all: Readonly<Record<string, T>>,
  names: readonly string[],
  rename: (name: string) => string,
): Record<string, T> {
  return Object.fromEntries(names.map((name) => [rename(name), all[name]]));
}
