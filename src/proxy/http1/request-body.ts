import type { Socket } from 'node:net';
import type { ByteWriter } from '../byte-writer.ts';
import { writeChunk, writeLastChunk } from './chunk-frame.ts';

/** A request body up to this size can be sent again to another endpoint, and waits here while no endpoint is connected. */
export const REPLAY_MAX = 64 * 1024;
/** Pieces up to this size are copied into one write. */
const COPY_MAX = 16 * 1024;

/**
 * The body of one request on its way to an endpoint: written in the client's framing, kept for another attempt while it is small.
 * One per connection, used again for every request.
 */
export class RequestBody {
  /** Whether all of it is here. */
  complete = true;
  /** Whether all that came so far is still kept. */
  replayable = true;
  #pieces: Buffer[] = [];
  #keptBytes = 0;
  #chunked = false;
  #trailers = '';

  begin(complete: boolean, chunked: boolean): void {
    this.complete = complete;
    this.#chunked = chunked;
    this.replayable = true;
    this.#trailers = '';
    if (this.#pieces.length > 0) this.#pieces = [];
    this.#keptBytes = 0;
  }

  /** Bytes kept; the client is paused when they pass REPLAY_MAX and no endpoint takes them. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Keeps a piece that came before an endpoint can take it, or for another attempt. */
  keep(bytes: Buffer, start: number, end: number): void {
    if (!this.replayable || end === start) return;
    this.#pieces.push(bytes.subarray(start, end));
    this.#keptBytes += end - start;
  }

  /** Lets go of what is kept: it was sent, and is too much to send again. */
  dropKept(): void {
    this.replayable = false;
    this.#pieces = [];
    this.#keptBytes = 0;
  }

  end(trailers: string): void {
    this.complete = true;
    this.#trailers = trailers;
  }

  /** Writes what is kept behind the request head in `writer`; with the end when it is complete. Returns false when the socket is full. */
  writeKept(writer: ByteWriter, socket: Socket): boolean {
    for (const piece of this.#pieces) this.#write(writer, socket, piece, 0, piece.length);
    if (this.complete && this.#chunked) writeLastChunk(writer, this.#trailers);
    return socket.write(writer.take());
  }

  /** Writes one piece. Returns false when the socket is full. */
  write(writer: ByteWriter, socket: Socket, bytes: Buffer, start: number, end: number): boolean {
    this.#write(writer, socket, bytes, start, end);
    return writer.length === 0 ? !socket.writableNeedDrain : socket.write(writer.take());
  }

  writeEnd(writer: ByteWriter, socket: Socket): void {
    if (!this.#chunked) return;
    writeLastChunk(writer, this.#trailers);
    socket.write(writer.take());
  }

  #write(writer: ByteWriter, socket: Socket, bytes: Buffer, start: number, end: number): void {
    if (end - start <= COPY_MAX) {
      if (this.#chunked) writeChunk(writer, bytes, start, end);
      else writer.bytes(bytes, start, end);
      return;
    }
    if (this.#chunked) writer.text(`${(end - start).toString(16)}\r\n`);
    if (writer.length > 0) socket.write(writer.take());
    socket.write(bytes.subarray(start, end));
    if (this.#chunked) writer.text('\r\n');
  }
}
