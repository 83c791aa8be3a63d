import type { ByteWriter } from '../byte-writer.ts';

const CRLF = Buffer.from('\r\n');
const LAST = Buffer.from('0\r\n');

/** Appends `bytes[start, end)` as one chunk (RFC 9112 §7.1). Nothing for an empty range: an empty chunk would end the body. */
export function writeChunk(writer: ByteWriter, bytes: Buffer, start: number, end: number): void {
  if (end === start) return;
  writer.number(end - start, 16);
  writer.piece(CRLF);
  writer.bytes(bytes, start, end);
  writer.piece(CRLF);
}

/** Appends the end of a chunked body; `trailers` are validated lines. */
export function writeLastChunk(writer: ByteWriter, trailers: string): void {
  writer.piece(LAST);
  if (trailers !== '') writer.text(trailers);
  writer.piece(CRLF);
}
