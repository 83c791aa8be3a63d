import { lookup } from 'node:dns/promises';
import type { Server } from 'node:net';
import type { AdminOptions } from '../admin/options.ts';
import type { AdminServer } from '../admin/server.ts';
import { parseHostPort } from '../base/literals.ts';
import { nothingToDo, type Prepared } from './prepared.ts';

/** An answer that is on its way (to the reload that moves the API, for one) has so long before the old address is closed. */
const LEAVE_MS = 1000;

/** The admin API at the address the document gives it; moves when a reload says so. */
export class AdminDoor {
  readonly #make: (place: { host: string; port: number; token: string }) => AdminServer;
  #server: AdminServer | null = null;
  #bind: string | null = null;
  readonly #leaving = new Map<AdminServer, NodeJS.Timeout>();

  /** `make` builds a server that listens on nothing yet. */
  constructor(make: (place: { host: string; port: number; token: string }) => AdminServer) {
    this.#make = make;
  }

  /**
   * Resolves with `address:port`, null when the document wants none. Rejects with an OperationError when it cannot be had. `inherit` has the listening server
   * of the process before this one.
   */
  async start({ bind, token }: AdminOptions, inherit?: () => Promise<Server>): Promise<string | null> {
    if (bind === null) return null;
    this.#server = this.#makeAt(bind, token);
    this.#bind = bind;
    return this.#server.start(inherit);
  }

  /** As the document in force says it; null when there is none. */
  get bind(): string | null {
    return this.#bind;
  }

  /** What listens, for another process to go on with. */
  get server(): Server | null {
    return this.#server?.server ?? null;
  }

  /** Another process listens here now. */
  leave(): void {
    this.#server?.leave();
  }

  /** Opens a new address if there is one. Rejects with an OperationError when it cannot be had; the old one serves on. */
  async prepare({ bind, token }: AdminOptions): Promise<Prepared> {
    const old = this.#server;
    if (old === null && bind === this.#bind) return nothingToDo;
    if (old !== null && (bind === this.#bind || (bind !== null && (await isSamePlace(bind, this.#bind!))))) {
      const commit = () => {
        this.#bind = bind;
        old.setToken(token);
      };
      return { commit, cancel() {} };
    }
    const next = bind === null ? null : this.#makeAt(bind, token);
    await next?.start();
    return {
      commit: () => {
        this.#server = next;
        this.#bind = bind;
        if (old !== null) this.#leave(old);
      },
      cancel: () => void next?.close(),
    };
  }

  async close(): Promise<void> {
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    await Promise.all([this.#server, ...this.#leaving.keys()].map((server) => server?.close()));
  }

  #makeAt(bind: string, token: string): AdminServer {
    return this.#make({ ...parseHostPort(bind)!, token });
  }

  #leave(old: AdminServer): void {
    const timer = setTimeout(() => {
      this.#leaving.delete(old);
      void old.close();
    }, LEAVE_MS);
    this.#leaving.set(old, timer);
  }
}

/** Whether two addresses of a document are one: a name and what it stands for. */
async function isSamePlace(one: string, other: string): Promise<boolean> {
  const [a, b] = [parseHostPort(one)!, parseHostPort(other)!];
  if (a.port !== b.port || a.port === 0) return false;
  const addresses = [a, b].map(({ host }) => lookup(host).then(({ address }) => address));
  // A name without an address is told by whoever listens on it.
  const [is, was] = await Promise.all(addresses).catch(() => ['', null]);
  return is === was;
}
