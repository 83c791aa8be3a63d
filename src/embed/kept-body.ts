import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';

/** A body up to this size can be sent again to another endpoint, as on evenkeel's listeners. */
const REPLAY_MAX = 64 * 1024;

/** The body of a server's request, kept for another attempt while it is small. */
export class KeptBody {
  /** Whether all that came so far is still here. */
  replayable = true;
  readonly #request: IncomingMessage;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #isComplete: boolean;
  #isDiscarded = false;
  #reader: PassThrough | null = null;

  constructor(request: IncomingMessage) {
    this.#request = request;
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
    this.#isComplete = coding === undefined && (length === undefined || Number(length) === 0);
    if (this.#isComplete) return;
    request.on('data', (piece: Buffer) => this.#take(piece));
    request.on('end', () => {
      this.#isComplete = true;
      this.#reader?.end();
    });
  }

  /** The body from its beginning. Only the latest reader gets what comes. */
  open(): Readable {
    const reader = new PassThrough();
    this.#reader = reader;
    for (const piece of this.#pieces) reader.write(piece);
    if (this.#bytes > REPLAY_MAX) this.#drop();
    if (this.#isComplete) reader.end();
    reader.on('drain', () => {
      if (this.#reader === reader) this.#request.resume();
    });
    if (!reader.writableNeedDrain) this.#request.resume();
    return reader;
  }

  /** Nobody wants the rest any more: it is read and thrown away, so that the connection may have its next request. */
  discard(): void {
    this.#isDiscarded = true;
    this.#reader = null;
    this.#drop();
    this.#request.resume();
  }

  #take(piece: Buffer): void {
    if (this.#isDiscarded) return;
    if (this.replayable) {
      this.#pieces.push(piece);
      this.#bytes += piece.length;
    }
    if (this.#reader === null) {
      if (this.#bytes > REPLAY_MAX) this.#request.pause();
      return;
    }
    if (this.#bytes > REPLAY_MAX) this.#drop();
    if (!this.#reader.write(piece)) this.#request.pause();
  }

  #drop(): void {
    this.replayable = false;
    this.#pieces = [];
  }
}
