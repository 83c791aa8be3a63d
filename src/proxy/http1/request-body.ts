import type { ByteWriter } from '../byte-writer.ts';
import type { SocketReader } from '../socket-reader.ts';
import { COPY_MAX, type SocketWriter } from '../socket-writer.ts';
import { writeChunk, writeLastChunk } from './chunk-frame.ts';

/** A request body up to this size can be sent again to another endpoint, and waits here while no endpoint is connected. */
export const REPLAY_MAX = 64 * 1024;

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
    this.#pieces.push(Buffer.copyBytesFrom(bytes, start, end - start));
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
  writeKept(writer: ByteWriter, socket: SocketWriter): boolean {
    for (const piece of this.#pieces) {
      if (this.#chunked) writeChunk(writer, piece, 0, piece.length);
      else writer.piece(piece);
    }
    if (this.complete && this.#chunked) writeLastChunk(writer, this.#trailers);
    socket.writeAll(writer);
    return !socket.isFull;
  }

  /** Writes one piece, just read by `reader`. Returns false when the socket is full. */
  write(
    writer: ByteWriter,
    socket: SocketWriter,
    bytes: Buffer,
    start: number,
    end: number,
    reader: SocketReader,
  ): boolean {
    if (end - start <= COPY_MAX) {
      if (this.#chunked) writeChunk(writer, bytes, start, end);
      else writer.bytes(bytes, start, end);
    } else {
      if (this.#chunked) writer.text(`${(end - start).toString(16)}\r\n`);
      socket.writeBehind(writer, bytes, start, end, reader);
      if (this.#chunked) writer.text('\r\n');
    }
    if (writer.length > 0) socket.writeAll(writer);
    return !socket.isFull;
  }

  writeEnd(writer: ByteWriter, socket: SocketWriter): void {
    if (!this.#chunked) return;
    writeLastChunk(writer, this.#trailers);
    socket.writeAll(writer);
  }
}
