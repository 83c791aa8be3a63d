import { Byte, HEX, TEXT, TOKEN } from './byte-class.ts';

/** What `ChunkedReader.status` says: more bytes are needed, the body and its trailers have ended, or they are malformed. */
export const ChunkedStatus = { MORE: 0, DONE: 1, ERROR: 2 } as const;
export type ChunkedStatus = (typeof ChunkedStatus)[keyof typeof ChunkedStatus];

/** Where payload goes, piece by piece and never copied. Must not call the reader. */
export interface ChunkSink {
  onChunkData(buf: Buffer, start: number, end: number): void;
}

/** Bytes of the extensions of one chunk, bytes of the trailer section, lines of it. */
export interface ChunkedLimits {
  readonly extensionBytes: number;
  readonly trailerBytes: number;
  readonly trailers: number;
}

/** 52 bits, zeros in front included: safe as a number. */
const SIZE_DIGITS = 13;
/** How many times the limit of one chunk's extensions those of a body may exceed its payload. */
const EXCESS = 16;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const State = {
  SIZE: 0,
  EXTENSION_NAME: 1,
  EXTENSION_VALUE: 2,
  QUOTED: 3,
  QUOTED_PAIR: 4,
  QUOTED_END: 5,
  SIZE_LF: 6,
  DATA: 7,
  DATA_CR: 8,
  DATA_LF: 9,
  TRAILER_NAME: 10,
  TRAILER_VALUE: 11,
  TRAILER_LF: 12,
  END_LF: 13,
  DONE: 14,
  ERROR: 15,
} as const;
type State = (typeof State)[keyof typeof State];

/**
 * Fields that mean nothing or harm behind a body: framing, routing, authentication, modifiers, controls, content (RFC 9110 §6.5.1), and
 * what evenkeel itself writes. Names in lower case.
 */
const NOT_IN_TRAILERS = new Set(
  `age authorization cache-control connection content-encoding content-length content-range content-type cookie date expect expires
   forwarded host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location max-forwards pragma
   proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection range retry-after set-cookie te trailer
   transfer-encoding upgrade vary via warning www-authenticate x-real-ip`.split(/\s+/),
);

/**
 * Takes a chunked body apart (RFC 9112 §7.1). One for each direction of a connection, `reset` before each body. Sizes are 1 to 13 hex
 * digits; a line ends with CRLF and nothing else; extensions follow the grammar without its "bad white space", are bounded and discarded. Nothing is thrown, and
 * nothing is allocated unless there are trailers.
 */
export class ChunkedReader {
  status: ChunkedStatus = ChunkedStatus.MORE;
  /** After DONE: the trailer lines worth carrying, `Name: value\r\n…` as latin1 text; '' when there are none. */
  trailers = '';
  /** After ERROR: which rule was broken, for the log. */
  errorDetail = '';

  /** May be replaced between two bodies. */
  limits: ChunkedLimits;
  #state: State = State.SIZE;
  /** Bytes of the chunk's payload still to come; while the size is read, the size so far. */
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  /** Bytes of extensions beyond those of payload, over all chunks so far. */
  #excess = 0;
  /** The trailer section so far; null until a body has one. */
  #trailer: Buffer | null = null;
  #trailerLength = 0;
  #trailerLines = 0;
  /** Bytes of the trailer name, extension name or extension value being read. */
  #partLength = 0;

  constructor(limits: ChunkedLimits) {
    this.limits = limits;
  }

  reset(): void {
    this.status = ChunkedStatus.MORE;
    this.trailers = '';
    this.errorDetail = '';
    this.#state = State.SIZE;
    this.#left = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.#excess = 0;
    this.#trailer = null;
    this.#trailerLength = 0;
    this.#trailerLines = 0;
    this.#partLength = 0;
  }

  /** Feeds buf[start, end). Returns the offset of the first byte not consumed: `end`, or the next message after DONE, or the fault. */
  read(buf: Buffer, start: number, end: number, sink: ChunkSink): number {
    let p = start;
    while (p < end && this.status === ChunkedStatus.MORE) {
      if (this.#state === State.DATA) p = this.#data(buf, p, end, sink);
      else if (this.#state < State.TRAILER_NAME) p = this.#frame(buf, p, end);
      else p = this.#trailerByte(buf[p], p);
    }
    return p;
  }

  #data(buf: Buffer, start: number, end: number, sink: ChunkSink): number {
    const stop = end - start < this.#left ? end : start + this.#left;
    this.#left -= stop - start;
    if (this.#left === 0) this.#state = State.DATA_CR;
    sink.onChunkData(buf, start, stop);
    return stop;
  }

  /** The bytes between payloads: CRLF of the last chunk, size, extensions, CRLF. */
  #frame(buf: Buffer, start: number, end: number): number {
    for (let p = start; p < end; p++) {
      const byte = buf[p];
      switch (this.#state) {
        case State.DATA_CR:
          if (byte !== Byte.CR) return this.#fail(p, 'chunk is not followed by CRLF');
          this.#state = State.DATA_LF;
          break;
        case State.DATA_LF:
          if (byte !== Byte.LF) return this.#fail(p, 'chunk is not followed by CRLF');
          this.#digits = 0;
          this.#state = State.SIZE;
          break;
        case State.SIZE:
          if (HEX[byte] !== 255) {
            if (++this.#digits > SIZE_DIGITS) return this.#fail(p, 'chunk size is too large');
            this.#left = this.#left * 16 + HEX[byte];
            break;
          }
          if (this.#digits === 0) return this.#fail(p, 'chunk size is missing');
          if (byte === Byte.CR) this.#state = State.SIZE_LF;
          else if (byte === SEMICOLON) this.#beginExtension();
          else return this.#fail(p, 'chunk size is malformed');
          break;
        case State.SIZE_LF:
          if (byte !== Byte.LF) return this.#fail(p, 'chunk size is not followed by CRLF');
          if (this.#extensionBytes > 0 && !this.#extensionsFit()) return this.#fail(p, 'chunk extensions are too long');
          this.#state = this.#left === 0 ? State.TRAILER_NAME : State.DATA;
          return p + 1;
        default:
          if (!this.#extensionByte(byte)) return this.#fail(p, 'malformed chunk extension');
          if (byte !== Byte.CR && ++this.#extensionBytes > this.limits.extensionBytes)
            return this.#fail(p, 'chunk extensions are too long');
      }
    }
    return end;
  }

  #beginExtension(): void {
    this.#partLength = 0;
    this.#state = State.EXTENSION_NAME;
  }

  /** A byte of payload in each chunk and a long extension with it: such a body costs everybody more than its sender. */
  #extensionsFit(): boolean {
    this.#excess = Math.max(0, this.#excess + this.#extensionBytes - this.#left);
    this.#extensionBytes = 0;
    return this.#excess <= this.limits.extensionBytes * EXCESS;
  }

  /** A step in `name`, `name=token` or `name="quoted"`, which ';' or CR ends. False when the byte does not fit. */
  #extensionByte(byte: number): boolean {
    switch (this.#state) {
      case State.EXTENSION_NAME:
      case State.EXTENSION_VALUE:
        if (TOKEN[byte] !== 0) this.#partLength++;
        else if (byte === QUOTE && this.#partLength === 0 && this.#state === State.EXTENSION_VALUE)
          this.#state = State.QUOTED;
        else if (this.#partLength === 0) return false;
        else if (byte === EQUALS && this.#state === State.EXTENSION_NAME) {
          this.#partLength = 0;
          this.#state = State.EXTENSION_VALUE;
        } else return this.#endExtension(byte);
        return true;
      case State.QUOTED:
        if (byte === QUOTE) this.#state = State.QUOTED_END;
        else if (byte === BACKSLASH) this.#state = State.QUOTED_PAIR;
        return TEXT[byte] !== 0;
      case State.QUOTED_PAIR:
        this.#state = State.QUOTED;
        return TEXT[byte] !== 0;
      default:
        return this.#endExtension(byte);
    }
  }

  #endExtension(byte: number): boolean {
    this.#partLength = 0;
    this.#state = byte === Byte.CR ? State.SIZE_LF : State.EXTENSION_NAME;
    return byte === Byte.CR || byte === SEMICOLON;
  }

  /** Trailers are rare and short: byte by byte. */
  #trailerByte(byte: number, p: number): number {
    const fault = this.#trailerFault(byte);
    if (fault !== '') return this.#fail(p, fault);
    if (this.#state === State.DONE) {
      this.trailers =
        this.#trailer === null ? '' : keptTrailers(this.#trailer.toString('latin1', 0, this.#trailerLength));
      this.status = ChunkedStatus.DONE;
      return p + 1;
    }
    if (this.#state === State.END_LF) return p + 1;
    if (this.#trailerLength === this.limits.trailerBytes) return this.#fail(p, 'trailers are too long');
    if (this.#trailer === null) this.#trailer = Buffer.allocUnsafe(this.limits.trailerBytes);
    this.#trailer[this.#trailerLength++] = byte;
    return p + 1;
  }

  /** Takes a step in the trailer section; what is wrong with the byte, or ''. */
  #trailerFault(byte: number): string {
    switch (this.#state) {
      case State.TRAILER_NAME:
        if (TOKEN[byte] !== 0) {
          this.#partLength++;
        } else if (this.#partLength === 0) {
          if (byte !== Byte.CR) return 'malformed trailer line';
          this.#state = State.END_LF;
        } else if (byte === Byte.COLON) {
          if (++this.#trailerLines > this.limits.trailers) return 'too many trailers';
          this.#state = State.TRAILER_VALUE;
        } else return 'malformed trailer line';
        return '';
      case State.TRAILER_VALUE:
        if (byte === Byte.CR) this.#state = State.TRAILER_LF;
        else if (TEXT[byte] === 0) return 'control byte in a trailer';
        return '';
      case State.TRAILER_LF:
        this.#partLength = 0;
        this.#state = State.TRAILER_NAME;
        return byte === Byte.LF ? '' : 'CR without LF';
      default:
        this.#state = State.DONE;
        return byte === Byte.LF ? '' : 'CR without LF';
    }
  }

  #fail(p: number, detail: string): number {
    this.#state = State.ERROR;
    this.status = ChunkedStatus.ERROR;
    this.errorDetail = detail;
    return p;
  }
}

/** Whether a field behind a body is worth carrying. */
export function mayTrail(name: string): boolean {
  const folded = name.toLowerCase().replaceAll('_', '-');
  return !NOT_IN_TRAILERS.has(folded) && !/^x-(evenkeel|forwarded)-/.test(folded);
}

/** The lines of a validated trailer section that may be carried, values without the white space around them. */
function keptTrailers(section: string): string {
  let kept = '';
  for (const line of section.split('\r\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    if (colon < 0 || !mayTrail(name)) continue;
    kept += `${name}: ${line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')}\r\n`;
  }
  return kept;
}
