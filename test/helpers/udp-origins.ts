import { createSocket, type Socket } from 'node:dgram';
import type { FaceOrigins } from './face-stories.ts';

/** UDP endpoints of a test, named a, b, c…; each answers every datagram with its name. Closed together. */
export async function startUdpOrigins(count: number): Promise<FaceOrigins> {
  const all = await Promise.all(Array.from({ length: count }, (_, i) => startOne('abcdef'[i])));
  return {
    ...all,
    settings: all.map(({ address }) => ({ address })),
    async [Symbol.asyncDispose]() {
      for (const { close } of all) await close();
    },
  };
}

async function startOne(name: string) {
  const socket: Socket = createSocket('udp4', (_, from) => socket.send(name, from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  let isOpen = true;
  const close = async () => {
    if (isOpen) socket.close();
    isOpen = false;
  };
  return { port, address: `127.0.0.1:${port}`, close };
}

/** Sends one datagram from a port of its own; what came back. Rejects when nothing does. */
export async function askByUdp(port: number, text = 'who?', timeoutMs = 10_000): Promise<string> {
  const socket = createSocket('udp4');
  try {
    return await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      socket.on('error', reject);
      socket.on('message', (bytes) => {
        clearTimeout(timer);
        resolve(bytes.toString());
      });
      socket.send(text, port, '127.0.0.1');
    });
  } finally {
    socket.close();
  }
}
