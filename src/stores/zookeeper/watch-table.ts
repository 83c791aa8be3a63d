import { EventType, type WatchEvent } from './messages.ts';

/** Told once that something changed; then it is forgotten, here and at the server. To go on watching, read again. */
export type Watcher = () => void;

/** What a watch was left by: ZooKeeper tells different events to each. */
export type WatchSort = 'data' | 'exists' | 'children';

/** Paths in one request to set watches again stay below this many characters: a server refuses requests over 1 MB. */
const MAX_BATCH = 128 * 1024;

/** The watches of one session, by the path the server knows. */
export class WatchTable {
  readonly #tables: Readonly<Record<WatchSort, Map<string, Set<Watcher>>>> = {
    data: new Map(),
    exists: new Map(),
    children: new Map(),
  };

  add(sort: WatchSort, path: string, watcher: Watcher): void {
    const table = this.#tables[sort];
    const watchers = table.get(path);
    if (watchers === undefined) table.set(path, new Set([watcher]));
    else watchers.add(watcher);
  }

  /** Not told any more. The server keeps its watch until it fires. */
  remove(path: string, watcher: Watcher): void {
    for (const table of Object.values(this.#tables)) {
      const watchers = table.get(path);
      if (watchers?.delete(watcher) && watchers.size === 0) table.delete(path);
    }
  }

  /** Tells and forgets those an event is for. */
  fire({ type, path }: WatchEvent): void {
    const sorts: WatchSort[] = [];
    if (type === EventType.CHILDREN || type === EventType.DELETED) sorts.push('children');
    if (type === EventType.CREATED || type === EventType.DATA || type === EventType.DELETED)
      sorts.push('data', 'exists');
    const called = new Set<Watcher>();
    for (const sort of sorts) {
      for (const watcher of this.#tables[sort].get(path) ?? []) called.add(watcher);
      this.#tables[sort].delete(path);
    }
    for (const watcher of called) watcher();
  }

  clear(): void {
    for (const table of Object.values(this.#tables)) table.clear();
  }

  /** All watched paths, in batches that fit a request. */
  batches(): Readonly<Record<WatchSort, string[]>>[] {
    const batches: Record<WatchSort, string[]>[] = [];
    let length = MAX_BATCH;
    for (const sort of ['data', 'exists', 'children'] as const) {
      for (const path of this.#tables[sort].keys()) {
        length += path.length + 4;
        if (length > MAX_BATCH) {
          batches.push({ data: [], exists: [], children: [] });
          length = path.length + 4;
        }
        batches.at(-1)![sort].push(path);
      }
    }
    return batches;
  }
}
