import { createSocket, type Socket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startProxy } from '../helpers/proxy.ts';

const open = new Set<Socket>();

async function bound(port = 0): Promise<Socket> {
  const socket = createSocket('udp4');
  open.add(socket);
  // Nobody is there for a moment.
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve));
  return socket;
}

/** Answers every datagram with what it got. */
async function echo(): Promise<string> {
  const socket = await bound();
  socket.on('message', (bytes, { port, address }) => socket.send(bytes, port, address));
  return `127.0.0.1:${socket.address().port}`;
}

/** One that nobody has now: a port that is written down stays the same, whatever the listener is called. */
async function freePort(): Promise<number> {
  const socket = await bound();
  const { port } = socket.address();
  open.delete(socket);
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

/** Sends a datagram of a client of its own again and again until it comes back. */
async function isAnswered(port: number): Promise<void> {
  const socket = await bound();
  let heard = 0;
  socket.on('message', () => heard++);
  await eventually(() => {
    socket.send('x', port, '127.0.0.1');
    return heard > 0;
  });
}

describe('an address of datagrams over reloads', () => {
  afterEach(() => {
    for (const socket of open) socket.close();
    open.clear();
  });

  const document = (listeners: object, address: string, workers = 2) => ({
    runtime: { workers },
    listeners: Object.entries(listeners).map(([name, bind]) => ({ name, bind, protocol: 'udp', pool: 'echo' })),
    pools: { echo: { endpoints: [{ address }] } },
  });

  it('is answered on by the listener that has it now, renamed or another one', async () => {
    const address = await echo();
    const ports = [await freePort(), await freePort()];
    const [one, two] = ports.map((port) => `127.0.0.1:${port}`);
    await using proxy = await startProxy(document({ before: [one], other: [two] }, address));
    const sessions = () => proxy.metric('evenkeel_connections_active', { listener: 'after' });
    /** Sockets that are given up answer, too, until they are closed. */
    const isServed = (port: number, known: number) =>
      eventually(async () => {
        await isAnswered(port);
        return (await sessions()) > known;
      });
    await isAnswered(ports[0]);
    await proxy.write(document({ after: [one], other: [two] }, address));
    expect(await proxy.reload()).toBe('reloaded');
    await isServed(ports[0], 0);
    await proxy.write(document({ after: [one, two] }, address));
    expect(await proxy.reload()).toBe('reloaded');
    await isServed(ports[1], await sessions());
  });
});
