import { createSocket } from 'node:dgram';
import { promises as dns } from 'node:dns';
import { BoundSocket, createServer, isIP, type Server } from 'node:net';
import { OperationError } from '../base/errors.ts';
import { formatHostPort, parseHostPort } from '../base/literals.ts';
import type { Place } from './listener-set.ts';

/** Workers close an address that is given up within a second, one for datagrams where clients go on sending within five. */
const OWN_WAIT_MS = { tcp: 3000, udp: 7000 };
const OWN_STEP_MS = 25;
/** Connections that wait for a thread; no more outlast the way to it. */
const BACKLOG = 511;

/** One address of a listener, reserved. */
export interface Reserved {
  readonly host: string;
  readonly port: number;
  readonly transport: 'tcp' | 'udp';
}

/**
 * The addresses main has reserved for the listeners, by the text of the document. Every worker gets a socket of its own on each
 * (SO_REUSEPORT): the kernel spreads connections over them, and a worker that dies does not take the address away from the others.
 */
export class Addresses {
  readonly #reserved = new Map<string, Reserved>();
  /** Lately; workers may still have sockets there. */
  readonly #givenUp: Reserved[] = [];

  /**
   * Makes sure that an address is free and ours. Two processes with SO_REUSEPORT share a port silently, so it is bound once without it:
   * a second evenkeel is refused. Rejects with an OperationError when it is taken or cannot be had. Resolves with false when it was ours already.
   */
  async reserve(place: Place): Promise<boolean> {
    const { bind, transport } = place;
    const key = placeKey(place);
    if (this.#reserved.has(key)) return false;
    const { host: name, port } = parseHostPort(bind)!;
    const host = isIP(name) === 0 ? await lookUp(name, bind) : name;
    try {
      const bound = await this.#bindAlone({ host, port, transport });
      this.#reserved.set(key, { host, port: bound, transport });
      return true;
    } catch (error) {
      throw bindError(error as NodeJS.ErrnoException, bind);
    }
  }

  /** Returns the port. What holds an address may be we ourselves: under another name, or given up so lately that the workers still close it. */
  async #bindAlone(wanted: Reserved): Promise<number> {
    const { host, port, transport } = wanted;
    for (let waitedMs = 0; ; waitedMs += OWN_STEP_MS) {
      try {
        if (transport === 'udp') return await bindDatagrams(host, port);
        const socket = new BoundSocket({ host, port });
        const bound = socket.address() as { port: number };
        socket.close();
        return bound.port;
      } catch (error) {
        const isBusy = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
        if (isBusy && [...this.#reserved.values()].some((own) => overlap(own, wanted))) return port;
        const isLeaving = this.#givenUp.some((own) => overlap(own, wanted));
        if (!isBusy || !isLeaving || waitedMs >= OWN_WAIT_MS[transport]) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, OWN_STEP_MS));
    }
  }

  /** Addresses that the process before this one holds for us, by what the document calls them. They count as ours although they cannot be bound alone. */
  inherit(addresses: Readonly<Record<string, Reserved>>): void {
    for (const [key, reserved] of Object.entries(addresses)) this.#reserved.set(key, reserved);
  }

  /** What a successor inherits. */
  get all(): Record<string, Reserved> {
    return Object.fromEntries(this.#reserved);
  }

  release(place: Place): void {
    this.#forget(placeKey(place));
  }

  #forget(key: string): void {
    const reserved = this.#reserved.get(key);
    this.#reserved.delete(key);
    if (reserved === undefined) return;
    this.#givenUp.push(reserved);
    const forget = () => this.#givenUp.splice(this.#givenUp.indexOf(reserved), 1);
    setTimeout(forget, OWN_WAIT_MS[reserved.transport]).unref();
  }

  /** Lets go of every address that is not among these. */
  retain(places: readonly Place[]): void {
    const keys = new Set(places.map(placeKey));
    for (const key of [...this.#reserved.keys()]) if (!keys.has(key)) this.#forget(key);
  }

  /** `address:port` as bound. */
  bound(place: Place): string {
    const reserved = this.#reserved.get(placeKey(place));
    return reserved === undefined ? place.bind : formatHostPort(reserved.host, reserved.port);
  }

  /** A socket for one worker. Throws an OperationError when it cannot be had. */
  socket(place: Place): BoundSocket {
    const { host, port } = this.#reserved.get(placeKey(place))!;
    try {
      return new BoundSocket({ host, port, reusePort: true });
    } catch (error) {
      throw bindError(error as NodeJS.ErrnoException, place.bind);
    }
  }

  /** Where a worker opens its own socket: those for datagrams cannot be sent to it. */
  reserved(place: Place): { readonly host: string; readonly port: number } {
    return this.#reserved.get(placeKey(place))!;
  }
}

/** Listens at once, for a thread that is not there yet: connections wait in its queue. It has to leave this thread before the turn of the loop ends. */
export function listenFor(socket: BoundSocket, onError: (error: Error) => void): Server {
  const server = createServer();
  server.once('error', onError);
  return server.listen(socket, BACKLOG);
}

/** An address is the same whichever listener names it, so that a listener may be renamed; port 0 is another one for each. */
export function placeKey({ listener, bind, transport }: Place): string {
  return `${transport} ${parseHostPort(bind)?.port === 0 ? `${listener}\0${bind}` : bind}`;
}

/** Resolves with the port when nobody else has it; it is free again then. */
function bindDatagrams(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({
      type: host.includes(':') ? 'udp6' : 'udp4',
      ipv6Only: host.includes(':') && host !== '::',
    });
    socket.once('error', reject);
    socket.bind({ address: host, port, exclusive: true }, () => {
      const bound = socket.address().port;
      socket.close(() => resolve(bound));
    });
  });
}

/** Whether two sockets on these would meet; 0.0.0.0 is every IPv4 address, `::` every address. */
function overlap(a: Reserved, b: Reserved): boolean {
  const isAny = (one: string, other: string) => one === '::' || (one === '0.0.0.0' && isIP(other) === 4);
  return (
    a.transport === b.transport &&
    a.port === b.port &&
    (a.host === b.host || isAny(a.host, b.host) || isAny(b.host, a.host))
  );
}

async function lookUp(name: string, bind: string): Promise<string> {
  try {
    return (await dns.lookup(name)).address;
  } catch (error) {
    throw new OperationError('bind', `cannot listen on ${bind}: the name ${name} has no address`, { cause: error });
  }
}

function bindError(error: NodeJS.ErrnoException, bind: string): OperationError {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: 'the address is in use; is another evenkeel running?',
    EACCES: 'permission denied; ports below 1024 need CAP_NET_BIND_SERVICE',
    EADDRNOTAVAIL: 'this machine does not have the address',
  };
  return new OperationError('bind', `cannot listen on ${bind}: ${why[error.code ?? ''] ?? error.message}`, {
    cause: error,
  });
}
