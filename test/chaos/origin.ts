import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocketServer } from 'ws';

const BLOCK = Buffer.from(Array.from({ length: 65_536 }, (_, i) => i % 251));

/** The byte at a place of every download, so that a client sees a gap or a repetition. */
export function byteAt(offset: number): number {
  return BLOCK[offset % BLOCK.length];
}

/** An endpoint that can be restarted at its port: `/` answers, `/download?bytes=N` sends a pattern, WebSockets echo. */
export class ChaosOrigin {
  port = 0;
  #server: ReturnType<typeof createServer> | null = null;
  readonly #sockets = new Set<Socket>();

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://chaos');
      if (url.pathname !== '/download') return void response.end('0123456789');
      const bytes = Number(url.searchParams.get('bytes'));
      response.setHeader('content-length', bytes);
      send(response, bytes);
    });
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
    server.keepAliveTimeout = 65_000;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Without regard for what is open: whoever restarts it has drained it. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

function send(response: import('node:http').ServerResponse, bytes: number): void {
  let sent = 0;
  const more = () => {
    while (sent < bytes) {
      const block = BLOCK.subarray(0, Math.min(BLOCK.length, bytes - sent));
      sent += block.length;
      if (!response.write(block)) return;
    }
    response.end();
  };
  response.on('drain', more);
  more();
}
