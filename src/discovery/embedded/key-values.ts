import type { Journal } from './journal.ts';
import type { RegistryState } from './registry-state.ts';
import { topicOf } from './topics.ts';

/** One key as it is now. */
export interface KeyValue {
  readonly key: string;
  readonly value: Buffer;
  /** An unsigned 64-bit integer of the client's own, as decimal digits. */
  readonly flags: string;
  readonly createIndex: number;
  readonly modifyIndex: number;
}

/** Bytes of all keys and values together. */
const TOTAL_LIMIT = 64 * 1024 * 1024;
/** Deletions remembered one by one; of older ones only the last index is known, which may wake a watcher for nothing. */
const TOMBSTONES = 10_000;

/**
 * The keys and values of the registry, with Consul's rules: a write that changes nothing takes no index; a key's index is that of its last
 * change, a prefix's that of the last change or deletion under it, and one that holds nothing has that of the whole store.
 */
export class KeyValues {
  readonly #entries = new Map<string, KeyValue>();
  readonly #state: RegistryState;
  readonly #journal: Journal;
  /** Index of a key's deletion, oldest first. */
  readonly #tombstones = new Map<string, number>();
  #forgotten = 0;
  #index = 0;
  #bytes = 0;

  constructor(state: RegistryState, journal: Journal) {
    this.#state = state;
    this.#journal = journal;
  }

  get(key: string): KeyValue | null {
    return this.#entries.get(key) ?? null;
  }

  /** In the order of their keys. */
  under(prefix: string): KeyValue[] {
    const found: KeyValue[] = [];
    for (const entry of this.#entries.values()) if (entry.key.startsWith(prefix)) found.push(entry);
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** What a blocking query for one key waits on. */
  indexOf(key: string): number {
    return this.#entries.get(key)?.modifyIndex ?? this.#last;
  }

  /** What a blocking query for a prefix waits on. */
  indexUnder(prefix: string): number {
    let index = 0;
    for (const entry of this.#entries.values())
      if (entry.modifyIndex > index && entry.key.startsWith(prefix)) index = entry.modifyIndex;
    for (const [key, deleted] of this.#tombstones) if (deleted > index && key.startsWith(prefix)) index = deleted;
    return index === 0 ? this.#last : Math.max(index, this.#forgotten);
  }

  /** False when the store is full: nothing was changed then. */
  put(key: string, value: Buffer, flags: string): boolean {
    const known = this.#entries.get(key);
    if (known !== undefined && known.flags === flags && known.value.equals(value)) return true;
    const grown = this.#bytes + value.length - (known === undefined ? -key.length : known.value.length);
    if (grown > TOTAL_LIMIT) return false;
    this.#bytes = grown;
    const index = this.#state.takeIndex();
    const entry = { key, value, flags, createIndex: known?.createIndex ?? index, modifyIndex: index };
    this.#entries.set(key, entry);
    this.#tombstones.delete(key);
    this.#journal.keyValue(key, entry);
    this.#touch(key, index);
    return true;
  }

  /** Deletes each key that is there; all of them are one change. */
  remove(keys: readonly string[]): void {
    const present = keys.filter((key) => this.#entries.has(key));
    if (present.length === 0) return;
    const index = this.#state.takeIndex();
    for (const key of present) {
      this.#bytes -= key.length + (this.#entries.get(key) as KeyValue).value.length;
      this.#entries.delete(key);
      this.#journal.keyValue(key, null);
      this.#bury(key, index);
      this.#touch(key, index);
      this.#state.topics.drop(topicOf.key(key));
    }
  }

  /** Puts back what a journal kept; before anybody asks. */
  restore(entries: readonly KeyValue[]): void {
    for (const entry of entries) {
      this.#entries.set(entry.key, entry);
      this.#bytes += entry.key.length + entry.value.length;
    }
    this.#index = this.#state.index;
    this.#forgotten = this.#state.index;
  }

  /** A store that nobody has written to has the index of the registry, which is never 0. */
  get #last(): number {
    return this.#index === 0 ? this.#state.index : this.#index;
  }

  #bury(key: string, index: number): void {
    this.#tombstones.delete(key);
    this.#tombstones.set(key, index);
    if (this.#tombstones.size <= TOMBSTONES) return;
    const [oldest, deleted] = this.#tombstones.entries().next().value as [string, number];
    this.#tombstones.delete(oldest);
    this.#forgotten = deleted;
  }

  #touch(key: string, index: number): void {
    this.#index = index;
    this.#state.topics.touch(topicOf.key(key), index);
    this.#state.topics.touch(topicOf.keys, index);
  }
}
