import { portOf, readAuthority, sameAuthority } from './authority.ts';
import { Byte, bytesOf, equalsToken, TARGET, TARGET_PATH, TOKEN } from './byte-class.ts';
import { Field } from './field.ts';
import { FieldSection } from './field-section.ts';
import type { HeadLimits, HeadReason } from './head-status.ts';
import { Method, methodOf } from './method.ts';
import { beginsWith, readVersion, VERSION_BYTES, VersionFault } from './start-line.ts';

/** RFC 9112 §3.2. */
export const TargetForm = { ORIGIN: 0, ABSOLUTE: 1, AUTHORITY: 2, ASTERISK: 3 } as const;
export type TargetForm = (typeof TargetForm)[keyof typeof TargetForm];

/** Longest method; to a longer one the answer is 501 (RFC 9112 §3). */
const METHOD_BYTES = 32;
const SLASH = 0x2f;
const ASTERISK = 0x2a;
const CONTINUE = bytesOf('100-continue');
const HTTP = bytesOf('http://');
const HTTPS = bytesOf('https://');

const Part = { EMPTY_LINE: 0, METHOD: 1, TARGET: 2, VERSION: 3 } as const;
type Part = (typeof Part)[keyof typeof Part];

/**
 * Reads request heads (RFC 9112) to offsets. One for each client connection, used again for every request; the engine calls `read` when
 * bytes arrive. Refuses whatever two parsers could take differently; never repairs. The fields hold after COMPLETE, until the next `read`.
 */
export class RequestHead extends FieldSection {
  method: Method = Method.OTHER;
  methodStart = 0;
  methodEnd = 0;
  /** The target as it was sent. */
  targetStart = 0;
  targetEnd = 0;
  form: TargetForm = TargetForm.ORIGIN;
  /** The path without the query. Empty in authority-form and for an absolute-form without a path, which means `/` (`*` for OPTIONS). */
  pathStart = 0;
  pathEnd = 0;
  /** The query without '?'; empty when there is none. */
  queryStart = 0;
  queryEnd = 0;
  /** The effective host with its port, as sent: the target's authority, else Host. Empty when an HTTP/1.0 request has none. */
  hostStart = 0;
  hostEnd = 0;
  /** Expect: 100-continue in an HTTP/1.1 request (RFC 9110 §10.1.1). Any other expectation, and a second one, is refused: who knows it less strictly waits, or does not. */
  expectContinue = false;

  /** After ERROR: what the client is answered. */
  errorStatus = 0;
  errorReason: HeadReason = 'bad-request';

  #part: Part = Part.EMPTY_LINE;
  /** Offset of the first '?' of the target; -1 when there is none. */
  #question = -1;
  #hasHost = false;
  #defaultPort = 80;

  constructor(limits: HeadLimits) {
    super(limits, true);
  }

  protected override begin(start: number): void {
    super.begin(start);
    this.#part = Part.EMPTY_LINE;
    this.#question = -1;
    this.#hasHost = false;
    this.hostStart = start;
    this.hostEnd = start;
    this.expectContinue = false;
  }

  protected override shift(by: number): void {
    super.shift(by);
    this.methodStart += by;
    this.methodEnd += by;
    this.targetStart += by;
    this.targetEnd += by;
    this.pathStart += by;
    this.pathEnd += by;
    this.queryStart += by;
    this.queryEnd += by;
    this.hostStart += by;
    this.hostEnd += by;
    if (this.#question >= 0) this.#question += by;
  }

  protected override readStartLine(buf: Buffer, bound: number): void {
    if (this.#part === Part.EMPTY_LINE && !this.#readEmptyLine(buf, bound)) return;
    if (this.#part === Part.METHOD && !this.#readMethod(buf, bound)) return;
    if (this.#part === Part.TARGET && !this.#readTarget(buf, bound)) return;
    this.#readVersion(buf, bound);
  }

  /** RFC 9112 §2.2: one empty line before the request line is skipped, as some clients send one after a body. */
  #readEmptyLine(buf: Buffer, bound: number): boolean {
    let p = this.pos;
    if (p === bound) return this.#pause(p);
    if (buf[p] === Byte.CR) {
      if (p + 1 === bound) return this.#pause(p);
      if (buf[p + 1] !== Byte.LF) return this.#refuse('CR without LF');
      p += 2;
    }
    this.pos = p;
    this.methodStart = p;
    this.#part = Part.METHOD;
    return true;
  }

  #readMethod(buf: Buffer, bound: number): boolean {
    const start = this.methodStart;
    let p = this.pos;
    while (p < bound && TOKEN[buf[p]] !== 0) p++;
    if (p - start > METHOD_BYTES) {
      this.fail(501, 'not-implemented', 'method is too long');
      return false;
    }
    if (p === bound) return this.#pause(p);
    if (p === start || buf[p] !== Byte.SP) return this.#refuse('method is not a token followed by one space');
    this.methodEnd = p;
    this.method = methodOf(buf, start, p);
    this.targetStart = p + 1;
    this.pos = p + 1;
    this.#part = Part.TARGET;
    return true;
  }

  #readTarget(buf: Buffer, bound: number): boolean {
    const start = this.targetStart;
    const most = start + this.limits.target + 1;
    const stop = most < bound ? most : bound;
    let p = this.pos;
    if (this.#question < 0) {
      while (p < stop && TARGET_PATH[buf[p]] !== 0) p++;
      if (p < stop && buf[p] === Byte.QUESTION) this.#question = p;
    }
    if (this.#question >= 0) while (p < stop && TARGET[buf[p]] !== 0) p++;
    if (p === most || (p === bound && this.atLimit)) {
      this.fail(414, 'uri-too-long', 'target is too long');
      return false;
    }
    if (p === bound) return this.#pause(p);
    if (p === start || buf[p] !== Byte.SP) return this.#refuse('byte not allowed in the target');
    this.targetEnd = p;
    this.pos = p + 1;
    this.#part = Part.VERSION;
    return true;
  }

  #readVersion(buf: Buffer, bound: number): void {
    const minor = readVersion(buf, this.pos, bound);
    const end = this.pos + VERSION_BYTES;
    if (minor === VersionFault.UNSUPPORTED) return this.fail(505, 'version-not-supported', 'version is not HTTP/1');
    if (minor === VersionFault.MALFORMED) return this.fail(400, 'bad-request', 'version is malformed');
    if (minor === VersionFault.INCOMPLETE || end === bound) return void this.#pause(this.pos);
    if (buf[end] !== Byte.CR) return this.fail(400, 'bad-request', 'version is not followed by CRLF');
    if (end + 1 === bound) return void this.#pause(this.pos);
    if (buf[end + 1] !== Byte.LF) return this.fail(400, 'bad-request', 'CR without LF');
    this.minor = minor;
    if (this.#judgeTarget(buf)) this.beginLines(end + 2);
  }

  /** RFC 9112 §3.2: which form the target has, whether the method may have it, and where its parts are. */
  #judgeTarget(buf: Buffer): boolean {
    const first = buf[this.targetStart];
    const question = this.#question;
    this.pathStart = this.targetStart;
    this.pathEnd = question < 0 ? this.targetEnd : question;
    this.queryStart = question < 0 ? this.targetEnd : question + 1;
    this.queryEnd = this.targetEnd;
    if (this.method === Method.CONNECT) return this.#judgeAuthorityForm(buf);
    if (first === SLASH) {
      this.form = TargetForm.ORIGIN;
      return true;
    }
    if (first !== ASTERISK) return this.#judgeAbsoluteForm(buf);
    this.form = TargetForm.ASTERISK;
    if (this.targetEnd - this.targetStart !== 1) return this.#refuse('target is of no known form');
    return this.method === Method.OPTIONS || this.#refuse('asterisk-form without OPTIONS');
  }

  #judgeAuthorityForm(buf: Buffer): boolean {
    this.form = TargetForm.AUTHORITY;
    this.pathEnd = this.pathStart;
    this.hostStart = this.targetStart;
    this.hostEnd = this.targetEnd;
    const nameEnd = readAuthority(buf, this.hostStart, this.hostEnd);
    if (nameEnd < 0 || this.hostEnd - nameEnd < 2) return this.#refuse('CONNECT without host:port');
    // A Host without a port means this one.
    this.#defaultPort = portOf(buf, nameEnd, this.hostEnd);
    return true;
  }

  #judgeAbsoluteForm(buf: Buffer): boolean {
    const start = this.targetStart;
    const isHttp = beginsWith(buf, start, this.targetEnd, HTTP);
    if (!isHttp && !beginsWith(buf, start, this.targetEnd, HTTPS)) return this.#refuse('target is of no known form');
    this.form = TargetForm.ABSOLUTE;
    this.#defaultPort = isHttp ? 80 : 443;
    this.hostStart = start + (isHttp ? HTTP.length : HTTPS.length);
    let p = this.hostStart;
    while (p < this.pathEnd && buf[p] !== SLASH) p++;
    this.hostEnd = p;
    this.pathStart = p;
    return readAuthority(buf, this.hostStart, p) >= 0 || this.#refuse('authority of the target is not valid');
  }

  protected override inspect(kind: Field, buf: Buffer, start: number, end: number): void {
    if (kind === Field.HOST) this.#host(buf, start, end);
    else if (kind === Field.EXPECT) this.#expect(buf, start, end);
    else super.inspect(kind, buf, start, end);
  }

  /** RFC 9110 §10.1.1: 417 for what is not known; in HTTP/1.0 it is ignored, so it must not go on as HTTP/1.1 either. */
  #expect(buf: Buffer, start: number, end: number): void {
    if (this.minor === 0) this.kinds[this.headerCount - 1] = Field.NAMED_BY_CONNECTION;
    else if (this.expectContinue) this.fail(400, 'bad-request', 'Expect is repeated');
    else if (equalsToken(buf, start, end, CONTINUE)) this.expectContinue = true;
    else this.fail(417, 'bad-request', 'expectation other than 100-continue');
  }

  /** RFC 9112 §3.2. In absolute-form RFC 9112 §3.2.2 would have Host ignored; another parser may not, so a difference is refused. */
  #host(buf: Buffer, start: number, end: number): void {
    if (this.#hasHost) return this.fail(400, 'bad-request', 'Host is repeated');
    this.#hasHost = true;
    if (readAuthority(buf, start, end) < 0) return this.fail(400, 'bad-request', 'Host is not valid');
    if (this.form === TargetForm.ORIGIN || this.form === TargetForm.ASTERISK) {
      this.hostStart = start;
      this.hostEnd = end;
    } else if (!sameAuthority(buf, this.hostStart, this.hostEnd, start, end, this.#defaultPort)) {
      this.fail(400, 'bad-request', 'Host differs from the target');
    }
  }

  protected override finish(): void {
    if (!this.#hasHost && this.minor === 1) return this.fail(400, 'bad-request', 'Host is missing');
    // RFC 9110 §9.3.6, §9.3.8: neither has content, and who reads none would take it for the next request.
    if ((this.method === Method.TRACE || this.method === Method.CONNECT) && (this.chunked || this.contentLength >= 0))
      this.fail(400, 'bad-request', 'content in TRACE or CONNECT');
  }

  /** The path was brought to a form that ends at `pathEnd`: what follows it in the target moves up. */
  shortenPath(buf: Buffer, pathEnd: number): void {
    const by = this.pathEnd - pathEnd;
    buf.copyWithin(pathEnd, this.pathEnd, this.targetEnd);
    this.pathEnd = pathEnd;
    this.queryStart -= by;
    this.queryEnd -= by;
    this.targetEnd -= by;
  }

  #pause(p: number): false {
    if (this.atLimit) this.fail(431, 'head-too-large', 'head is too large');
    this.pos = p;
    return false;
  }

  protected override fail(status: number, reason: HeadReason, detail: string): void {
    super.fail(status, reason, detail);
    this.errorStatus = status;
    this.errorReason = reason;
  }

  #refuse(detail: string): false {
    this.fail(400, 'bad-request', detail);
    return false;
  }
}
