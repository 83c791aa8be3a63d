/** Writes one frame of ZooKeeper's encoding (jute): big-endian numbers, everything of variable length with its length before it. */
export class JuteWriter {
  readonly #parts: Buffer[] = [];
  #length = 0;

  int(value: number): this {
    const part = Buffer.allocUnsafe(4);
    part.writeInt32BE(value);
    return this.#add(part);
  }

  long(value: bigint): this {
    const part = Buffer.allocUnsafe(8);
    part.writeBigInt64BE(value);
    return this.#add(part);
  }

  bool(value: boolean): this {
    return this.#add(Buffer.of(value ? 1 : 0));
  }

  bytes(value: Uint8Array): this {
    this.int(value.length);
    return this.#add(value as Buffer);
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value));
  }

  texts(values: readonly string[]): this {
    this.int(values.length);
    for (const value of values) this.text(value);
    return this;
  }

  /** All that was written, with the frame's length in front. */
  frame(): Buffer {
    const head = Buffer.allocUnsafe(4);
    head.writeInt32BE(this.#length);
    return Buffer.concat([head, ...this.#parts], this.#length + 4);
  }

  #add(part: Buffer): this {
    this.#parts.push(part);
    this.#length += part.length;
    return this;
  }
}

/** Reads one frame, without its length. Throws a RangeError where the frame ends too early. */
export class JuteReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#buffer.length - this.#at;
  }

  int(): number {
    const value = this.#buffer.readInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  long(): bigint {
    const value = this.#buffer.readBigInt64BE(this.#at);
    this.#at += 8;
    return value;
  }

  bool(): boolean {
    const value = this.#buffer.readUInt8(this.#at);
    this.#at += 1;
    return value !== 0;
  }

  /** A length of -1 stands for none, which is read as empty. */
  bytes(): Buffer {
    const length = Math.max(0, this.int());
    if (length > this.left) throw new RangeError(`a field of ${length} bytes where ${this.left} are left`);
    this.#at += length;
    return this.#buffer.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return this.bytes().toString();
  }

  texts(): string[] {
    const count = Math.max(0, this.int());
    // Each takes four bytes at least: a count beyond that is no count.
    if (count * 4 > this.left) throw new RangeError(`${count} fields where ${this.left} bytes are left`);
    return Array.from({ length: count }, () => this.text());
  }
}
