import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A relay in front of a server, by which a test has the network fail. Whoever starts one closes it. */
export interface TcpLink extends AsyncDisposable {
  readonly port: number;
  /** Connections stay, new ones are accepted, and no byte goes through: a host that froze, a cable that was pulled. */
  silence(): void;
  /** Everything goes through again, also what came meanwhile. */
  restore(): void;
  /** Resets every connection; new ones go through. */
  cut(): void;
  /** Ends for good, without a word to either side of what it carried. */
  close(): Promise<void>;
}

export async function startTcpLink(target: number, host = '127.0.0.1'): Promise<TcpLink> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const open = new Set<Socket>();
  let isSilent = false;
  const each = (act: (socket: Socket) => void) => {
    for (const pair of pairs) for (const socket of pair) act(socket);
  };
  const server = createServer((near) => {
    const far = connect(target, host);
    for (const socket of [near, far]) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    }
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near]] as const) {
      from.on('data', (chunk) => to.write(chunk));
      from.on('error', () => {});
      from.on('close', () => {
        pairs.delete(pair);
        // In silence nobody hears that the other side has gone.
        if (!isSilent) to.destroy();
      });
      if (isSilent) from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    // Also those whose other side has gone in silence.
    for (const socket of open) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  return {
    port: (server.address() as { port: number }).port,
    silence() {
      isSilent = true;
      each((socket) => socket.pause());
    },
    restore() {
      isSilent = false;
      each((socket) => socket.resume());
    },
    cut: () => each((socket) => socket.resetAndDestroy()),
    close,
    [Symbol.asyncDispose]: close,
  };
}
