/** What is known of a ClientHello after the bytes so far. */
export const HelloStatus = { INCOMPLETE: 0, COMPLETE: 1, NOT_TLS: 2 } as const;
export type HelloStatus = (typeof HelloStatus)[keyof typeof HelloStatus];

/** A ClientHello larger than this is refused; browsers send 2 KiB, post-quantum keys included. */
const MAX_BYTES = 16 * 1024;
/** Records a ClientHello may be cut into. */
const MAX_RECORDS = 32;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ALPN = 16;
/** A host name as RFC 6066 §3 wants it: ASCII, no trailing dot. */
const NAME = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;

/**
 * Reads the first flight of a TLS client (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1) without taking it: the bytes go on as they came. Used by the TCP
 * engine for routes by name. `read` is given everything that came so far, from the first byte; after COMPLETE `serverName` and `protocols` hold.
 */
export class TlsHello {
  /** In lower case, '' when the client names none. */
  serverName = '';
  /** ALPN names, in the client's order. */
  protocols: readonly string[] = [];

  read(bytes: Buffer): HelloStatus {
    const hello = joinRecords(bytes);
    if (typeof hello === 'number') return hello;
    const reader = new HelloReader(hello);
    if (!reader.readHello()) return HelloStatus.NOT_TLS;
    this.serverName = reader.serverName;
    this.protocols = reader.protocols;
    return HelloStatus.COMPLETE;
  }
}

/** The handshake message without its records, or why there is none yet. */
function joinRecords(bytes: Buffer): Buffer | HelloStatus {
  const parts: Buffer[] = [];
  let have = 0;
  let wanted = -1;
  for (let at = 0, records = 0; wanted < 0 || have < wanted; records++) {
    if (at < bytes.length && bytes[at] !== HANDSHAKE) return HelloStatus.NOT_TLS;
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return HelloStatus.NOT_TLS;
    if (at >= MAX_BYTES || records >= MAX_RECORDS) return HelloStatus.NOT_TLS;
    if (at + 5 > bytes.length) return HelloStatus.INCOMPLETE;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_BYTES) return HelloStatus.NOT_TLS;
    const part = bytes.subarray(at + 5, at + 5 + length);
    if (have === 0 && part.length > 0 && part[0] !== CLIENT_HELLO) return HelloStatus.NOT_TLS;
    parts.push(part);
    have += part.length;
    at += 5 + length;
    if (wanted < 0 && have >= 4) {
      wanted = 4 + Buffer.concat(parts).readUIntBE(1, 3);
      if (wanted > MAX_BYTES) return HelloStatus.NOT_TLS;
    }
    if (part.length < length && (wanted < 0 || have < wanted)) return HelloStatus.INCOMPLETE;
  }
  // Nothing may follow it in its record: the client has nothing to say before the server has (RFC 8446 §5.1).
  return have === wanted ? Buffer.concat(parts) : HelloStatus.NOT_TLS;
}

/** A cursor over one whole handshake message; `isBad` once a length does not fit. */
class HelloReader {
  serverName = '';
  protocols: string[] = [];
  readonly #bytes: Buffer;
  #at = 4;
  #isBad = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  readHello(): boolean {
    const end = this.#bytes.length;
    if (this.#number(2, end) >> 8 !== 3) return false;
    this.#skip(32, end);
    const session = this.#number(1, end);
    if (session > 32) return false;
    this.#skip(session, end);
    const suites = this.#number(2, end);
    if (suites < 2 || suites % 2 !== 0) return false;
    this.#skip(suites, end);
    const compressions = this.#number(1, end);
    if (compressions < 1) return false;
    this.#skip(compressions, end);
    if (!this.#isBad && this.#at < end) this.#readExtensions(end);
    return !this.#isBad && this.#at === end;
  }

  #readExtensions(end: number): void {
    if (this.#number(2, end) !== end - this.#at) return this.#fail();
    const seen = new Set<number>();
    while (!this.#isBad && this.#at < end) {
      const type = this.#number(2, end);
      const stop = this.#number(2, end) + this.#at;
      if (stop > end || seen.has(type)) return this.#fail();
      seen.add(type);
      if (type === SERVER_NAME) this.#readServerName(stop);
      else if (type === ALPN) this.#readProtocols(stop);
      else this.#at = stop;
      if (this.#at !== stop) this.#fail();
    }
  }

  #readServerName(stop: number): void {
    if (this.#number(2, stop) !== stop - this.#at || this.#number(1, stop) !== 0) return this.#fail();
    const name = this.#text(this.#number(2, stop), stop).toLowerCase();
    if (name.length > 255 || !NAME.test(name)) return this.#fail();
    this.serverName = name;
  }

  #readProtocols(stop: number): void {
    if (this.#number(2, stop) !== stop - this.#at || this.#at === stop) return this.#fail();
    while (!this.#isBad && this.#at < stop) {
      const length = this.#number(1, stop);
      if (length === 0) return this.#fail();
      this.protocols.push(this.#text(length, stop));
    }
  }

  #number(size: number, end: number): number {
    if (this.#isBad || this.#at + size > end) {
      this.#fail();
      return 0;
    }
    this.#at += size;
    return this.#bytes.readUIntBE(this.#at - size, size);
  }

  #text(length: number, end: number): string {
    const start = this.#at;
    this.#skip(length, end);
    return this.#isBad ? '' : this.#bytes.toString('latin1', start, start + length);
  }

  #skip(length: number, end: number): void {
    if (this.#at + length > end) this.#fail();
    else this.#at += length;
  }

  #fail(): void {
    this.#isBad = true;
  }
}
