import { OperationError } from '../../base/errors.ts';
import type { EtcdRecord } from './etcd-client.ts';

/** A line beyond this length is no line of a watch. */
const MAX_LINE = 64 * 1024 * 1024;

/** One change. A deleted record has neither value nor `createRevision`; its `modRevision` is that of the deletion. */
export interface EtcdChange {
  readonly record: EtcdRecord;
  readonly isDelete: boolean;
}

export interface StreamEvents {
  /** The watch stands: from here on no change is missed. */
  created(): void;
  /** Changes in order, one revision or several. */
  changed(changes: readonly EtcdChange[]): void;
  /** The watch is over, for `error`; `isCompacted`: what it was to begin with is not kept any more. Called once, and not after `close`. */
  ended(error: OperationError, isCompacted: boolean): void;
}

interface RawChange {
  readonly type?: string;
  readonly kv: {
    readonly key: string;
    readonly value?: string;
    readonly create_revision?: string;
    readonly mod_revision?: string;
    readonly lease?: string;
  };
}

interface Line {
  readonly result?: {
    readonly created?: boolean;
    readonly canceled?: boolean;
    readonly compact_revision?: string;
    readonly cancel_reason?: string;
    readonly events?: readonly RawChange[];
  };
  readonly error?: { readonly message?: string };
}

/** One watch at etcd: an HTTP answer that goes on, a line of JSON for each message. Made by EtcdClient.watch. */
export class EtcdStream {
  readonly #events: StreamEvents;
  readonly #open: (signal: AbortSignal) => Promise<AsyncIterable<Buffer>>;
  readonly #abort = new AbortController();
  #ended = false;

  constructor(events: StreamEvents, open: (signal: AbortSignal) => Promise<AsyncIterable<Buffer>>) {
    this.#events = events;
    this.#open = open;
  }

  /** Resolves when the watch is over. Called once. */
  async run(): Promise<void> {
    try {
      const body = await this.#open(this.#abort.signal);
      const parts: Buffer[] = [];
      let length = 0;
      for await (const chunk of body) {
        let from = 0;
        for (let at = chunk.indexOf(10); at !== -1 && !this.#ended; at = chunk.indexOf(10, from)) {
          parts.push(chunk.subarray(from, at));
          this.#take(Buffer.concat(parts).toString());
          parts.length = 0;
          length = 0;
          from = at + 1;
        }
        parts.push(chunk.subarray(from));
        length += chunk.length - from;
        if (length > MAX_LINE) throw new Error(`a message of more than ${MAX_LINE} bytes`);
      }
      throw new Error('the server ended the watch');
    } catch (error) {
      this.#end(
        error instanceof OperationError
          ? error
          : new OperationError('registry-unreachable', `the watch at etcd broke: ${(error as Error).message}`, {
              retryable: true,
              cause: error,
            }),
      );
    }
  }

  close(): void {
    this.#ended = true;
    this.#abort.abort();
  }

  #take(text: string): void {
    if (text.trim() === '') return;
    const { result, error } = JSON.parse(text) as Line;
    if (error !== undefined || result === undefined)
      throw new OperationError('registry-error', `etcd ends the watch: ${error?.message ?? text.slice(0, 200)}`, {
        retryable: true,
      });
    if (result.created === true) this.#events.created();
    if (result.events !== undefined) this.#events.changed(result.events.map(readChange));
    if (result.canceled !== true) return;
    const isCompacted = result.compact_revision !== undefined && result.compact_revision !== '0';
    const why = isCompacted ? 'its past was compacted' : result.cancel_reason || 'no reason given';
    const code = /permission denied/.test(why) ? 'registry-denied' : 'registry-error';
    const failure = new OperationError(code, `etcd ends the watch: ${why}`, { retryable: code === 'registry-error' });
    this.#end(failure, isCompacted);
  }

  #end(error: OperationError, isCompacted = false): void {
    if (this.#ended) return;
    this.close();
    this.#events.ended(error, isCompacted);
  }
}

function readChange({ type, kv }: RawChange): EtcdChange {
  return {
    isDelete: type === 'DELETE',
    record: {
      key: Buffer.from(kv.key, 'base64').toString(),
      value: Buffer.from(kv.value ?? '', 'base64'),
      createRevision: Number(kv.create_revision ?? 0),
      modRevision: Number(kv.mod_revision ?? 0),
      lease: kv.lease ?? '0',
    },
  };
}
