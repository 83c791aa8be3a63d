import { Byte, bytesOf, equalsToken, isDigit, isSpace, TEXT, TOKEN } from './byte-class.ts';
import { Field, fieldOf, LAST_INSPECTED, Named, whenNamed } from './field.ts';
import { type HeadLimits, type HeadReason, type HeadStatus, Phase, statusOf } from './head-status.ts';
import { skipText, wordsOf } from './text-scan.ts';

/** Integers per header line in `offsets`: nameStart (= start of the line), nameEnd, valueStart, valueEnd, lineEnd (after CRLF). */
export const OFFSETS_PER_LINE = 5;

/** Longest field name; more is 431. */
const NAME_BYTES = 256;
/** Connection options besides close, keep-alive and upgrade that one message may hold: each is compared with every line. */
const NAMED_FIELDS = 16;
/** Room for header lines at the start; doubled up to the limit when a head has more. */
const FIRST_CAPACITY = 32;
/** Bytes at hand from which values are scanned by words. */
const WORDS_FROM = 1024;
/** Largest Content-Length: a petabyte, so that no digit is lost before the comparison. */
const LENGTH_MAX = 1e15;

const CLOSE = bytesOf('close');
const KEEP_ALIVE = bytesOf('keep-alive');
const UPGRADE = bytesOf('upgrade');
const CHUNKED = bytesOf('chunked');

const Option = { CLOSE: 1, KEEP_ALIVE: 2, UPGRADE: 4, OTHER: 8 } as const;

/**
 * The header lines of a message and what they say about framing and persistence: the common part of RequestHead and ResponseHead, which
 * read their first line. Reading stops wherever bytes run out and goes on there at the next call; every byte
 * is classified once. All offsets are into the buffer of the last call. Nothing is thrown and no text is made.
 */
export class FieldSection {
  /** May be replaced between two messages. */
  limits: HeadLimits;
  /** Requests refuse a Connection header that names a field of framing or routing; responses keep such a field and go on. */
  readonly #isRequest: boolean;

  /** Offset after the empty line. */
  end = 0;
  /** HTTP/1.`minor`: 0 or 1. */
  minor = 1;
  /** Bytes of the body; -1 when Content-Length is missing. */
  contentLength = -1;
  chunked = false;
  /** Whether the peer keeps the connection, by version and Connection (RFC 9112 §9.3). */
  keepAlive = true;
  /** Whether Connection names upgrade and an Upgrade field is there; false in HTTP/1.0 (RFC 9110 §7.8). */
  upgrade = false;
  headerCount = 0;
  /** A Field for each header line. Replaced when it has to grow: read it anew for each message. */
  kinds: Uint8Array;
  /** OFFSETS_PER_LINE integers for each header line. Replaced when it has to grow: read it anew for each message. */
  offsets: Int32Array;

  /** Which rule was broken, for the log. A constant text without anything of the peer's. */
  errorDetail = '';

  protected phase: Phase = Phase.FRESH;
  /** Offset of the message's first byte, as the caller gave it. */
  protected origin = 0;
  /** Where reading goes on. */
  protected pos = 0;
  /** Whether the bytes at hand reach the limit for a head, so that running out of them is an error. */
  protected atLimit = false;
  #lineStart = 0;
  /** Offset of the colon of the line being read; -1 while its name is being read. */
  #colon = -1;
  #options = 0;
  #hasUpgrade = false;
  #transferEncoding = false;
  #chunkedCount = 0;
  #otherCoding = false;
  #chunkedLast = false;

  constructor(limits: HeadLimits, isRequest: boolean) {
    this.limits = limits;
    this.#isRequest = isRequest;
    const capacity = limits.headers < FIRST_CAPACITY ? limits.headers : FIRST_CAPACITY;
    this.kinds = new Uint8Array(capacity);
    this.offsets = new Int32Array(capacity * OFFSETS_PER_LINE);
  }

  /** Forgets a head that was read in part or refused. Needless after a complete one. */
  reset(): void {
    this.phase = Phase.FRESH;
  }

  /** Reads buf[start, end), which may hold more than the head. */
  read(buf: Buffer, start: number, end: number): HeadStatus {
    if (this.phase === Phase.FRESH || this.phase === Phase.COMPLETE) this.begin(start);
    else if (start !== this.origin) this.shift(start - this.origin);
    const limit = start + this.limits.headBytes;
    this.atLimit = end >= limit;
    const bound = this.atLimit ? limit : end;
    if (this.phase === Phase.START_LINE) this.readStartLine(buf, bound);
    if (this.phase === Phase.LINES) this.#readLines(buf, bound);
    return statusOf(this.phase);
  }

  protected begin(start: number): void {
    this.phase = Phase.START_LINE;
    this.origin = start;
    this.pos = start;
    this.minor = 1;
    this.contentLength = -1;
    this.chunked = false;
    this.keepAlive = true;
    this.upgrade = false;
    this.headerCount = 0;
    this.#options = 0;
    this.#hasUpgrade = false;
    this.#transferEncoding = false;
    this.#chunkedCount = 0;
    this.#otherCoding = false;
  }

  /** The bytes read so far now lie `by` further on: the caller moved them. */
  protected shift(by: number): void {
    this.origin += by;
    this.pos += by;
    this.#lineStart += by;
    if (this.#colon >= 0) this.#colon += by;
    const count = this.headerCount * OFFSETS_PER_LINE;
    for (let i = 0; i < count; i++) this.offsets[i] += by;
  }

  /** Reads what stands before the header lines, and calls `beginLines` behind it. Each kind of head has its own. */
  protected readStartLine(_buf: Buffer, _bound: number): void {}

  /** The first line ended at `p`. */
  protected beginLines(p: number): void {
    this.phase = Phase.LINES;
    this.pos = p;
    this.#lineStart = p;
    this.#colon = -1;
  }

  /** Reads header lines from `pos` up to the empty line or `bound`. */
  #readLines(buf: Buffer, bound: number): void {
    const isToken = TOKEN;
    const isText = TEXT;
    let p = this.pos;
    const words = bound - p >= WORDS_FROM ? wordsOf(buf) : null;
    let lineStart = this.#lineStart;
    let colon = this.#colon;
    for (;;) {
      if (colon < 0) {
        while (p < bound && isToken[buf[p]] !== 0) p++;
        if (p - lineStart > NAME_BYTES) return this.fail(431, 'head-too-large', 'field name is too long');
        if (p === bound) return this.#pause(p, lineStart, -1);
        if (p === lineStart) {
          if (buf[p] !== Byte.CR) return this.fail(400, 'bad-request', badLineStart(buf[p]));
          if (p + 1 === bound) return this.#pause(p, lineStart, -1);
          if (buf[p + 1] !== Byte.LF) return this.fail(400, 'bad-request', 'CR without LF');
          return this.#finish(buf, p + 2);
        }
        if (buf[p] !== Byte.COLON) return this.fail(400, 'bad-request', badNameEnd(buf[p]));
        if (this.headerCount === this.limits.headers) return this.fail(431, 'head-too-large', 'too many header lines');
        colon = p++;
      }
      if (words !== null) p = skipText(words, buf, p, bound);
      while (p < bound && isText[buf[p]] !== 0) p++;
      if (p === bound) return this.#pause(p, lineStart, colon);
      if (buf[p] !== Byte.CR) return this.fail(400, 'bad-request', badText(buf[p]));
      if (p + 1 === bound) return this.#pause(p, lineStart, colon);
      if (buf[p + 1] !== Byte.LF) return this.fail(400, 'bad-request', 'CR without LF');
      if (!this.#line(buf, lineStart, colon, p)) return;
      p += 2;
      lineStart = p;
      colon = -1;
    }
  }

  #pause(p: number, lineStart: number, colon: number): void {
    if (this.atLimit) return this.fail(431, 'head-too-large', 'head is too large');
    this.pos = p;
    this.#lineStart = lineStart;
    this.#colon = colon;
  }

  /** One whole line, its CR at `p`. False when it is refused. */
  #line(buf: Buffer, lineStart: number, colon: number, p: number): boolean {
    let valueStart = colon + 1;
    while (valueStart < p && isSpace(buf[valueStart])) valueStart++;
    let valueEnd = p;
    while (valueEnd > valueStart && isSpace(buf[valueEnd - 1])) valueEnd--;
    const kind = fieldOf(buf, lineStart, colon);
    const index = this.headerCount++;
    if (index === this.kinds.length) this.#grow();
    this.kinds[index] = kind;
    const offsets = this.offsets;
    const first = index * OFFSETS_PER_LINE;
    offsets[first] = lineStart;
    offsets[first + 1] = colon;
    offsets[first + 2] = valueStart;
    offsets[first + 3] = valueEnd;
    offsets[first + 4] = p + 2;
    if (kind === Field.OTHER || kind > LAST_INSPECTED) return true;
    this.inspect(kind, buf, valueStart, valueEnd);
    return this.phase !== Phase.FAILED;
  }

  #grow(): void {
    const capacity = Math.min(this.kinds.length * 2, this.limits.headers);
    const kinds = new Uint8Array(capacity);
    kinds.set(this.kinds);
    this.kinds = kinds;
    const offsets = new Int32Array(capacity * OFFSETS_PER_LINE);
    offsets.set(this.offsets);
    this.offsets = offsets;
  }

  /** Takes from a field of a known kind what the message's framing needs. Heads add their own kinds. */
  protected inspect(kind: Field, buf: Buffer, start: number, end: number): void {
    switch (kind) {
      case Field.CONNECTION:
        return this.#connection(buf, start, end);
      case Field.CONTENT_LENGTH:
        return this.#contentLength(buf, start, end);
      case Field.TRANSFER_ENCODING:
        return this.#transferCodings(buf, start, end);
      case Field.UPGRADE:
        if (end > start) this.#hasUpgrade = true;
    }
  }

  #connection(buf: Buffer, start: number, end: number): void {
    let p = start;
    while (p < end) {
      if (buf[p] === Byte.COMMA || isSpace(buf[p])) {
        p++;
        continue;
      }
      const option = p;
      while (p < end && TOKEN[buf[p]] !== 0) p++;
      if (equalsToken(buf, option, p, KEEP_ALIVE)) this.#options |= Option.KEEP_ALIVE;
      else if (equalsToken(buf, option, p, CLOSE)) this.#options |= Option.CLOSE;
      else if (equalsToken(buf, option, p, UPGRADE)) this.#options |= Option.UPGRADE;
      else this.#options |= Option.OTHER;
      const optionEnd = p;
      while (p < end && isSpace(buf[p])) p++;
      if (optionEnd === option || (p < end && buf[p] !== Byte.COMMA))
        return this.fail(400, 'bad-request', 'Connection is not a list of tokens');
    }
  }

  /**
   * RFC 9110 §8.6: digits only. Any second Content-Length is refused, be it a line or a list member and even if it is identical: merging
   * is repairing, and what stands behind us may not repair alike.
   */
  #contentLength(buf: Buffer, start: number, end: number): void {
    if (this.contentLength >= 0) return this.fail(400, 'bad-request', 'Content-Length is repeated');
    if (start === end) return this.fail(400, 'bad-request', 'Content-Length is empty');
    let length = 0;
    for (let p = start; p < end; p++) {
      if (!isDigit(buf[p])) return this.fail(400, 'bad-request', 'Content-Length is not a number');
      length = length * 10 + buf[p] - 0x30;
      if (length > LENGTH_MAX) return this.fail(400, 'bad-request', 'Content-Length is too large');
    }
    this.contentLength = length;
  }

  /** RFC 9112 §6.1. The list is judged as a whole in #finish: it may span lines. Empty members and parameters are refused. */
  #transferCodings(buf: Buffer, start: number, end: number): void {
    this.#transferEncoding = true;
    let p = start;
    for (;;) {
      const coding = p;
      while (p < end && TOKEN[buf[p]] !== 0) p++;
      if (p === coding) return this.fail(400, 'bad-request', 'Transfer-Encoding is not a list of codings');
      this.#chunkedLast = equalsToken(buf, coding, p, CHUNKED);
      if (this.#chunkedLast) this.#chunkedCount++;
      else this.#otherCoding = true;
      while (p < end && isSpace(buf[p])) p++;
      if (p === end) break;
      if (buf[p] !== Byte.COMMA) return this.fail(400, 'bad-request', 'Transfer-Encoding is not a list of codings');
      p++;
      while (p < end && isSpace(buf[p])) p++;
    }
    // White space by the grammar, but parsers differ (llhttp refuses it, others take it for part of the coding).
    for (; isSpace(buf[p]); p++)
      if (buf[p] === Byte.HTAB) return this.fail(400, 'bad-request', 'tab behind a transfer coding');
  }

  #finish(buf: Buffer, end: number): void {
    this.end = end;
    if (this.#transferEncoding && !this.#isFramingSound()) return;
    const options = this.#options;
    this.keepAlive =
      (options & Option.CLOSE) === 0 && (this.minor === 1 || (options & Option.KEEP_ALIVE) === Option.KEEP_ALIVE);
    this.upgrade = this.minor === 1 && this.#hasUpgrade && (options & Option.UPGRADE) !== 0;
    if ((options & Option.OTHER) !== 0) this.#markNamed(buf);
    if (this.phase !== Phase.FAILED) this.finish(buf);
    if (this.phase !== Phase.FAILED) this.phase = Phase.COMPLETE;
  }

  /** What a kind of head demands once all lines are read. */
  protected finish(_buf: Buffer): void {}

  #isFramingSound(): boolean {
    if (this.minor === 0) this.fail(400, 'bad-request', 'Transfer-Encoding in HTTP/1.0');
    else if (this.contentLength >= 0) this.fail(400, 'bad-request', 'Transfer-Encoding with Content-Length');
    else if (this.#chunkedCount > 1) this.fail(400, 'bad-request', 'chunked is repeated');
    else if (!this.#chunkedLast) this.fail(400, 'bad-request', 'chunked is not the final transfer coding');
    else if (this.#otherCoding) this.fail(501, 'not-implemented', 'transfer coding other than chunked');
    else this.chunked = true;
    return this.chunked;
  }

  /** Marks the lines that Connection names. Rare: only when it holds more than close, keep-alive and upgrade. */
  #markNamed(buf: Buffer): void {
    let named = 0;
    for (let line = 0; line < this.headerCount; line++) {
      if (this.kinds[line] !== Field.CONNECTION) continue;
      const end = this.offsets[line * OFFSETS_PER_LINE + 3];
      let p = this.offsets[line * OFFSETS_PER_LINE + 2];
      while (p < end) {
        const option = p;
        while (p < end && TOKEN[buf[p]] !== 0) p++;
        if (p === option) p++;
        else if (++named > NAMED_FIELDS) return this.fail(400, 'bad-request', 'Connection names too many fields');
        else if (!this.#markOption(buf, option, p)) return;
      }
    }
  }

  #markOption(buf: Buffer, start: number, end: number): boolean {
    const kind = fieldOf(buf, start, end);
    if (whenNamed[kind] === Named.KEPT) return true;
    if (whenNamed[kind] === Named.REFUSED) {
      if (this.#isRequest) this.fail(400, 'bad-request', 'Connection names a field of framing or routing');
      return !this.#isRequest;
    }
    for (let line = 0; line < this.headerCount; line++) {
      if (this.kinds[line] !== kind) continue;
      const nameStart = this.offsets[line * OFFSETS_PER_LINE];
      if (sameToken(buf, start, end, nameStart, this.offsets[line * OFFSETS_PER_LINE + 1]))
        this.kinds[line] = Field.NAMED_BY_CONNECTION;
    }
    return true;
  }

  /** `status` and `reason`: what the sender of a request is answered. The sender of a response is not. */
  protected fail(_status: number, _reason: HeadReason, detail: string): void {
    this.broken(detail);
  }

  protected broken(detail: string): void {
    this.phase = Phase.FAILED;
    this.errorDetail = detail;
  }
}

function sameToken(buf: Buffer, start: number, end: number, otherStart: number, otherEnd: number): boolean {
  if (end - start !== otherEnd - otherStart) return false;
  for (let p = start, q = otherStart; p < end; p++, q++) if (TOKEN[buf[p]] !== TOKEN[buf[q]]) return false;
  return true;
}

function badLineStart(byte: number): string {
  if (isSpace(byte)) return 'line folding';
  if (byte === Byte.COLON) return 'empty field name';
  return byte === Byte.LF ? 'LF without CR' : 'byte not allowed in a field name';
}

function badNameEnd(byte: number): string {
  if (isSpace(byte)) return 'space before the colon';
  return byte === Byte.CR || byte === Byte.LF ? 'header line without a colon' : 'byte not allowed in a field name';
}

function badText(byte: number): string {
  return byte === Byte.LF ? 'LF without CR' : 'control byte in a field value';
}
