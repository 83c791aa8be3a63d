import { connect, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  formatProxyHeader,
  type ProxyHeader,
  ProxyHeaderReader,
  ProxyStatus,
  Tlv,
} from '../../src/wire/proxy-protocol.ts';
import { Authority, findOpenssl, type Pair } from '../helpers/certificates.ts';
import { eventually } from '../helpers/eventually.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { RawClient } from '../helpers/raw-client.ts';
import { requireServer } from '../helpers/require-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

const named: ProxyHeader = {
  sourceAddress: '203.0.113.9',
  sourcePort: 4711,
  destinationAddress: '198.51.100.1',
  destinationPort: 443,
  tlvs: [{ type: 0xe1, value: Buffer.from('mine') }],
};
const NAME = 'db.example.com';

describe.skipIf(requireServer('openssl', findOpenssl()))('the PROXY protocol before TLS, in and out', () => {
  let directory: TemporaryDirectory;
  let pair: Pair;
  let endpoint: Server;
  let proxy: RunningProxy;
  /** What the endpoint was told before each handshake. */
  const headers: (ProxyHeader | null)[] = [];
  const sockets = new Set<Socket>();

  /** Reads the header of a connection, then opens its TLS, and hands on what is in it. */
  function secured(onSocket: (socket: TLSSocket, header: ProxyHeader | null) => void): Server {
    const heads = new WeakMap<Socket, ProxyHeader | null>();
    const tls = createTlsServer({ cert: pair.cert, key: pair.key });
    return createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      let bytes: Buffer = Buffer.alloc(0);
      const onReadable = () => {
        bytes = Buffer.concat([bytes, (socket.read() as Buffer | null) ?? Buffer.alloc(0)]);
        const reader = new ProxyHeaderReader();
        if (reader.read(bytes) !== ProxyStatus.COMPLETE) return;
        socket.off('readable', onReadable);
        headers.push(reader.header);
        heads.set(socket, reader.header);
        if (bytes.length > reader.length) socket.unshift(bytes.subarray(reader.length));
        tls.once('secureConnection', (opened: TLSSocket) => {
          opened.on('error', () => {});
          onSocket(opened, heads.get(socket) ?? null);
        });
        tls.emit('connection', socket);
      };
      socket.on('readable', onReadable);
    });
  }

  beforeAll(async () => {
    directory = await temporaryDirectory('proxy-tls');
    const authority = new Authority(directory.path, 'authority');
    pair = authority.issue('db', [NAME]);
    endpoint = secured((socket, header) => {
      const who = `${header?.sourceAddress ?? 'nobody'} ${socket.servername}`;
      // Enough of HTTP for one answer a request; over TCP it is any word and its answer.
      socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${who.length}\r\n\r\n${who}`));
      socket.on('end', () => socket.end());
    });
    await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
    const { port } = endpoint.address() as { port: number };
    const listener = (name: string, protocol: string) => ({
      ...{ name, bind: '127.0.0.1:0', protocol, pool: 'db', proxyProtocol: { from: ['127.0.0.1'] } },
      tls: { certificates: [{ cert: pair.certFile, key: pair.keyFile }] },
    });
    proxy = await startProxy({
      listeners: [listener('tcp', 'tcp'), listener('web', 'http')],
      pools: {
        db: {
          endpoints: [{ address: `127.0.0.1:${port}` }],
          proxyProtocol: 'v2',
          tls: { ca: authority.pair.certFile, serverName: NAME },
        },
      },
      log: { access: 'stdout' },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    for (const socket of sockets) socket.destroy();
    endpoint.close();
    await directory.close();
  });

  /** A client behind a balancer that names it: the header goes ahead of the handshake, cut in two. */
  async function client(listener: string, header: Buffer): Promise<RawClient> {
    const socket = connect({ port: proxy.port(listener), host: '127.0.0.1', noDelay: true });
    await new Promise((resolve) => socket.write(header.subarray(0, 20), resolve));
    socket.write(header.subarray(20));
    const opened = connectTls({ socket, servername: NAME, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => opened.once('secureConnect', resolve).once('error', reject));
    return new RawClient(opened);
  }

  it.each([
    ['v1', 'tcp'],
    ['v2', 'tcp'],
    ['v1', 'web'],
    ['v2', 'web'],
  ] as const)(
    '%s, in a listener of %s: the endpoint learns the client and the name it asked for',
    async (version, listener) => {
      headers.length = 0;
      await using one = await client(listener, formatProxyHeader(version, named));
      expect((await one.ask('GET', '/')).text).toBe(`203.0.113.9 ${NAME}`);
      expect((await one.ask('GET', '/again')).text).toBe(`203.0.113.9 ${NAME}`);
      expect(headers).toHaveLength(1);
      const { tlvs, ...ends } = headers[0]!;
      const { tlvs: sent, ...wanted } = named;
      expect(ends).toEqual(wanted);
      const tlvOf = (type: number) => tlvs.find((tlv) => tlv.type === type)?.value;
      expect(tlvOf(Tlv.AUTHORITY)?.toString()).toBe(NAME);
      expect(tlvOf(Tlv.UNIQUE_ID)).toHaveLength(16);
      expect(tlvOf(0xe1)?.toString()).toBe(version === 'v2' ? sent[0].value.toString() : undefined);
      one.socket.destroy();
      await eventually(() =>
        proxy.accessLines().some((line) => line.listener === listener && line.client === '203.0.113.9'),
      );
    },
  );

  it('TLS without a header, and a header without TLS, come to nothing', async () => {
    const { length } = headers;
    await expect(client('tcp', Buffer.alloc(0))).rejects.toThrow();
    const plain = new RawClient(connect({ port: proxy.port('tcp'), host: '127.0.0.1' }));
    plain.write(formatProxyHeader('v2', named)).write('hello');
    await plain.ended();
    const refused = (reason: string) => proxy.metric('evenkeel_rejected_total', { listener: 'tcp', reason });
    await eventually(async () => (await refused('proxy-protocol')) === 1 && (await refused('tls-handshake')) === 1);
    expect(headers).toHaveLength(length);
  });
});
