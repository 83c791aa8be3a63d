import { endpointId, fingerprint, isUsable } from './clean-set.ts';
import type { ServiceFeed } from './feed.ts';
import type { RegistryEndpoint } from './registry.ts';

/** What a pool makes of several feeds: the endpoints of all, or those of the first that has any that are fit. */
export type MergePolicy = 'union' | 'first';

/** Makes one feed; `onSet` and `onState` are what the feed is to be made with. */
export type MakeFeed = (onSet: () => void, onState: () => void) => ServiceFeed;

export interface MergedFeedOptions {
  readonly policy: MergePolicy;
  /** At least one; the earlier comes first. */
  readonly feeds: readonly MakeFeed[];
  /** As of ServiceFeed: called with the first set even when it is empty, then only with sets that differ. */
  readonly onSet: (set: readonly RegistryEndpoint[]) => void;
}

/**
 * The endpoints of one pool from one registry or several, each with its own guard and its own last good set. Made by app, one per pool that discovers.
 *
 * `union`: all of them. An address that several tell of is one endpoint, as the earliest entry describes it whose registry can be asked; tags are united.
 * `first`: those of the first entry that has any that take traffic. An entry that has neither answered nor failed yet is waited for, so that a start
 * does not go by way of the last resort; one that cannot be asked keeps its last good set, and with it its place.
 */
export class MergedFeed {
  readonly feeds: readonly ServiceFeed[];
  /** Resolves when every registry has answered or failed and one has answered, or when the feed is closed. */
  readonly synced: Promise<void>;
  readonly #policy: MergePolicy;
  readonly #onSet: MergedFeedOptions['onSet'];
  readonly #markSynced: () => void;
  #hasAnswered = false;
  #fingerprint: string | null = null;
  #closed = false;

  constructor({ policy, feeds, onSet }: MergedFeedOptions) {
    this.#policy = policy;
    this.#onSet = onSet;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.synced = promise;
    this.#markSynced = resolve;
    this.feeds = feeds.map((make) => make(this.#tell, this.#onState));
    for (const feed of this.feeds) void feed.synced.then(() => this.#answered());
  }

  start(): void {
    for (const feed of this.feeds) feed.start();
  }

  close(): void {
    this.#closed = true;
    for (const feed of this.feeds) feed.close();
    this.#markSynced();
  }

  #answered(): void {
    this.#hasAnswered = true;
    this.#onState();
  }

  /** Whether a registry has answered, failed or come back: the choice may hang on it although no set changed. */
  readonly #onState = (): void => {
    if (this.#hasAnswered && !this.feeds.some(isAwaited)) this.#markSynced();
    if (this.feeds.length > 1) this.#tell();
  };

  readonly #tell = (): void => {
    if (this.#closed) return;
    // The common case: a feed tells of differences only.
    if (this.feeds.length === 1) return this.#onSet(this.feeds[0].current!);
    const set = this.#policy === 'union' ? union(this.feeds) : first(this.feeds);
    if (set === null) return;
    const print = fingerprint(set);
    if (print === this.#fingerprint) return;
    this.#fingerprint = print;
    this.#onSet(set);
  };
}

/** Neither an answer nor a failure so far. What is known from disk counts for nothing here: the registry may know better in a moment. */
function isAwaited({ state: { state, fromDisk, error } }: ServiceFeed): boolean {
  return error === null && (state === 'initial' || fromDisk);
}

function first(feeds: readonly ServiceFeed[]): readonly RegistryEndpoint[] | null {
  for (const feed of feeds) {
    if (feed.current?.some(({ status }) => isUsable(status))) return feed.current;
    if (isAwaited(feed)) return null;
  }
  return feeds.map(({ current }) => current).find((set) => set !== null && set.length > 0) ?? [];
}

function union(feeds: readonly ServiceFeed[]): readonly RegistryEndpoint[] | null {
  const known = feeds.filter(({ current }) => current !== null);
  if (known.length <= 1) return known[0]?.current ?? null;
  const byId = new Map<string, RegistryEndpoint>();
  // A registry that cannot be asked never overrides one that can.
  const isStale = ({ state }: ServiceFeed) => Number(state.state === 'stale');
  for (const { current } of known.toSorted((a, b) => isStale(a) - isStale(b))) {
    for (const endpoint of current!) {
      const id = endpointId(endpoint);
      const earlier = byId.get(id);
      byId.set(id, earlier === undefined ? endpoint : withTags(earlier, endpoint.tags));
    }
  }
  return [...byId].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
}

function withTags(endpoint: RegistryEndpoint, tags: readonly string[]): RegistryEndpoint {
  const more = tags.filter((tag) => !endpoint.tags.includes(tag));
  return more.length === 0 ? endpoint : { ...endpoint, tags: [...endpoint.tags, ...more] };
}
