import type { BlockList, Socket } from 'node:net';
import { type TimerWheel, WheelTimer } from '../base/timer-wheel.ts';
import { type ProxyHeader, ProxyHeaderReader, ProxyStatus, unmapped } from '../wire/proxy-protocol.ts';

/** What an acceptor tells of headers. Each that began ends once: before `accepted`, or without it. */
export interface PreambleHooks {
  began(): void;
  ended(): void;
  /** Someone who may not, or a header that is none, or none in time. */
  failed(): void;
  /** The header is through; `header` is null where the balancer in front speaks for itself. What follows it is still to be read. */
  accepted(socket: Socket, header: ProxyHeader | null): void;
}

/** Where the document sets no limit to a head. */
const PREAMBLE_MAX_MS = 60_000;

/** Reads the PROXY protocol header of the accepted connections of one listener in one worker: required from the listed networks, nobody else may connect. */
export class ProxyAcceptor {
  /** ms; 0 = none. */
  preambleMs = 0;
  from: BlockList;
  readonly #wheel: TimerWheel;
  readonly #hooks: PreambleHooks;
  readonly #reading = new Set<Socket>();

  constructor(from: BlockList, wheel: TimerWheel, hooks: PreambleHooks) {
    this.from = from;
    this.#wheel = wheel;
    this.#hooks = hooks;
  }

  /** Connections whose header has not come yet. */
  get waiting(): number {
    return this.#reading.size;
  }

  accept(socket: Socket): void {
    const peer = unmapped(socket.remoteAddress ?? '');
    const ignore = () => {};
    socket.on('error', ignore);
    // Gone already: nobody was refused.
    if (peer === '') return void socket.destroy();
    if (!this.from.check(peer, peer.includes(':') ? 'ipv6' : 'ipv4')) return this.#fail(socket);
    this.#reading.add(socket);
    this.#hooks.began();
    const deadline = new WheelTimer(() => this.#fail(socket));
    this.#wheel.arm(deadline, this.preambleMs > 0 ? this.preambleMs : PREAMBLE_MAX_MS);
    const leave = () => {
      if (!this.#reading.delete(socket)) return;
      this.#wheel.disarm(deadline);
      this.#hooks.ended();
    };
    let held: Buffer | null = null;
    const onReadable = () => {
      const bytes = socket.read() as Buffer | null;
      if (bytes === null) return;
      held = held === null ? bytes : Buffer.concat([held, bytes]);
      const reader = new ProxyHeaderReader();
      const status = reader.read(held);
      if (status === ProxyStatus.ERROR) return this.#fail(socket);
      if (status === ProxyStatus.INCOMPLETE) return;
      socket.off('readable', onReadable);
      socket.off('end', onEnd);
      socket.off('close', leave);
      leave();
      if (reader.length < held.length) socket.unshift(held.subarray(reader.length));
      this.#hooks.accepted(socket, reader.header);
      socket.off('error', ignore);
    };
    // Who connects and leaves without a word is a check.
    const onEnd = () => socket.destroy();
    socket.on('readable', onReadable);
    socket.on('end', onEnd);
    socket.on('close', leave);
  }

  #fail(socket: Socket): void {
    this.#hooks.failed();
    socket.resetAndDestroy();
  }

  /** Ends everything that has not begun. */
  cut(): void {
    for (const socket of [...this.#reading]) socket.destroy();
  }
}
