import type { OnReadOpts, Socket } from 'node:net';
import type { DirectHandle } from './private-sockets.ts';
import type { ReadBuffers } from './read-buffers.ts';
import type { Sockets } from './sockets.ts';

/** A read, or a body, that is larger brings bytes worth not to be copied. */
export const MUCH = 16 * 1024;

/**
 * Reads one socket, and hands over what comes. The bytes are valid during the call only: who keeps some copies them, or takes the buffer
 * (`take`). One per connection; pause, resume and the end stay with the socket.
 */
export class SocketReader {
  readonly #sockets: Sockets;
  readonly #buffers: ReadBuffers;
  readonly #onBytes: (bytes: Buffer) => void;
  /** Set where reads go to a buffer by private means. */
  #socket: Socket | null = null;
  /** A buffer of this reader alone, while much comes. */
  #own: Buffer | null = null;
  #wantsOwn = false;
  /** Whether the bytes at hand are in memory that nobody else will write to. */
  #isOurs = false;

  constructor(sockets: Sockets, onBytes: (bytes: Buffer) => void) {
    this.#sockets = sockets;
    this.#buffers = sockets.buffers;
    this.#onBytes = onBytes;
  }

  /** For `net.connect`. By private means the next buffer is asked for only while it may be another. */
  get onread(): OnReadOpts {
    const buffer = this.#sockets.fast === null ? this.#next : this.#buffers.shared;
    return { buffer, callback: (count) => this.#onRead(count) };
  }

  /** The socket that was connected with `onread`. */
  dialled(socket: Socket): void {
    if (this.#sockets.fast !== null) this.#socket = socket;
  }

  /** Reads an accepted socket; `isFast`: by private means where they are to be had, unless something lies in the stream already. */
  open(socket: Socket, isFast: boolean): void {
    const fast = isFast && socket.readableLength === 0 ? this.#sockets.fast : null;
    const handle = fast?.handleOf(socket) ?? null;
    if (handle === null) this.listen(socket);
    else this.#attach(socket, handle);
  }

  /** Reads by `data` events: a buffer for every read. */
  listen(socket: Socket): void {
    this.#isOurs = true;
    socket.on('data', (bytes: Buffer) => this.#hand(bytes));
  }

  #attach(socket: Socket, handle: DirectHandle): void {
    this.#socket = socket;
    this.#sockets.fast?.readInto(socket, handle, this.#buffers.shared, (count) => this.#onRead(count));
    // A socket that another thread accepted is not read until somebody asks for it.
    socket.resume();
  }

  /** Much will come: reads after this one bring bytes that can be taken, until one brings little. */
  expectMuch(): void {
    if (this.#wantsOwn) return;
    this.#wantsOwn = true;
    if (this.#socket !== null) this.#sockets.fast?.readIntoNext(this.#socket, this.#next);
  }

  /** Whether the bytes at hand can be taken. */
  get isTakeable(): boolean {
    return this.#isOurs;
  }

  /** The bytes at hand belong to the caller from now on: who is done with them puts back the buffer they are in, if it is given one. */
  take(): Buffer | null {
    const own = this.#own;
    this.#own = null;
    return own;
  }

  #onRead(count: number): true {
    const own = this.#own;
    if (count > MUCH) this.expectMuch();
    else if (own !== null) this.#wantsOwn = false;
    if (own === null) {
      this.#hand(this.#buffers.view(count));
    } else {
      this.#isOurs = true;
      this.#hand(own.subarray(0, count));
      this.#isOurs = false;
    }
    return true;
  }

  #hand(bytes: Buffer): void {
    const { clock } = this.#sockets;
    clock.freeze();
    try {
      this.#onBytes(bytes);
    } finally {
      clock.go();
    }
  }

  readonly #next = (): Buffer => {
    if (this.#wantsOwn) {
      this.#own ??= this.#buffers.take();
      return this.#own;
    }
    if (this.#own !== null) this.#buffers.putBack(this.#own);
    this.#own = null;
    // One last time: the socket goes back to the shared buffer.
    if (this.#socket !== null) this.#sockets.fast?.readIntoNext(this.#socket, null);
    return this.#buffers.shared;
  };
}
