import type { Server, Socket } from 'node:net';
import type { Place } from './listener-set.ts';
import type { Workers } from './workers.ts';

interface Lent extends Pick<Place, 'listener' | 'bind'> {
  readonly row: number;
  readonly server: Server;
  readonly hand: (socket: Socket) => void;
}

/**
 * The workers' listening servers while main holds them, because only main can send them to another process. They accept all the while: what arrives goes
 * back to the worker it would have come to. Borrowed by an upgrade; given back when it comes to nothing.
 */
export class LentServers {
  readonly #workers: Workers;
  #lent: Lent[] = [];
  /** Rows whose servers are still on their way. */
  readonly #owing = new Set<number>();
  #isBorrowing = false;
  #onAll: () => void = () => {};

  constructor(workers: Workers) {
    this.#workers = workers;
  }

  get all(): readonly (Pick<Place, 'listener' | 'bind'> & { readonly server: Server })[] {
    return this.#lent;
  }

  /** Resolves when every thread that serves has lent what it listens on, or has ended. */
  borrow(): Promise<void> {
    this.#isBorrowing = true;
    const rows = this.#workers.serving();
    for (const row of rows) this.#owing.add(row);
    for (const row of rows) this.#workers.post(row, { kind: 'lend' });
    return new Promise((resolve) => {
      this.#onAll = resolve;
      this.#look();
    });
  }

  /** A worker lends one; called in the turn of the loop that brought it. */
  take(row: number, listener: string, bind: string, server: Server): void {
    if (!this.#isBorrowing) return this.#workers.post(row, { kind: 'adopt', listener, bind, server });
    const hand = (socket: Socket) => this.#pass(row, listener, socket);
    // Nothing is read here: at the limit of descriptors a socket may not get over, and what it read after that ends the process.
    (server as Server & { pauseOnConnect: boolean }).pauseOnConnect = true;
    server.on('connection', hand);
    this.#lent.push({ row, listener, bind, server, hand });
  }

  /** A thread has lent everything, or is gone. */
  settled(row: number): void {
    this.#owing.delete(row);
    this.#look();
  }

  /** Everything goes back to where it came from; to another thread where that one is gone. */
  giveBack(): void {
    this.#isBorrowing = false;
    for (const { row, listener, bind, server, hand } of this.#lent) {
      server.off('connection', hand);
      const heir = this.#rowFor(row);
      if (heir === null) server.close();
      else this.#workers.post(heir, { kind: 'adopt', listener, bind, server });
    }
    this.#end();
  }

  /** Another process has them now: closing our end leaves what waits in them to it. */
  close(): void {
    for (const { server } of this.#lent) server.close();
    this.#end();
  }

  #end(): void {
    this.#lent = [];
    this.#owing.clear();
    this.#look();
  }

  #look(): void {
    if (this.#owing.size === 0) this.#onAll();
  }

  #pass(row: number, listener: string, socket: Socket): void {
    const heir = this.#rowFor(row);
    if (heir === null) socket.destroy();
    else this.#workers.post(heir, { kind: 'client', listener, socket });
  }

  #rowFor(row: number): number | null {
    const rows = this.#workers.rows();
    return rows.includes(row) ? row : (this.#workers.serving()[0] ?? rows[0] ?? null);
  }
}
