import type { Server as HttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';

/**
 * Keeps listening in the place of a registry's HTTP server that has stopped answering: nobody who connects is refused, nobody is read. Ends when the server
 * opens again, or when another process has taken over.
 */
export class ClosedDoor {
  readonly #server: Server;
  #waiting: Socket[] = [];
  readonly #hold = (socket: Socket): void => void this.#waiting.push(socket);
  #onClient = this.#hold;

  /** From now on `http` accepts nothing; its connections go on. */
  constructor(http: HttpServer) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    this.#server.on('connection', (socket) => this.#onClient(socket));
    // A server that listens on another one's handle accepts in its place.
    this.#server.listen(http);
  }

  /** Gives those who wait, and all who still come, to `onClient`; not before this turn of the loop has ended. */
  give(onClient: (socket: Socket) => void): Server {
    setImmediate(() => {
      this.#onClient = onClient;
      for (const socket of this.#waiting.splice(0)) onClient(socket);
    });
    return this.#server;
  }

  /** Who was to answer is gone: who comes from now on waits again. */
  hold(): void {
    this.#onClient = this.#hold;
  }

  /** Lets another HTTP server answer, beginning with those who waited. */
  open(http: HttpServer): void {
    http.listen(this.#server);
    this.#onClient = () => {};
    for (const socket of this.#waiting.splice(0)) {
      http.emit('connection', socket);
      socket.resume();
    }
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#waiting.splice(0)) socket.destroy();
  }
}
