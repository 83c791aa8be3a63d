import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { TurnClock } from '../../../src/base/turn-clock.ts';
import { ByteWriter } from '../../../src/proxy/byte-writer.ts';
import { PrivateSockets } from '../../../src/proxy/private-sockets.ts';
import { SocketReader } from '../../../src/proxy/socket-reader.ts';
import { SocketWriter } from '../../../src/proxy/socket-writer.ts';
import { Sockets } from '../../../src/proxy/sockets.ts';
import { eventually } from '../../helpers/eventually.ts';

/** More than the kernel takes for a peer that does not read. */
const LARGE = 16 * 1024 * 1024;

/** Bytes in which no stretch is like another. */
function bytesOf(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0, state = 1; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

it('finds the fast path in the Node that is pinned, and none where a socket is not as expected', () => {
  expect(PrivateSockets.detect(new Socket())).not.toBeNull();
  expect(PrivateSockets.detect({} as Socket)).toBeNull();
});

describe.each([
  { way: 'the fast path', fastPath: true },
  { way: 'the documented API', fastPath: false },
])('a socket read and written by $way', ({ fastPath }) => {
  const clock = new ManualClock();
  let sockets: Sockets;
  let server: Server;
  let peer: Socket;
  let accepted: Socket;

  beforeEach(async () => {
    sockets = new Sockets(new TurnClock(clock));
    expect(sockets.use(fastPath)).toBe(fastPath);
    server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    peer = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
    peer.on('error', () => {});
    [accepted] = (await once(server, 'connection')) as [Socket];
    accepted.on('error', () => {});
  });

  afterEach(async () => {
    peer.destroy();
    accepted.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  function readerOf(onBytes: (bytes: Buffer, reader: SocketReader) => void): SocketReader {
    const reader: SocketReader = new SocketReader(sockets, (bytes) => onBytes(bytes, reader));
    reader.open(accepted, true);
    return reader;
  }

  /** What the peer gets, whole. */
  function gathered(): Buffer[] {
    const pieces: Buffer[] = [];
    peer.on('data', (bytes: Buffer) => pieces.push(bytes));
    return pieces;
  }

  const length = (pieces: readonly Buffer[]) => pieces.reduce((sum, piece) => sum + piece.length, 0);

  it('hands over every byte in order, and the end', async () => {
    const sent = bytesOf(3 * 1024 * 1024 + 17);
    const pieces: Buffer[] = [];
    let ended = false;
    accepted.on('end', () => (ended = true));
    readerOf((bytes) => pieces.push(Buffer.from(bytes)));
    for (const size of [1, 40, 16 * 1024 + 1, 5]) await new Promise((done) => peer.write(sent.subarray(0, size), done));
    peer.end(sent);
    await eventually(() => ended);
    const all = Buffer.concat(pieces);
    expect(all.length).toBe(sent.length + 1 + 40 + 16 * 1024 + 1 + 5);
    expect(all.subarray(-sent.length).equals(sent)).toBe(true);
  });

  it('never writes again to bytes that were taken', async () => {
    const sent = bytesOf(4 * 1024 * 1024);
    const taken: Buffer[] = [];
    let copied = 0;
    readerOf((bytes, reader) => {
      taken.push(reader.isTakeable ? bytes : Buffer.from(bytes));
      if (reader.isTakeable) reader.take();
      else copied += bytes.length;
    });
    peer.end(sent);
    await eventually(() => length(taken) === sent.length);
    expect(Buffer.concat(taken).equals(sent)).toBe(true);
    // What comes in large pieces is copied at most once, at the beginning.
    expect(copied).toBeLessThan(sent.length / 2);
  });

  it('brings nothing while it is paused, and the rest afterwards', async () => {
    let received = 0;
    const reader = readerOf((bytes) => {
      received += bytes.length;
      accepted.pause();
    });
    expect(reader.isTakeable).toBe(!fastPath);
    peer.write(bytesOf(LARGE));
    await eventually(() => received > 0);
    const first = received;
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(received).toBe(first);
    accepted.removeAllListeners('data');
    const count = setInterval(() => accepted.resume(), 1);
    if (!fastPath) accepted.on('data', (bytes: Buffer) => (received += bytes.length));
    await eventually(() => received === LARGE, { timeoutMs: 10_000 });
    clearInterval(count);
  });

  it('stands still in time while bytes are handled', async () => {
    let times: number[] = [];
    readerOf(() => {
      times = [sockets.clock.now(), (clock.advance(5), sockets.clock.now())];
    });
    peer.write('x');
    await eventually(() => times.length === 2);
    expect(times[1]).toBe(times[0]);
    expect(sockets.clock.now()).toBe(times[0] + 5);
  });

  it('is full when its peer does not read, drains when it does, and loses and repeats nothing', async () => {
    peer.pause();
    let drains = 0;
    const writer = new SocketWriter(accepted, sockets, true, () => drains++);
    const together = new ByteWriter();
    const sent: Buffer[] = [];
    let size = 1;
    while (!writer.isFull) {
      const piece = bytesOf(size);
      sent.push(piece);
      together.begin();
      together.piece(piece);
      writer.writeAll(together);
      size = Math.min(size * 2, 256 * 1024);
    }
    expect(writer.isEmpty).toBe(false);
    // The memory it was put together in is used again at once, as for the next connection.
    together.begin();
    together.text('#'.repeat(64 * 1024));
    expect(drains).toBe(0);
    const pieces = gathered();
    peer.resume();
    await eventually(() => drains === 1 && length(pieces) === length(sent));
    expect(writer.isFull).toBe(false);
    expect(writer.isEmpty).toBe(true);
    expect(Buffer.concat(pieces).equals(Buffer.concat(sent))).toBe(true);
    writer.write(Buffer.from('more'));
    await eventually(() => Buffer.concat(pieces).toString('latin1').endsWith('more'));
  });

  it('passes on what it reads while writes wait, byte for byte', async () => {
    const sent = bytesOf(LARGE);
    const writer = new SocketWriter(accepted, sockets, true, () => {});
    const together = new ByteWriter();
    readerOf((bytes, reader) => {
      const isTaken = reader.isTakeable;
      writer.writeBehind(together, bytes, 0, bytes.length, reader);
      // What the next read of another socket does to bytes that nobody took.
      if (!isTaken) bytes.fill('#');
    });
    peer.pause();
    const before = bytesOf(256 * 1024);
    let expected = 0;
    for (; !writer.isFull; expected += before.length) writer.write(before);
    peer.write(sent);
    await eventually(() => accepted.bytesRead === sent.length);
    const pieces = gathered();
    peer.resume();
    await eventually(() => length(pieces) === expected + sent.length, { timeoutMs: 15_000 });
    expect(Buffer.concat(pieces).subarray(expected).equals(sent)).toBe(true);
  });

  it('sends its end behind what waits, and is gone at once when it is destroyed', async () => {
    peer.pause();
    const writer = new SocketWriter(accepted, sockets, true, () => {});
    for (let i = 0; i < 64; i++) writer.write(bytesOf(256 * 1024));
    accepted.end();
    const pieces = gathered();
    let ended = false;
    peer.on('end', () => (ended = true));
    peer.resume();
    await eventually(() => ended, { timeoutMs: 10_000 });
    expect(length(pieces)).toBe(64 * 256 * 1024);
  });

  it('tells by close that its peer reset it within a write, and leaves the server able to close', async () => {
    peer.pause();
    let drains = 0;
    const writer = new SocketWriter(accepted, sockets, true, () => drains++);
    while (!writer.isFull) writer.write(bytesOf(256 * 1024));
    let closed = false;
    accepted.on('close', () => (closed = true));
    peer.resetAndDestroy();
    await eventually(() => closed);
    expect(drains).toBe(0);
    writer.write(Buffer.from('late'));
    expect(await new Promise((resolve) => server.getConnections((_, count) => resolve(count)))).toBe(0);
  });
});
