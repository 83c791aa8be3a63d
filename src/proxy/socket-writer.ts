import type { Socket } from 'node:net';
import type { ByteWriter } from './byte-writer.ts';
import type { DirectHandle, PrivateSockets } from './private-sockets.ts';
import { READ_BYTES, type ReadBuffers } from './read-buffers.ts';
import type { SocketReader } from './socket-reader.ts';
import type { Sockets } from './sockets.ts';

/** Pieces up to this size are copied behind what is waiting to be written; larger ones are written as they are. */
export const COPY_MAX = 16 * 1024;
/** Bytes waiting for the kernel from which on a socket is full: what Node's own streams have. */
const FULL_BYTES = 64 * 1024;

/**
 * Writes one socket: at once what the kernel takes, the rest when it can. One per connection; the end and the reset stay with the socket. Nothing
 * else may write to it.
 */
export class SocketWriter {
  readonly #socket: Socket;
  readonly #fast: PrivateSockets | null;
  readonly #onDrain: () => void;
  /** Null as long as writes go through the stream. */
  #handle: DirectHandle | null = null;
  /** Bytes, and writes, that the handle has not got rid of. */
  #waiting = 0;
  #writes = 0;
  #wasFull = false;
  readonly #buffers: ReadBuffers;
  /** Whether a write that fails ends the connection. */
  readonly #endsIt: boolean;
  #isBroken = false;
  /** What waiting writes are in. Pieces of one buffer may wait one behind the other: all are put back when nothing waits. */
  #held: Buffer[] = [];

  /**
   * `isFast`: by private means where they are to be had. `onDrain` is called when a socket that was full is empty. `endsIt` false: when a write fails
   * (the other side has left) nothing more is written, and who reads the socket decides: an answer may lie there that came before.
   */
  constructor(socket: Socket, sockets: Sockets, isFast: boolean, onDrain: () => void, endsIt = true) {
    this.#socket = socket;
    this.#fast = isFast ? sockets.fast : null;
    this.#onDrain = onDrain;
    this.#buffers = sockets.buffers;
    this.#endsIt = endsIt;
    socket.on('drain', onDrain);
  }

  /** Whether so much waits that no more should be written before `onDrain`. */
  get isFull(): boolean {
    return this.#handle === null ? this.#socket.writableNeedDrain : this.#wasFull;
  }

  /** Whether everything was handed to the kernel. */
  get isEmpty(): boolean {
    return this.#handle === null ? this.#socket.writableLength === 0 : this.#writes === 0 && !this.#isBroken;
  }

  /** Writes bytes that nobody changes afterwards. */
  write(bytes: Buffer): void {
    if (this.#isDirect()) this.#direct(bytes);
    else this.#socket.write(bytes);
  }

  /** Writes what was put together, and begins anew. */
  writeAll(writer: ByteWriter): void {
    if (this.#writes > 0 || !this.#isDirect()) this.write(writer.take());
    else if (!this.#direct(writer.view())) writer.letGo();
    else writer.begin();
  }

  /** Writes what was put together and bytes[start, end) behind it, which were just read by `reader`. */
  writeBehind(writer: ByteWriter, bytes: Buffer, start: number, end: number, reader: SocketReader): void {
    if (end - start <= COPY_MAX) {
      writer.bytes(bytes, start, end);
      return this.writeAll(writer);
    }
    if (reader.isTakeable) this.#write(writer, bytes.subarray(start, end), reader, null);
    else if (end - start > READ_BYTES) this.#write(writer, Buffer.copyBytesFrom(bytes, start, end - start), null, null);
    else this.#writeCopy(writer, bytes, start, end);
  }

  /** Memory that is used again: a buffer for every piece would keep the collector busy with a third of the CPU. */
  #writeCopy(writer: ByteWriter, bytes: Buffer, start: number, end: number): void {
    const copy = this.#buffers.take();
    bytes.copy(copy, 0, start, end);
    this.#write(writer, copy.subarray(0, end - start), null, copy);
  }

  /** `body` lies in a buffer of `reader`'s, in `copy`, or in memory of its own. */
  #write(writer: ByteWriter, body: Buffer, reader: SocketReader | null, copy: Buffer | null): void {
    if (this.#isDirect()) {
      const isDone = writer.length === 0 ? this.#direct(body) : this.#directBoth(writer.take(), body);
      const held = isDone ? null : (copy ?? reader?.take() ?? null);
      if (held !== null) this.#held.push(held);
      if (isDone && copy !== null) this.#buffers.putBack(copy);
      return;
    }
    this.#socket.cork();
    if (writer.length > 0) this.#socket.write(writer.take());
    this.#socket.write(body);
    this.#socket.uncork();
    if (this.#socket.writableLength > 0) reader?.take();
    else if (copy !== null) this.#buffers.putBack(copy);
  }

  /** What the stream took before is written first. */
  #isDirect(): boolean {
    if (this.#handle !== null) return true;
    if (this.#fast === null || this.#socket.connecting || this.#socket.writableLength > 0) return false;
    this.#handle = this.#fast.handleOf(this.#socket);
    return this.#handle !== null;
  }

  /** Returns whether the kernel took it all, or never will. */
  #direct(bytes: Buffer): boolean {
    if (this.#isBroken) return true;
    const write = (this.#handle as DirectHandle).writeBuffer(null, bytes);
    if (write === 0) return true;
    return this.#settle(write, bytes, bytes.length);
  }

  #directBoth(first: Buffer, second: Buffer): boolean {
    if (this.#isBroken) return true;
    const both = [first, second];
    const write = (this.#handle as DirectHandle).writev(null, both, true);
    if (write === 0) return true;
    return this.#settle(write, both, first.length + second.length);
  }

  #settle(write: ReturnType<DirectHandle['writeBuffer']>, held: unknown, length: number): boolean {
    // No object: it failed, or the socket is closed.
    if (typeof write !== 'object') {
      this.#fail();
      return true;
    }
    this.#writes++;
    this.#waiting += length;
    if (this.#waiting >= FULL_BYTES) this.#wasFull = true;
    const isUnderWay = (this.#fast as PrivateSockets).isUnderWay(write, held, (status) => this.#done(status, length));
    if (!isUnderWay) this.#fail();
    return !isUnderWay;
  }

  #done(status: number, length: number): void {
    this.#writes--;
    this.#waiting -= length;
    if (this.#writes === 0 && this.#held.length > 0) this.#putBack();
    if (this.#socket.destroyed) return;
    if (status < 0) {
      this.#fail();
    } else if (this.#writes === 0 && this.#wasFull) {
      this.#wasFull = false;
      this.#onDrain();
    }
  }

  #fail(): void {
    this.#isBroken = true;
    this.#wasFull = false;
    if (this.#endsIt) this.#socket.destroy();
  }

  #putBack(): void {
    for (const buffer of this.#held) this.#buffers.putBack(buffer);
    this.#held = [];
  }
}
