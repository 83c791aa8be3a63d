/** What one read brings at most. */
export const READ_BYTES = 64 * 1024;
/** Views up to this length are made once: requests and responses of one kind have few lengths, and a view costs 70 ns. */
const VIEWS = 4096;
/** Buffers that are held ready: each request with a body takes one, and one more than these is an allocation that keeps the collector busy. */
const SPARE = 64;

/** The buffers that the sockets of one worker read to. */
export class ReadBuffers {
  /** One for all sockets: what is in it is gone when the next read comes. */
  readonly shared: Buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #views: (Buffer | undefined)[] = Array.from({ length: VIEWS });
  readonly #spare: Buffer[] = [];

  /** The first `count` bytes of `shared`. */
  view(count: number): Buffer {
    if (count >= VIEWS) return this.shared.subarray(0, count);
    const known = this.#views[count];
    if (known !== undefined) return known;
    const made = this.shared.subarray(0, count);
    this.#views[count] = made;
    return made;
  }

  /** A buffer of one's own. */
  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES);
  }

  /** Takes back what `take` gave: nobody looks at it any more. */
  putBack(buffer: Buffer): void {
    if (this.#spare.length < SPARE) this.#spare.push(buffer);
  }
}
