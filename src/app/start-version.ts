import { ConfigError, formatProblem, OperationError } from '../base/errors.ts';
import type { ConfigCentre } from '../centre/config-centre.ts';
import type { Version } from '../centre/version.ts';
import type { VersionCache } from './version-cache.ts';

/** What a proxy starts with. */
export interface StartVersion {
  readonly version: Version;
  /** The centre's version, where it cannot start here. */
  readonly refused: { readonly version: Version; readonly problems: readonly string[] } | null;
  /** Why it is not the centre's. */
  readonly warnings: readonly string[];
}

export interface StartParts {
  readonly centre: ConfigCentre;
  readonly cache: VersionCache;
  /** How long the centre is waited for. */
  readonly patienceMs: number;
  /** Throws a ConfigError when a version cannot start here. */
  readonly read: (version: Version) => Promise<unknown>;
}

/**
 * The version to start with: the centre's, or the last that ran here when the centre cannot be asked, is empty, or has one that cannot start here. Rejects
 * with an OperationError when there is neither, with a ConfigError when the centre's is wrong and no other ran here.
 */
export async function startVersion({ centre, cache, patienceMs, read }: StartParts): Promise<StartVersion> {
  const cached = await cache.read();
  const { version, warning } = await offered(centre, cached, patienceMs);
  const warnings = warning === null ? [] : [warning];
  try {
    await read(version);
    return { version, refused: null, warnings };
  } catch (error) {
    if (!(error instanceof ConfigError) || cached === null || cached.key === version.key) throw error;
    await read(cached);
    const why = `the config centre's version cannot start here; going on with version ${cached.number}: ${error.message}`;
    const refused = { version, problems: error.problems.map(formatProblem) };
    return { version: cached, refused, warnings: [...warnings, why] };
  }
}

async function offered(
  centre: ConfigCentre,
  cached: Version | null,
  patienceMs: number,
): Promise<{ readonly version: Version; readonly warning: string | null }> {
  const { address } = centre.store;
  try {
    const wanted = await withDeadline(headVersion(centre), patienceMs, address);
    if (wanted !== null) return { version: wanted, warning: null };
    if (cached === null)
      throw new OperationError(
        'empty-centre',
        `${address} holds no version yet: evenkeel config push FILE -c ${address}`,
      );
    return {
      version: cached,
      warning: `${address} is empty; going on with version ${cached.number} that ran here last`,
    };
  } catch (error) {
    if (!(error instanceof OperationError) || cached === null) throw error;
    const { number, id } = cached;
    return { version: cached, warning: `${error.message}; going on with version ${number} (${id}) that ran here last` };
  }
}

/** A version on trial is begun anew once the proxy serves. */
async function headVersion(centre: ConfigCentre): Promise<Version | null> {
  const current = await centre.current();
  return current === null ? null : centre.version(current.head.key);
}

/** Rejects with an OperationError when the store at `address` does not answer in time. */
export async function withDeadline<T>(promise: Promise<T>, ms: number, address: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new OperationError('store-late', `${address} does not answer`)), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
