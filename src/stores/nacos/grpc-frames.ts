/** A message of a length beyond this is refused: 10 000 endpoints with long metadata fit. */
const MAX_MESSAGE = 64 * 1024 * 1024;

/** Before each message: whether it is compressed, and its length. */
const HEAD = 5;

/** One gRPC message on the wire: a byte that says whether it is compressed, four of length, the message. */
export function grpcFrame(message: Buffer): Buffer {
  const head = Buffer.alloc(HEAD);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Puts the messages of one gRPC stream together again, however its bytes are cut. Bytes of a message that is not whole are joined once, when it is. */
export class GrpcFrames {
  #parts: Buffer[] = [];
  #length = 0;
  /** Bytes there must be before there is anything to read. */
  #needed = HEAD;

  /** The messages that are whole with these bytes. Throws when a message is compressed (we never offer that) or too long. */
  push(chunk: Buffer): Buffer[] {
    this.#parts.push(chunk);
    this.#length += chunk.length;
    const messages: Buffer[] = [];
    if (this.#length < this.#needed) return messages;
    const bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
    let at = 0;
    this.#needed = HEAD;
    while (bytes.length - at >= HEAD) {
      const length = HEAD + lengthAt(bytes, at);
      if (bytes.length - at < length) {
        this.#needed = length;
        break;
      }
      messages.push(bytes.subarray(at + HEAD, at + length));
      at += length;
    }
    this.#parts = [bytes.subarray(at)];
    this.#length = bytes.length - at;
    return messages;
  }
}

function lengthAt(bytes: Buffer, at: number): number {
  if (bytes[at] !== 0) throw new RangeError('a compressed gRPC message');
  const length = bytes.readUInt32BE(at + 1);
  if (length > MAX_MESSAGE) throw new RangeError(`a gRPC message of ${length} bytes`);
  return length;
}
