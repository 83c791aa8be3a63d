import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Judgement } from '../admin/config-acts.ts';
import type { KindSettings } from '../base/catalog.ts';
import { systemClock } from '../base/clock.ts';
import { ConfigError, formatProblem, OperationError } from '../base/errors.ts';
import { systemRandom } from '../base/random.ts';
import { diffLines } from '../config/diff-text.ts';
import type { PoolOptions } from '../pool/options.ts';
import type { ClientTls } from '../stores/client-tls.ts';
import type { DocumentOptions, LoadedDocument } from './document.ts';
import { holdsReference, type JudgedDocument } from './judged-document.ts';
import { type ReloadParts, tryToPrepare, within } from './reload.ts';
import { replay } from './replay.ts';
import type { RequestWindow } from './request-window.ts';
import { Sources } from './sources.ts';

/** How long registries that are new to this proxy may take to answer a question about a document that is only judged. */
const ASK_MS = 3000;
/** Kinds that may be asked where a document that is only judged wants it: but for TLS they read no file, and they send no more than their settings say. */
const ASKABLE = new Set(['static', 'consul', 'dns', 'etcd', 'eureka', 'nacos', 'zookeeper', 'http']);

export interface LivePools {
  readonly problems: readonly string[];
  /** Pools whose registries are not asked. */
  readonly unjudged: readonly string[];
  /** Pools that would have no endpoint. */
  readonly empty: ReadonlySet<string>;
}

/**
 * Which pools of a document would have endpoints now: those this proxy has already are looked at, for the others their registry is asked once, on connections of
 * their own that are closed again. `current` is the document in force as it reads to be judged, null when it cannot be.
 */
export async function judgePools(
  next: DocumentOptions,
  current: DocumentOptions | null,
  sizeOf: (pool: string) => number,
): Promise<LivePools> {
  const sizes = new Map<string, number>();
  const asked: Record<string, DocumentOptions['pools'][string]> = {};
  const unjudged: string[] = [];
  for (const [name, pool] of Object.entries(next.pools)) {
    if (pool.discover === null) sizes.set(name, pool.endpoints?.length ?? 0);
    else if (isSameSource(name, next, current)) sizes.set(name, sizeOf(name));
    else if (mayAsk(pool, next)) asked[name] = pool;
    else
      unjudged.push(`what pool ${name} would hold: ${registriesOf(pool).join(', ')} is not asked to judge a document`);
  }
  const problems = Object.keys(asked).length === 0 ? [] : await ask(next, asked, sizes);
  const empty = new Set([...sizes].flatMap(([name, size]) => (size === 0 ? [name] : [])));
  const used = new Set(next.listeners.flatMap(({ routes }) => routes.map(({ pool }) => pool)));
  const told = [...empty].filter((name) => used.has(name)).map((name) => `pool ${name} would have no endpoints`);
  return { problems: [...problems, ...told], unjudged, empty };
}

function isSameSource(name: string, next: DocumentOptions, current: DocumentOptions | null): boolean {
  const [is, was] = [next.pools[name], current?.pools[name]];
  if (was === undefined || is.discover === null) return false;
  return (
    isDeepStrictEqual(is.discover, was.discover) &&
    registriesOf(is).every((name) => isDeepStrictEqual(next.registries[name], current?.registries[name]))
  );
}

/** Not where an answer would need what is not read. */
function mayAsk(pool: PoolOptions, { registries }: DocumentOptions): boolean {
  const settings = registriesOf(pool).map((name) => registries[name]);
  return (
    settings.every((one) => ASKABLE.has(one.kind) && !namesFiles(one)) && !holdsReference([settings, pool.discover])
  );
}

function namesFiles({ tls }: KindSettings): boolean {
  const files: Partial<ClientTls> = typeof tls === 'object' && tls !== null ? tls : {};
  return [files.ca, files.cert, files.key].some((file) => file !== undefined);
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
  const sources = new Sources({
    clock: systemClock,
    random: systemRandom,
    log() {},
    stateDirectory: null,
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
  }
}

export interface JudgeParts extends ReloadParts {
  /** `variables` are those of the document in force. */
  readonly read: (text: string, variables: LoadedDocument['variables']) => JudgedDocument;
  /** The last requests, as they were sampled. */
  readonly samples: () => RequestWindow['samples'];
}

/**
 * Judges a document as a reload would, and tells what it would change against another or what runs. Binds what it can and takes it back; nothing takes effect.
 * Opens no file, and gives away nothing that the admin API does not show anyway.
 */
export async function judgeLive(
  text: string,
  against: string | null,
  running: LoadedDocument,
  parts: JudgeParts,
): Promise<Judgement> {
  const id = createHash('sha256').update(text).digest('hex').slice(0, 12);
  const { loaded: next, ...read } = parts.read(text, running.variables);
  const current = parts.read(running.text, running.variables).loaded?.document ?? null;
  const before = against === null ? current : (parts.read(against, running.variables).loaded?.document ?? null);
  const problems = [...read.problems.map(formatProblem), ...(next === null ? [] : await whyNot(next, parts))];
  const unjudged = read.unjudged.map(formatProblem);
  if (next === null || problems.length > 0) return { id, problems, unjudged, changes: [], replay: null };
  const pools = await judgePools(next.document, current, (pool) => parts.pools.sizeOf(pool));
  unjudged.push(...pools.unjudged);
  if (before === null) unjudged.push('what it would change: the other document cannot be read here');
  const { access } = next.document.log;
  if (access !== null && access !== 'stdout' && access !== current?.log.access)
    unjudged.push(`log.access: ${access} is not opened to judge a document`);
  return {
    id,
    problems: pools.problems,
    unjudged,
    changes: before === null ? [] : diffLines(before, next.document),
    replay: replay(parts.samples(), next.document, (pool) => pools.empty.has(pool)),
  };
}

async function whyNot(next: LoadedDocument, parts: JudgeParts): Promise<string[]> {
  try {
    await tryToPrepare(parts, next);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof OperationError)) throw error;
    return error instanceof ConfigError ? error.problems.map(formatProblem) : [error.message];
  }
}
