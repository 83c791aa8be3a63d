import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Judgement } from '../admin/config-acts.ts';
import { systemClock } from '../base/clock.ts';
import { ConfigError, formatProblem, OperationError } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import { diffLines } from '../config/diff-text.ts';
import type { PoolOptions } from '../pool/options.ts';
import type { DocumentOptions, LoadedDocument } from './document.ts';
import { type ReloadParts, tryToPrepare, within } from './reload.ts';
import { replay } from './replay.ts';
import type { RequestWindow } from './request-window.ts';
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

export interface JudgeParts extends ReloadParts {
  /** Throws a ConfigError. */
  readonly read: (text: string) => Promise<LoadedDocument>;
  /** The last requests, as they were sampled. */
  readonly samples: () => RequestWindow['samples'];
}

/** Judges a document as a reload would, and tells what it would change against another or what runs. Opens what it can and takes it back; nothing takes effect. */
export async function judgeLive(
  text: string,
  against: string | null,
  running: DocumentOptions,
  parts: JudgeParts,
): Promise<Judgement> {
  const id = createHash('sha256').update(text).digest('hex').slice(0, 12);
  let before = running;
  let next: LoadedDocument;
  try {
    next = await parts.read(text);
    if (against !== null) before = (await parts.read(against)).document;
    await tryToPrepare(parts, next);
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof OperationError)) throw error;
    const problems = error instanceof ConfigError ? error.problems.map(formatProblem) : [error.message];
    return { id, problems, changes: [], replay: null };
  }
  const pools = await judgePools(next.document, running, (pool) => parts.pools.sizeOf(pool));
  return {
    id,
    problems: pools.problems,
    changes: diffLines(before, next.document),
    replay: replay(parts.samples(), next.document, (pool) => pools.empty.has(pool)),
  };
}
