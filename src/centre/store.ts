import type { OperationError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

/** What stands under a key. `revision` is the store's own word for this state of it: compared for equality, handed back to `put`, never read. */
export interface Stored {
  readonly text: string;
  readonly revision: string;
}

/** Where a watch delivers. What was delivered last stays true until something else is; an outage changes nothing. */
export interface StoreSink {
  /** At first, and whenever the key holds something else; null when it holds nothing. */
  changed(stored: Stored | null): void;
  /** The store cannot be asked at present. Called again only when the error changes or after a success. */
  unavailable(error: OperationError): void;
}

/**
 * Keys and texts that several processes share, with check-and-set: all that a config centre asks of a store. Keys are paths like `versions/12-abc`,
 * relative to the place that the store was opened with. Opening makes no connection. Every method but `close` rejects with an OperationError when the
 * store cannot be asked or refuses.
 */
export interface Store {
  /** As an operator wrote it, without secrets. */
  readonly address: string;
  get(key: string): Promise<Stored | null>;
  /** Writes if the key still has this revision (null: only if it is not there). False when somebody else was first; nothing was written then. */
  put(key: string, text: string, expected: string | null): Promise<boolean>;
  /** Writes whatever is there. */
  set(key: string, text: string): Promise<void>;
  /** Removing what is not there is no error. */
  remove(key: string): Promise<void>;
  /** Keys below `folder` (`versions`), themselves relative to it, in no order. */
  list(folder: string): Promise<string[]>;
  watch(key: string, sink: StoreSink): { close(): void };
  /** Ends every watch and leaves no timer, socket or file open. */
  close(): Promise<void>;
}

export interface StoreContext {
  readonly random: Random;
  /** Where tokens and passwords are looked for: they do not belong into an address that is shown. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** One kind of store: its file exports one of these, `catalog.ts` lists it in one line. */
export interface StoreKind {
  /** The scheme of its addresses: `consul` in `consul://127.0.0.1:8500/evenkeel/edge`. */
  readonly scheme: string;
  /** One line for help and docs. */
  readonly summary: string;
  /** An address to show as an example. */
  readonly example: string;
  /** `hosts`: every server of the address (`zk1:2181`); its URL holds the first. Throws an OperationError when the address is not right. */
  open(address: URL, context: StoreContext, hosts: readonly string[]): Store;
}
