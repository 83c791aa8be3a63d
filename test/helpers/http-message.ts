/** Header lines of one message, in their order and case. */
export class Fields {
  readonly lines: readonly (readonly [name: string, value: string])[];

  constructor(lines: readonly (readonly [string, string])[]) {
    this.lines = lines;
  }

  /** Every value of this name, in their order. */
  all(name: string): string[] {
    return this.lines.filter(([one]) => one.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  }

  /** The values of this name, joined by `, `; undefined when there is none. */
  get(name: string): string | undefined {
    const values = this.all(name);
    return values.length === 0 ? undefined : values.join(', ');
  }

  get names(): string[] {
    return this.lines.map(([name]) => name.toLowerCase());
  }
}

export interface Head {
  readonly startLine: string;
  readonly fields: Fields;
  /** Offset of the first byte behind the head. */
  readonly end: number;
}

/** Reads a head that begins at `from`; null while it is not whole. Throws on a line that is no header. */
export function parseHead(bytes: Buffer, from = 0): Head | null {
  const end = bytes.indexOf('\r\n\r\n', from, 'latin1');
  if (end < 0) return null;
  const [startLine, ...rest] = bytes.toString('latin1', from, end).split('\r\n');
  return { startLine, fields: new Fields(rest.map(parseLine)), end: end + 4 };
}

function parseLine(line: string): [string, string] {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
  if (match === null) throw new Error(`not a header line: ${JSON.stringify(line)}`);
  return [match[1], match[2]];
}

/** A body by `transfer-encoding: chunked`; bytes are fed as they come. Throws on malformed framing. */
export class ChunkedDecoder {
  trailers = new Fields([]);
  done = false;
  #buffer: Buffer = Buffer.alloc(0);
  #left = -1;

  /** Calls `onData` with each piece of payload; returns what is behind the body, once it is done. */
  feed(bytes: Buffer, onData: (piece: Buffer) => void): Buffer {
    this.#buffer = this.#buffer.length === 0 ? bytes : Buffer.concat([this.#buffer, bytes]);
    while (!this.done && this.#step(onData));
    const rest = this.#buffer;
    if (this.done) this.#buffer = Buffer.alloc(0);
    return this.done ? rest : Buffer.alloc(0);
  }

  #step(onData: (piece: Buffer) => void): boolean {
    if (this.#left > 0) return this.#payload(onData);
    const end = this.#buffer.indexOf('\r\n', 0, 'latin1');
    if (end < 0) return false;
    const line = this.#buffer.toString('latin1', 0, end);
    if (this.#left === 0) {
      if (line !== '') throw new Error(`no CRLF behind a chunk: ${JSON.stringify(line.slice(0, 40))}`);
      this.#left = -1;
      this.#buffer = this.#buffer.subarray(2);
      return true;
    }
    if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`no chunk size: ${JSON.stringify(line.slice(0, 40))}`);
    const size = Number.parseInt(line, 16);
    if (size > 0) {
      this.#left = size;
      this.#buffer = this.#buffer.subarray(end + 2);
      return true;
    }
    return this.#trailerSection();
  }

  #payload(onData: (piece: Buffer) => void): boolean {
    if (this.#buffer.length === 0) return false;
    const piece = this.#buffer.subarray(0, this.#left);
    this.#buffer = this.#buffer.subarray(piece.length);
    this.#left -= piece.length;
    onData(piece);
    return true;
  }

  /** The line of the last chunk and the trailers behind it are built like a head. */
  #trailerSection(): boolean {
    const head = parseHead(this.#buffer, 0);
    if (head === null) return false;
    this.trailers = head.fields;
    this.#buffer = this.#buffer.subarray(head.end);
    this.done = true;
    return true;
  }
}

/** `bytes` as one chunk. */
export function chunk(bytes: string | Buffer): Buffer {
  const piece = Buffer.from(bytes as string);
  return Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
}

/** `size` bytes that repeat after a prime number, so that a lost or doubled piece shows. */
export function patternBytes(size: number): Buffer {
  return Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, i) => i)));
}
