/** A message of a length beyond this is refused: 10 000 endpoints with long metadata fit. */
const MAX_MESSAGE = 64 * 1024 * 1024;

/** One gRPC message on the wire: a byte that says whether it is compressed, four of length, the message. */
export function grpcFrame(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Puts the messages of one gRPC stream together again, however its bytes are cut. */
export class GrpcFrames {
  #rest: Buffer = Buffer.alloc(0);

  /** The messages that are whole with these bytes. Throws when a message is compressed (we never offer that) or too long. */
  push(chunk: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: Buffer[] = [];
    let at = 0;
    while (this.#rest.length - at >= 5) {
      if (this.#rest[at] !== 0) throw new RangeError('a compressed gRPC message');
      const length = this.#rest.readUInt32BE(at + 1);
      if (length > MAX_MESSAGE) throw new RangeError(`a gRPC message of ${length} bytes`);
      if (this.#rest.length - at - 5 < length) break;
      messages.push(this.#rest.subarray(at + 5, at + 5 + length));
      at += 5 + length;
    }
    this.#rest = this.#rest.subarray(at);
    return messages;
  }
}
