import type { ByteWriter } from '../byte-writer.ts';
import { READ_BYTES, type ReadBuffers } from '../read-buffers.ts';
import type { SocketReader } from '../socket-reader.ts';
import { COPY_MAX, type SocketWriter } from '../socket-writer.ts';
import { writeChunk, writeLastChunk } from './chunk-frame.ts';
import type { HeaderEdits } from './header-edits.ts';

/** A request body up to this size can be sent again to another endpoint, and waits here while no endpoint is connected. */
export const REPLAY_MAX = 64 * 1024;
/** Larger pieces are kept in a buffer that is used again: memory of their own would keep the collector busy with a tenth of the CPU. */
const SMALL = 4096;

/**
 * The body of one request on its way to an endpoint: put together in the client's framing, kept for another attempt while it is small.
 * One per connection, used again for every request.
 */
export class RequestBody {
  /** Whether all of it is here. */
  complete = true;
  /** Whether all that came so far is still kept. */
  replayable = true;
  readonly #buffers: ReadBuffers;
  readonly #pieces: Buffer[] = [];
  #keptBytes = 0;
  /** What the larger pieces are in, and how much of it they take up. */
  #lent: Buffer | null = null;
  #lentBytes = 0;
  #chunked = false;
  #trailers = '';
  readonly #edits: HeaderEdits;

  /** `edits`: what middleware made of the request's headers holds for its trailers too. */
  constructor(buffers: ReadBuffers, edits: HeaderEdits) {
    this.#buffers = buffers;
    this.#edits = edits;
  }

  begin(complete: boolean, chunked: boolean): void {
    this.complete = complete;
    this.#chunked = chunked;
    this.replayable = true;
    this.#trailers = '';
  }

  /** Bytes kept; the client is paused when they pass REPLAY_MAX and no endpoint takes them. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Keeps a piece that came before an endpoint can take it, or for another attempt. */
  keep(bytes: Buffer, start: number, end: number): void {
    if (!this.replayable || end === start) return;
    const piece = this.#room(end - start);
    bytes.copy(piece, 0, start, end);
    this.#pieces.push(piece);
    this.#keptBytes += piece.length;
  }

  #room(count: number): Buffer {
    if (count <= SMALL || this.#lentBytes + count > READ_BYTES) return Buffer.allocUnsafe(count);
    this.#lent ??= this.#buffers.take();
    this.#lentBytes += count;
    return this.#lent.subarray(this.#lentBytes - count, this.#lentBytes);
  }

  /** Lets go of what is kept: it was sent, and is too much to send again; or the request is over. */
  dropKept(): void {
    this.replayable = false;
    this.#pieces.length = 0;
    this.#keptBytes = 0;
    if (this.#lent !== null) this.#buffers.putBack(this.#lent);
    this.#lent = null;
    this.#lentBytes = 0;
  }

  end(trailers: string): void {
    this.complete = true;
    this.#trailers = trailers;
  }

  /** Appends what is kept to the request head in `writer`; with the end when it is complete. */
  appendKept(writer: ByteWriter): void {
    for (const piece of this.#pieces) {
      if (this.#chunked) writeChunk(writer, piece, 0, piece.length);
      else writer.piece(piece);
    }
    if (this.complete) this.appendEnd(writer);
  }

  /** Appends one piece, just read by `reader`, to what is written in the end; a large one is written now. */
  append(
    writer: ByteWriter,
    socket: SocketWriter,
    bytes: Buffer,
    start: number,
    end: number,
    reader: SocketReader,
  ): void {
    if (end - start <= COPY_MAX) {
      if (this.#chunked) writeChunk(writer, bytes, start, end);
      else writer.bytes(bytes, start, end);
    } else {
      if (this.#chunked) writer.text(`${(end - start).toString(16)}\r\n`);
      socket.writeBehind(writer, bytes, start, end, reader);
      if (this.#chunked) writer.text('\r\n');
    }
  }

  appendEnd(writer: ByteWriter): void {
    if (this.#chunked) writeLastChunk(writer, this.#edits.unedited(this.#trailers));
  }
}
