import { createServer, type Server, type Socket } from 'node:net';
import { rawClient } from './raw-client.ts';

/** A port that answers every SYN with RST while it is held: another address of the same port listens, this one does not. */
export interface HeldPort extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  close(): Promise<void>;
}

/**
 * An address that refuses connections, and goes on doing so: the port is taken on 127.0.0.9, so that nobody who asks for a free port of
 * 127.0.0.1 is likely to get it meanwhile.
 */
export async function refusingPort(): Promise<HeldPort> {
  const server = createServer();
  const port = await listenOn(server, '127.0.0.9');
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  return { address: `127.0.0.1:${port}`, port, close, [Symbol.asyncDispose]: close };
}

/** An address that takes no connection and refuses none: its accept queue is full, so that a dial waits until its own time is over. */
export async function blackhole(): Promise<HeldPort> {
  const { Worker } = await import('node:worker_threads');
  // The queue must not be emptied: the listening thread is blocked for good.
  const source = `
    const { createServer } = require('node:net');
    const { parentPort } = require('node:worker_threads');
    const server = createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      parentPort.postMessage(server.address().port);
      parentPort.once('message', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
    });`;
  const worker = new Worker(source, { eval: true });
  const port = await new Promise<number>((resolve) => worker.once('message', resolve));
  worker.postMessage('block');
  const fillers: Socket[] = [];
  // Fills the queue: the first connections are taken by the kernel, the first that is not says that it is full.
  for (let i = 0; i < 8; i++) {
    const client = await Promise.race([
      rawClient(port),
      // Behind the events that came meanwhile: after a stall of our own the timer comes before them.
      new Promise<null>((resolve) => setTimeout(() => setImmediate(resolve, null), 150)),
    ]);
    if (client === null) break;
    fillers.push(client.socket);
  }
  const close = async () => {
    for (const socket of fillers) socket.destroy();
    await worker.terminate();
  };
  return { address: `127.0.0.1:${port}`, port, close, [Symbol.asyncDispose]: close };
}

function listenOn(server: Server, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, () => resolve((server.address() as { port: number }).port));
  });
}
