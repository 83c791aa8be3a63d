import type { KeyValue } from './key-values.ts';
import type { CheckRecord, NodeRecord, ServiceRecord } from './records.ts';

/** What is written down of a record; `null` in place of one says that it is gone. */
export interface Journal {
  node(name: string, record: NodeRecord | null): void;
  service(node: string, id: string, record: ServiceRecord | null): void;
  /** `statusOnly`: may be lost in a crash, so nobody waits for it. */
  check(node: string, id: string, record: CheckRecord | null, statusOnly: boolean): void;
  keyValue(key: string, entry: KeyValue | null): void;
  /** Indexes up to and including this one are in use. */
  index(index: number): void;
  /** Resolves when everything that matters so far is on disk, or cannot be brought there. Never rejects. */
  committed(): Promise<void>;
}

const done = Promise.resolve();

/** For a registry without a data directory. */
export const noJournal: Journal = {
  node() {},
  service() {},
  check() {},
  keyValue() {},
  index() {},
  committed: () => done,
};

/** Where a check's plan is carried out. RegistryState tells it of every check that comes, changes or goes. */
export interface CheckObserver {
  /** New, or described anew: what ran before for it ends and runs afresh. */
  planned(check: CheckRecord): void;
  removed(check: CheckRecord): void;
}
