import type { OnReadOpts, Socket } from 'node:net';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import type { Dialled, DialReader, UpstreamDialer } from '../http1/upstream-dialer.ts';

/** Who takes the bytes of an upstream socket. */
export interface UpstreamReader {
  /** Where the next read goes; null: where the last one went. Asked after every read, and once at the start. */
  nextBuffer(): Uint8Array | null;
  /** `bytes[0, count)`; valid during the call only, unless `isOwned`. */
  onUpstreamBytes(bytes: Buffer, count: number, isOwned: boolean): void;
}

/** Opens a connection whose bytes go to `reader`. Half of it may be closed. */
export function dialRelay(
  endpoint: Endpoint,
  dialer: UpstreamDialer,
  reader: UpstreamReader,
  preface: Buffer | null,
): Dialled {
  const dialled = dialer.dial(endpoint, new RelayReader(reader), preface);
  dialled.socket.allowHalfOpen = true;
  return dialled;
}

/** Over plain TCP bytes go where the relay wants them; over TLS they come in buffers of their own. */
class RelayReader implements DialReader {
  readonly onread: OnReadOpts;
  readonly #reader: UpstreamReader;

  constructor(reader: UpstreamReader) {
    this.#reader = reader;
    this.onread = {
      buffer: () => reader.nextBuffer() as Uint8Array,
      callback: (count, bytes) => {
        reader.onUpstreamBytes(bytes as Buffer, count, false);
        return true;
      },
    };
  }

  listen(socket: Socket): void {
    socket.on('data', (bytes: Buffer) => this.#reader.onUpstreamBytes(bytes, bytes.length, true));
  }
}
