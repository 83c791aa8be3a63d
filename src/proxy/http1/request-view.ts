import { Field } from '../../wire/http1/field.ts';
import type { RequestHead } from '../../wire/http1/request-head.ts';
import { forwardedHops, hopAddress } from './forwarded-hops.ts';

export const NO_BYTES: Buffer = Buffer.alloc(0);

/** What middleware, routes and the access log read of a request: text made on demand from the bytes of its head. */
export class RequestView {
  /** The bytes that `head`'s offsets point into; NO_BYTES between requests. */
  protected bytes: Buffer = NO_BYTES;
  readonly head: RequestHead;

  constructor(head: RequestHead) {
    this.head = head;
  }

  get methodText(): string {
    return this.#text(this.head.methodStart, this.head.methodEnd);
  }

  get host(): string {
    return this.#text(this.head.hostStart, this.head.hostEnd).toLowerCase().replace(/:\d*$/, '');
  }

  get path(): string {
    return this.#text(this.head.pathStart, this.head.pathEnd) || '/';
  }

  get query(): string {
    return this.#text(this.head.queryStart, this.head.queryEnd);
  }

  /** First value of a query parameter, decoded; '' when it has none; null when the query does not name it. */
  queryValue(name: string): string | null {
    return new URLSearchParams(this.query).get(name);
  }

  get traceId(): string {
    const { kinds, offsets, headerCount } = this.head;
    for (let i = 0; i < headerCount && this.bytes !== NO_BYTES; i++) {
      if (kinds[i] !== Field.TRACEPARENT) continue;
      const value = this.#text(offsets[i * 5 + 2], offsets[i * 5 + 3]);
      return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(value)?.[1] ?? '';
    }
    return '';
  }

  /**
   * The client's address by X-Forwarded-For, or by Forwarded where there is none: the last one in it that is not a trusted proxy's, for
   * everything before that is what somebody without trust wrote. `peer` is trusted, so it is a proxy that overwrites or extends both.
   */
  protected forwardedAddress(peer: string, isTrusted: (address: string) => boolean): string {
    let client = peer;
    const hops = this.#hops();
    for (let hop = hops.length - 1; hop >= 0; hop--) {
      if (hops[hop] === '') return client;
      client = hops[hop];
      if (!isTrusted(client)) return client;
    }
    return client;
  }

  #hops(): string[] {
    const hops = this.#values(Field.X_FORWARDED_FOR).flatMap((value) => value.split(',').map(hopAddress));
    return hops.length > 0 ? hops : this.#values(Field.FORWARDED).flatMap(forwardedHops);
  }

  #values(kind: number): string[] {
    const { kinds, offsets, headerCount } = this.head;
    const values: string[] = [];
    for (let i = 0; i < headerCount && this.bytes !== NO_BYTES; i++)
      if (kinds[i] === kind) values.push(this.#text(offsets[i * 5 + 2], offsets[i * 5 + 3]));
    return values;
  }

  /**
   * Whether any line of Upgrade names HTTP itself or TLS. RFC 9113 §3.1 obsoletes h2c by upgrade; passed on, it would carry requests past
   * routing.
   */
  protected get upgradesToHttp(): boolean {
    return this.#values(Field.UPGRADE).some((value) => /(^|,)[ \t]*(h2c?|http|tls)[ \t]*(\/|,|$)/i.test(value));
  }

  /** Whether the client says that the request may be sent again (draft-ietf-httpapi-idempotency-key-header). */
  get hasIdempotencyKey(): boolean {
    const { kinds, headerCount } = this.head;
    for (let i = 0; i < headerCount; i++) if (kinds[i] === Field.IDEMPOTENCY_KEY) return true;
    return false;
  }

  /** First value of a header, or null. `name` in lower case. */
  header(name: string): string | null {
    const { offsets, headerCount } = this.head;
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
