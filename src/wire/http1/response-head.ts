import { Byte, bytesOf, equalsToken, isDigit, isSpace, TEXT, TOKEN } from './byte-class.ts';
import { Field } from './field.ts';
import { FieldSection } from './field-section.ts';
import type { HeadLimits } from './head-status.ts';
import { readVersion, VERSION_BYTES, VersionFault } from './start-line.ts';

/** Seconds beyond which Keep-Alive and Retry-After are cut: a year. */
const MAX_SECONDS = 31_536_000;
const EQUALS = 0x3d;
const TIMEOUT = bytesOf('timeout');

const Part = { VERSION: 0, REASON: 1 } as const;
type Part = (typeof Part)[keyof typeof Part];

/**
 * Reads response heads (RFC 9112) to offsets. One for each upstream connection, used again for every response. Refuses what could be
 * framed in two ways. The fields hold after COMPLETE, until the next `read`.
 */
export class ResponseHead extends FieldSection {
  /** 100…599. */
  status = 0;
  reasonStart = 0;
  reasonEnd = 0;
  /** Seconds from `Keep-Alive: timeout=n`; -1 when there is none. */
  keepAliveTimeoutS = -1;
  /** Seconds from Retry-After; -1 when there is none or it is a date. */
  retryAfterS = -1;

  #part: Part = Part.VERSION;

  constructor(limits: HeadLimits) {
    super(limits, false);
  }

  protected override begin(start: number): void {
    super.begin(start);
    this.#part = Part.VERSION;
    this.keepAliveTimeoutS = -1;
    this.retryAfterS = -1;
  }

  protected override shift(by: number): void {
    super.shift(by);
    this.reasonStart += by;
    this.reasonEnd += by;
  }

  protected override readStartLine(buf: Buffer, bound: number): void {
    if (this.#part === Part.VERSION && !this.#readStatus(buf, bound)) return;
    let p = this.pos;
    while (p < bound && TEXT[buf[p]] !== 0) p++;
    if (p === bound) return void this.#pause(p);
    if (buf[p] !== Byte.CR) return void this.#refuse('control byte in the reason phrase');
    if (p + 1 === bound) return void this.#pause(p);
    if (buf[p + 1] !== Byte.LF) return void this.#refuse('CR without LF');
    this.reasonEnd = p;
    this.beginLines(p + 2);
  }

  /**
   * RFC 9112 §4. The reason phrase may be missing; the space before it too, against the grammar: so many servers send `HTTP/1.1 200` that
   * every client takes it, and it cannot be read in two ways.
   */
  #readStatus(buf: Buffer, bound: number): boolean {
    const minor = readVersion(buf, this.pos, bound);
    if (minor === VersionFault.INCOMPLETE) return this.#pause(this.pos);
    if (minor < 0) return this.#refuse('version is not HTTP/1.0 or HTTP/1.1');
    const digits = this.pos + VERSION_BYTES + 1;
    if (bound >= digits && buf[digits - 1] !== Byte.SP) return this.#refuse('version is not followed by one space');
    for (let p = digits; p < digits + 3 && p < bound; p++)
      if (!isDigit(buf[p])) return this.#refuse('status is not three digits');
    if (bound <= digits + 3) return this.#pause(this.pos);
    this.minor = minor;
    this.status = (buf[digits] - 0x30) * 100 + (buf[digits + 1] - 0x30) * 10 + buf[digits + 2] - 0x30;
    if (this.status < 100 || this.status > 599) return this.#refuse('status is not within 100 and 599');
    const separator = buf[digits + 3];
    if (separator !== Byte.SP && separator !== Byte.CR) return this.#refuse('status is not three digits');
    this.pos = digits + 3 + (separator === Byte.SP ? 1 : 0);
    this.reasonStart = this.pos;
    this.#part = Part.REASON;
    return true;
  }

  protected override inspect(kind: Field, buf: Buffer, start: number, end: number): void {
    if (kind === Field.RETRY_AFTER) this.retryAfterS = secondsAt(buf, start, end) ?? -1;
    else if (kind === Field.KEEP_ALIVE) this.#keepAlive(buf, start, end);
    else super.inspect(kind, buf, start, end);
  }

  /** `timeout=5, max=100`: an older convention (RFC 2068 §19.7.1); what does not fit is passed over. */
  #keepAlive(buf: Buffer, start: number, end: number): void {
    let p = start;
    while (p < end) {
      const name = p;
      while (p < end && TOKEN[buf[p]] !== 0) p++;
      const nameEnd = p;
      while (p < end && buf[p] !== Byte.COMMA) p++;
      if (equalsToken(buf, name, nameEnd, TIMEOUT) && buf[nameEnd] === EQUALS)
        this.keepAliveTimeoutS = secondsAt(buf, nameEnd + 1, p) ?? -1;
      p++;
      while (p < end && isSpace(buf[p])) p++;
    }
  }

  /** RFC 9112 §6.3: these statuses have no body. One that is announced all the same would be taken for the next response. */
  protected override finish(): void {
    if (this.status >= 200 && this.status !== 204) return;
    if (this.chunked || this.contentLength > 0) this.#refuse('a body is announced with a status that has none');
  }

  #pause(p: number): false {
    if (this.atLimit) this.broken('head is too large');
    this.pos = p;
    return false;
  }

  #refuse(detail: string): false {
    this.broken(detail);
    return false;
  }
}

/** The digits in buf[start, end) as seconds, at most MAX_SECONDS; null when they are none. */
function secondsAt(buf: Buffer, start: number, end: number): number | null {
  if (start === end) return null;
  let seconds = 0;
  for (let p = start; p < end; p++) {
    if (!isDigit(buf[p])) return null;
    seconds = Math.min(seconds * 10 + buf[p] - 0x30, MAX_SECONDS);
  }
  return seconds;
}
