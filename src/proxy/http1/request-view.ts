import { isIP } from 'node:net';
import { Field } from '../../wire/http1/field.ts';
import type { RequestHead } from '../../wire/http1/head-reader.ts';

export const NO_BYTES: Buffer = Buffer.alloc(0);

/** What middleware, routes and the access log read of a request: text made on demand from the bytes of its head. */
export class RequestView {
  /** The bytes that `head`'s offsets point into; NO_BYTES between requests. */
  protected bytes: Buffer = NO_BYTES;
  readonly #head: RequestHead;

  constructor(head: RequestHead) {
    this.#head = head;
  }

  get methodText(): string {
    return this.#text(this.#head.methodStart, this.#head.methodEnd);
  }

  get host(): string {
    return this.#text(this.#head.hostStart, this.#head.hostEnd).toLowerCase().replace(/:\d*$/, '');
  }

  get path(): string {
    return this.#text(this.#head.pathStart, this.#head.pathEnd) || '/';
  }

  get query(): string {
    return this.#text(this.#head.queryStart, this.#head.queryEnd);
  }

  /** First value of a query parameter, decoded; '' when it has none; null when the query does not name it. */
  queryValue(name: string): string | null {
    return new URLSearchParams(this.query).get(name);
  }

  get traceId(): string {
    const { kinds, offsets, headerCount } = this.#head;
    for (let i = 0; i < headerCount && this.bytes !== NO_BYTES; i++) {
      if (kinds[i] !== Field.TRACEPARENT) continue;
      const value = this.#text(offsets[i * 5 + 2], offsets[i * 5 + 3]);
      return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(value)?.[1] ?? '';
    }
    return '';
  }

  /**
   * The client's address by X-Forwarded-For: the last one in it that is not a trusted proxy's, for everything before that is what
   * somebody without trust wrote. `peer` is trusted.
   */
  protected forwardedAddress(peer: string, isTrusted: (address: string) => boolean): string {
    const { kinds, offsets, headerCount } = this.#head;
    let client = peer;
    for (let i = headerCount - 1; i >= 0 && this.bytes !== NO_BYTES; i--) {
      if (kinds[i] !== Field.X_FORWARDED_FOR) continue;
      const hops = this.#text(offsets[i * 5 + 2], offsets[i * 5 + 3]).split(',');
      for (let hop = hops.length - 1; hop >= 0; hop--) {
        const address = hops[hop].trim();
        if (isIP(address) === 0) return client;
        client = address;
        if (!isTrusted(address)) return client;
      }
    }
    return client;
  }

  /** First value of a header, or null. `name` in lower case. */
  header(name: string): string | null {
    const { offsets, headerCount } = this.#head;
    for (let i = 0; i < headerCount && this.bytes !== NO_BYTES; i++) {
      const at = i * 5;
      if (offsets[at + 1] - offsets[at] !== name.length) continue;
      if (this.#text(offsets[at], offsets[at + 1]).toLowerCase() !== name) continue;
      return this.#text(offsets[at + 2], offsets[at + 3]);
    }
    return null;
  }

  #text(start: number, end: number): string {
    return this.bytes.toString('latin1', start, end);
  }
}
