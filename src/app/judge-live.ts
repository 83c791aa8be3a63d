import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { systemClock } from '../base/clock.ts';
import { systemRandom } from '../base/random.ts';
import type { PoolOptions } from '../pool/options.ts';
import type { DocumentOptions } from './document.ts';
import { within } from './reload.ts';
import { Sources } from './sources.ts';

/** How long registries that are new to this proxy may take to answer a question about a document that is only judged. */
const ASK_MS = 3000;

export interface LivePools {
  readonly problems: readonly string[];
  /** Pools that would have no endpoint. */
  readonly empty: ReadonlySet<string>;
}

/**
 * Which pools of a document would have endpoints now: those this proxy has already are looked at, for the others their registry is asked once, on connections of
 * their own that are closed again. An embedded registry that does not run yet is not asked: it would need its port.
 */
export async function judgePools(
  next: DocumentOptions,
  current: DocumentOptions,
  sizeOf: (pool: string) => number,
): Promise<LivePools> {
  const sizes = new Map<string, number>();
  const asked: Record<string, DocumentOptions['pools'][string]> = {};
  for (const [name, pool] of Object.entries(next.pools)) {
    if (pool.discover === null) sizes.set(name, pool.endpoints?.length ?? 0);
    else if (isSameSource(name, next, current)) sizes.set(name, sizeOf(name));
    else if (registriesOf(pool).every((registry) => next.registries[registry].kind !== 'embedded')) asked[name] = pool;
  }
  const problems = Object.keys(asked).length === 0 ? [] : await ask(next, asked, sizes);
  const empty = new Set([...sizes].flatMap(([name, size]) => (size === 0 ? [name] : [])));
  const used = new Set(next.listeners.flatMap(({ routes }) => routes.map(({ pool }) => pool)));
  const told = [...empty].filter((name) => used.has(name)).map((name) => `pool ${name} would have no endpoints`);
  return { problems: [...problems, ...told], empty };
}

function isSameSource(name: string, next: DocumentOptions, current: DocumentOptions): boolean {
  const [is, was] = [next.pools[name], current.pools[name]];
  if (was === undefined || is.discover === null) return false;
  return (
    isDeepStrictEqual(is.discover, was.discover) &&
    registriesOf(is).every((name) => isDeepStrictEqual(next.registries[name], current.registries[name]))
  );
}

function registriesOf({ discover }: PoolOptions): string[] {
  return discover?.from.map(({ registry }) => registry) ?? [];
}

async function ask(
  { registries }: DocumentOptions,
  pools: DocumentOptions['pools'],
  sizes: Map<string, number>,
): Promise<string[]> {
  const names = new Set(Object.values(pools).flatMap(registriesOf));
  const stateDirectory = await mkdtemp(join(tmpdir(), 'evenkeel-judge-'));
  const sources = new Sources({
    clock: systemClock,
    random: systemRandom,
    log() {},
    stateDirectory,
    onSet: (pool, set) => void sizes.set(pool, set.length),
    publish() {},
    succession: null,
  });
  try {
    const named = Object.fromEntries(Object.entries(registries).filter(([name]) => names.has(name)));
    await sources.configure({ registries: named, pools });
    await within(sources.synced(), ASK_MS);
    return sources.waiting.map((pool) => `no answer for pool ${pool} from ${registriesOf(pools[pool]).join(', ')}`);
  } catch (error) {
    return [`a registry cannot be asked: ${(error as Error).message}`];
  } finally {
    await sources.close();
    await rm(stateDirectory, { recursive: true, force: true });
  }
}
