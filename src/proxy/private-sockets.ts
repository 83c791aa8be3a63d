import type { Socket } from 'node:net';

/** What a read is handed to: `count` bytes at the start of the buffer that the socket reads to. */
export type OnRead = (count: number) => void;

/** A write that the kernel did not take at once. The bytes must not change before `oncomplete`; its argument is negative when it failed. */
interface PendingWrite {
  oncomplete: (status: number) => void;
  /** Holds the bytes. */
  buffer: unknown;
  /** Set when it was over before anybody could listen. */
  writeStatus: number | null;
}

/** The part of Node's stream handles that is used. A number is the error code of a write that is over, 0 when the kernel took it all; undefined: closed. */
export interface DirectHandle {
  useUserBuffer(buffer: Buffer): void;
  writeBuffer(request: null, bytes: Buffer): number | undefined | PendingWrite;
  writev(request: null, chunks: Buffer[], allBuffers: true): number | undefined | PendingWrite;
}

/** Symbols under which a net.Socket keeps what its `onread` option says. */
interface Keys {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
}

/** What Node's own code says where it writes: that it may be called without a request object, and what it then returns. */
const CONTRACT = ['handle.writeBuffer(null, data)', 'handle.writev(null, chunks, allBuffers)', 'req.writeStatus'];

/**
 * The one file that uses what Node does not document: reads of accepted sockets into a buffer of ours, as `onread` does for sockets we connect, and
 * writes without a Writable in between. Measured: a fifth of the CPU of a small request. Made once per worker, where Node is found to be as expected;
 * without it everything goes the documented way. Node's sockets stay what they are: ends, errors, counts and `close` are theirs.
 */
export class PrivateSockets {
  readonly #keys: Keys;
  readonly #state: Int32Array;
  readonly #errorAt: number;

  private constructor(keys: Keys, state: Int32Array, errorAt: number) {
    this.#keys = keys;
    this.#state = state;
    this.#errorAt = errorAt;
  }

  /** Null where this Node has not all that is needed. `socket` is one that is not connected. */
  static detect(socket: Socket): PrivateSockets | null {
    try {
      const { stream_wrap: wrap, natives } = bindings();
      const source = String(natives['internal/stream_base_commons']);
      const keys = keysOf(socket);
      const isKnown = CONTRACT.every((words) => source.includes(words)) && Number.isInteger(wrap.kLastWriteErr);
      if (!isKnown || keys === null || !(wrap.streamBaseState instanceof Int32Array)) return null;
      return new PrivateSockets(keys, wrap.streamBaseState, wrap.kLastWriteErr as number);
    } catch {
      return null;
    }
  }

  /** The handle of an open socket, or null. */
  handleOf(socket: Socket): DirectHandle | null {
    const { _handle: handle } = socket as unknown as { readonly _handle: DirectHandle | null };
    if (handle === null || typeof handle?.useUserBuffer !== 'function') return null;
    return typeof handle.writeBuffer === 'function' && typeof handle.writev === 'function' ? handle : null;
  }

  /** Reads of this socket go to `buffer` from now on; `data` is not emitted any more. Called before anything was read. */
  readInto(socket: Socket, handle: DirectHandle, buffer: Buffer, onRead: OnRead): void {
    const fields = socket as unknown as Record<symbol, unknown>;
    fields[this.#keys.buffer] = buffer;
    fields[this.#keys.callback] = onRead;
    handle.useUserBuffer(buffer);
  }

  /** Asks `next` behind every read where the following one goes; null: no change. */
  readIntoNext(socket: Socket, next: (() => Buffer) | null): void {
    (socket as unknown as Record<symbol, unknown>)[this.#keys.generator] = next;
  }

  /** After a write that returned no number: whether it is under way. Else it failed. */
  isUnderWay(write: PendingWrite, bytes: unknown, done: (status: number) => void): boolean {
    if (this.#state[this.#errorAt] !== 0) return false;
    write.buffer = bytes;
    write.oncomplete = done;
    const status = write.writeStatus;
    if (status !== null) done(status);
    return true;
  }
}

function bindings() {
  const { binding } = process as unknown as { binding(name: string): Record<string, unknown> };
  return { stream_wrap: binding('stream_wrap'), natives: binding('natives') };
}

function keysOf(socket: Socket): Keys | null {
  const symbols = Object.getOwnPropertySymbols(socket);
  const named = (name: string) => symbols.find(({ description }) => description === name);
  const [buffer, callback, generator] = [named('kBuffer'), named('kBufferCb'), named('kBufferGen')];
  return buffer && callback && generator ? { buffer, callback, generator } : null;
}
