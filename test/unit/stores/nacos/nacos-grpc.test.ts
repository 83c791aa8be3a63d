import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../../../src/base/clock.ts';
import { HttpAsker } from '../../../../src/stores/http-asker.ts';
import { NacosGrpc } from '../../../../src/stores/nacos/nacos-grpc.ts';
import { NacosToken } from '../../../../src/stores/nacos/nacos-token.ts';
import { eventually } from '../../../helpers/eventually.ts';
import { NacosPeer } from '../../../helpers/nacos-peer.ts';

/** A client that runs, and what it was told. */
function clientOf(port: number, { onTestFinished }: TestContext): { client: NacosGrpc; told: string[] } {
  const told: string[] = [];
  const user = { username: '', password: '' };
  const asker = new HttpAsker({ addresses: ['http://127.0.0.1:1'], ...user, tls: { verify: true } });
  const client = new NacosGrpc({
    origins: [`http://127.0.0.1:${port}`],
    module: 'naming',
    namespace: 'public',
    tls: { verify: true },
    token: new NacosToken(asker, user, systemClock),
    random: () => 0.1,
    events: {
      connected: () => told.push('connected'),
      lost: (error) => told.push(error.code),
      push: () => {},
    },
  });
  onTestFinished(() => client.close());
  onTestFinished(() => asker.close());
  client.start();
  return { client, told };
}

async function peerOf({ onTestFinished }: TestContext): Promise<NacosPeer> {
  const peer = await NacosPeer.start();
  onTestFinished(() => peer.goAway());
  return peer;
}

it('makes another connection where the server takes no new requests on the one there is', async (t) => {
  const peer = await peerOf(t);
  const { client, told } = clientOf(peer.port, t);
  await eventually(() => client.isConnected);
  peer.drain();
  await eventually(() => expect(told).toEqual(['connected', 'registry-unreachable', 'connected']));
  await expect(client.request('HealthCheckRequest', {})).resolves.toBeDefined();
});

it.for([
  ['encoded', '50%25 of quota'],
  ['as it is', '50% of quota'],
])('tells the reason why a request is refused, where it is written %s', async ([, written], t) => {
  const peer = await peerOf(t);
  const { client } = clientOf(peer.port, t);
  await eventually(() => client.isConnected);
  peer.refusal = written;
  const refused = { code: 'registry-unreachable', message: expect.stringContaining('gRPC 8 50% of quota') };
  await expect(client.request('ServiceQueryRequest', {})).rejects.toMatchObject(refused);
});

/** A server that takes connections and says nothing on them. */
async function muteServer({ onTestFinished }: TestContext): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

it('leaves neither a socket nor a timer of a connection that is being made when it is closed', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const { port, sockets } = await muteServer(t);
  const before = timers();
  const { client, told } = clientOf(port, t);
  await eventually(() => sockets.size === 1);
  client.close();
  await eventually(() => sockets.size === 0, { timeoutMs: 1000 });
  expect(timers()).toBeLessThanOrEqual(before);
  expect(told).toEqual([]);
});
