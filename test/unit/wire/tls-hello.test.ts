import { connect, createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { HelloStatus, TlsHello } from '../../../src/wire/tls-hello.ts';

/** The first flight of Node's own TLS client. */
async function helloOf(servername: string, protocols?: string[]): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const server = createServer((socket: Socket) => socket.once('data', (bytes) => resolve(bytes as Buffer)));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  const transport = connect({ port, host: '127.0.0.1' });
  const client = connectTls({ socket: transport, servername, ALPNProtocols: protocols });
  client.on('error', () => {});
  const bytes = await promise;
  client.destroy();
  transport.destroy();
  server.close();
  return bytes;
}

/** The same handshake message in records of other sizes. */
function recut(hello: Buffer, sizes: readonly number[]): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0, i = 0; at < message.length; i++) {
    const size = Math.min(sizes[i] ?? message.length, message.length - at);
    records.push(Buffer.from([22, 3, 1, size >> 8, size & 255]), message.subarray(at, at + size));
    at += size;
  }
  return Buffer.concat(records);
}

const read = (bytes: Buffer) => {
  const hello = new TlsHello();
  return { status: hello.read(bytes), serverName: hello.serverName, protocols: hello.protocols };
};

describe('a TLS hello', () => {
  let hello: Buffer;

  beforeAll(async () => {
    hello = await helloOf('db.Example.com', ['h2', 'postgresql']);
  });

  it('tells name and protocols, and nothing before it is whole', () => {
    const whole = { status: HelloStatus.COMPLETE, serverName: 'db.example.com', protocols: ['h2', 'postgresql'] };
    for (let i = 0; i < hello.length; i++) expect(read(hello.subarray(0, i)).status).toBe(HelloStatus.INCOMPLETE);
    expect(read(hello)).toEqual(whole);
  });

  it('is read from any records it may be cut into', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 20 }), (sizes) => {
        const cut = recut(hello, sizes);
        expect(read(cut)).toMatchObject({ status: HelloStatus.COMPLETE, serverName: 'db.example.com' });
        expect(read(cut.subarray(0, cut.length - 1)).status).toBe(HelloStatus.INCOMPLETE);
      }),
    );
  });

  it('without a name or protocols is a hello, too', async () => {
    expect(read(await helloOf(''))).toEqual({ status: HelloStatus.COMPLETE, serverName: '', protocols: [] });
  });

  it('never takes what was changed for whole by reading past it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: hello.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const changed = Buffer.from(hello);
        changed[at] = byte;
        const { status, serverName } = read(changed);
        expect([0, 1, 2]).toContain(status);
        if (status === HelloStatus.COMPLETE) expect(serverName).toMatch(/^([a-z0-9_-]+(\.[a-z0-9_-]+)*)?$/);
      }),
    );
  });

  it('is not what other protocols begin with, and their first byte says so', () => {
    for (const first of [
      'GET / HTTP/1.1',
      'SSH-2.0-x',
      '\x00\x00\x00\x08\x04\xd2\x16\x2f',
      '\x16\x02',
      '\x16\x03\x01\x00\x00',
    ])
      expect(read(Buffer.from(first, 'latin1')).status).toBe(HelloStatus.NOT_TLS);
  });

  it('is given up when it is too long, in bytes or in records', () => {
    expect(read(recut(hello, new Array(200).fill(1))).status).toBe(HelloStatus.NOT_TLS);
    const huge = Buffer.from(hello);
    huge.writeUIntBE(100_000, 6, 3);
    expect(read(huge).status).toBe(HelloStatus.NOT_TLS);
  });
});
