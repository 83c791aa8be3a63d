import { Blob } from 'node:buffer';
import { Readable } from 'node:stream';

/** Whether undici can read this body as often as it likes. */
export function isRepeatable(body: unknown): boolean {
  return (
    body === null ||
    body === undefined ||
    typeof body === 'string' ||
    ArrayBuffer.isView(body) ||
    body instanceof ArrayBuffer ||
    body instanceof Blob ||
    (typeof body === 'object' && Object.prototype.toString.call(body) === '[object FormData]')
  );
}

/** A stream that can be read once: may go to another endpoint as long as nobody began to read it. */
export class OnceBody {
  readonly #source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  readonly #onError: (error: Error) => void;
  #isBegun = false;

  /** `onError` hears of a stream that breaks, whether or not anyone reads it. */
  constructor(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, onError: (error: Error) => void) {
    this.#source = source;
    this.#onError = onError;
    if (source instanceof Readable) source.on('error', onError);
  }

  get isBegun(): boolean {
    return this.#isBegun;
  }

  /** Lets go of a body that nobody read, so that its source does not wait for ever. */
  discard(): void {
    if (this.#isBegun) return;
    const source = this.#source as { destroy?: () => void; return?: () => Promise<unknown> };
    if (typeof source.destroy === 'function') source.destroy();
    else void source.return?.().catch(() => {});
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    this.#isBegun = true;
    try {
      yield* this.#source;
    } catch (error) {
      // Before undici, to which it would be the connection that broke.
      this.#onError(error as Error);
      throw error;
    }
  }
}
