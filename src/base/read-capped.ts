import { open } from 'node:fs/promises';

const PIECE_BYTES = 64 * 1024;

/**
 * A file's bytes, read in pieces: it may be a pipe or a device, whose size nobody knows beforehand. Rejects with Node's error, or with one that says that it is longer
 * than `maxBytes`.
 */
export async function readCapped(path: string, maxBytes: number): Promise<Buffer> {
  await using handle = await open(path, 'r');
  const pieces: Buffer[] = [];
  for (let total = 0; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(PIECE_BYTES));
    if (bytesRead === 0) return Buffer.concat(pieces);
    pieces.push(buffer.subarray(0, bytesRead));
    total += bytesRead;
    if (total > maxBytes) throw new Error(`it is longer than the ${maxBytes} bytes that are read`);
  }
}
