import { createServer, type Server, type Socket } from 'node:net';

/** A TCP endpoint of a test. */
export interface TcpOrigin extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  /** Every connection so far. */
  readonly sockets: readonly Socket[];
  /** Connections open now. */
  readonly open: number;
  /** Ends all of it now. */
  close(): Promise<void>;
  /** Takes no more connections and lets those that are open finish. */
  stopListening(): void;
}

/** Starts a TCP endpoint that treats every connection so. Half-closing is left to the handler. */
export async function tcpOrigin(
  handle: (socket: Socket) => void,
  { port = 0, host = '127.0.0.1' }: { port?: number; host?: string } = {},
): Promise<TcpOrigin> {
  const sockets: Socket[] = [];
  const live = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.push(socket);
    live.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => live.delete(socket));
    handle(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const bound = (server.address() as { port: number }).port;
  const close = async () => {
    for (const socket of live) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  return {
    address: `${host}:${bound}`,
    port: bound,
    sockets,
    get open() {
      return live.size;
    },
    close,
    stopListening: () => void server.close(),
    [Symbol.asyncDispose]: close,
  };
}

/** Sends back what comes, and ends when the other side does. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** Says its name to who says anything, once for each piece. */
export function namer(name: string): (socket: Socket) => void {
  return (socket) => {
    socket.on('data', () => socket.write(name));
    socket.on('end', () => socket.end());
  };
}
