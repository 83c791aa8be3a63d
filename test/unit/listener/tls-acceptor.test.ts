import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import type { ListenerTls } from '../../../src/listener/options.ts';
import { TlsAcceptor } from '../../../src/listener/tls-acceptor.ts';
import { Authority, findOpenssl } from '../../helpers/certificates.ts';
import { eventually } from '../../helpers/eventually.ts';
import { freePort } from '../../helpers/ports.ts';
import { requireServer } from '../../helpers/require-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../helpers/temporary-directory.ts';

describe.skipIf(requireServer('openssl', findOpenssl()))('the handshakes of a listener', () => {
  let directory: TemporaryDirectory;
  let acceptor: TlsAcceptor;
  let server: Server;
  let told: string[];
  let accepted: Socket[];
  let secured: TLSSocket[];
  let ca: string;

  beforeEach(async () => {
    directory = await temporaryDirectory('tls-acceptor');
    const authority = new Authority(directory.path, 'authority');
    const { cert, key } = authority.issue('shop', ['shop.test']);
    ca = authority.pair.cert;
    told = [];
    secured = [];
    acceptor = new TlsAcceptor('web', new TimerWheel(50), {
      began: () => told.push('began'),
      ended: () => told.push('ended'),
      failed: () => told.push('failed'),
      secured: (socket) => void secured.push(socket),
    });
    const options: ListenerTls = { certificates: [{ cert, key }], minVersion: 'TLSv1.2', clientCertificates: 'off' };
    acceptor.configure(options, new Uint8Array(48));
    accepted = [];
    server = createServer((socket) => {
      accepted.push(socket);
      acceptor.accept(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  afterEach(async () => {
    acceptor.cut();
    for (const socket of secured) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    await directory.close();
  });

  const portOf = () => (server.address() as { port: number }).port;

  async function dial(localPort: number): Promise<Socket> {
    const socket = connect({ port: portOf(), host: '127.0.0.1', localPort });
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }

  it('end once each, also when a client resets one and comes back from the same port before its end is noticed', async () => {
    const localPort = await freePort();
    const first = await dial(localPort);
    first.write(Buffer.from([22, 3, 1]));
    await eventually(() => accepted[0]?.bytesRead === 3);
    // The reset and the new connection are both there when the loop looks next: the old transport's close comes last.
    first.resetAndDestroy();
    const transport = connect({ port: portOf(), host: '127.0.0.1', localPort });
    const second = connectTls({ socket: transport, servername: 'shop.test', ca });
    second.on('error', () => {});
    await once(second, 'secureConnect');
    await eventually(() => secured.length === 1);
    expect(acceptor.handshakes).toBe(0);
    expect(told.filter((word) => word === 'began')).toHaveLength(2);
    expect(told.filter((word) => word === 'ended')).toHaveLength(2);
    expect(told.filter((word) => word === 'failed')).toHaveLength(1);
    second.destroy();
  });
});
