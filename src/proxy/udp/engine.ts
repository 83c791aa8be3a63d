import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Clock } from '../../base/clock.ts';
import { formatHostPort } from '../../base/literals.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Pool } from '../../pool/pool.ts';
import type { RouteCells } from '../../routing/route-cells.ts';
import { type ListenerCells, REASONS, type Reason } from '../listener-cells.ts';
import type { SessionSink } from '../session-record.ts';
import { UdpSession } from './udp-session.ts';

/** What a UDP listener is to its sessions. Replaced as a whole by a reload: a session goes on with the settings it began with. */
export interface UdpSettings {
  readonly listenerName: string;
  readonly route: { readonly name: string; readonly pool: Pool; readonly cells: RouteCells };
  /** ms without a datagram either way after which a session is over. */
  readonly idleMs: number;
  /** Answers to each datagram; null: unknown, a session ends by its idle time alone. 0: the endpoint never answers. */
  readonly replies: number | null;
  /** Every datagram is a session of its own. */
  readonly perPacket: boolean;
  /** Sessions at once, over all workers; 0 = no limit. */
  readonly sessions: number;
  readonly processIsFull: () => boolean;
}

/** What a worker shares among its UDP listeners. */
export interface UdpContext {
  /** This worker's row in shared memory. */
  readonly row: number;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
}

/** While an address is given up it is closed when it has been quiet for this long, or at the latest after the second. */
const QUIET_MS = 200;
const GIVE_UP_MS = 5000;
/** Of the kernel's receive queue: datagrams that come while this thread is busy wait there. */
const RECEIVE_BYTES = 1024 * 1024;

/** Addresses are numbers already. */
export function noLookup(host: string, _: unknown, done: (error: null, address: string, family: number) => void): void {
  done(null, host, host.includes(':') ? 6 : 4);
}

export function socketType(host: string): 'udp4' | 'udp6' {
  return host.includes(':') ? 'udp6' : 'udp4';
}

interface Door {
  readonly socket: Socket;
  /** Whose datagrams come here; another one after a reload that gives the address to another listener. */
  engine: UdpEngine;
  readonly sessions: Set<UdpSession>;
  /** Those of a client's address and port; none where each datagram is a session. */
  readonly clients: Map<string, UdpSession>;
  lastMs: number;
  leavingSinceMs: number;
}

/**
 * Carries UDP for one listener in one worker: one socket an address, shared with the other workers by the kernel's hash of both ends (SO_REUSEPORT), so
 * that a client's datagrams come to the same worker while the workers are the same. Answers leave from the address that was asked.
 */
export class UdpEngine {
  readonly context: UdpContext;
  readonly cells: ListenerCells;
  settings: UdpSettings;
  /** Null when no access log is kept. */
  access: SessionSink | null;
  readonly #doors = new Map<string, Door>();
  #leaving: Door[] = [];
  #sessions = 0;
  /** Sessions that have sent all they ever will, to where nobody answers: they wait for a refusal alone. The eldest first. */
  readonly spare = new Set<UdpSession>();

  constructor(settings: UdpSettings, cells: ListenerCells, context: UdpContext, access: SessionSink | null) {
    this.settings = settings;
    this.cells = cells;
    this.context = context;
    this.access = access;
  }

  get binds(): readonly string[] {
    return [...this.#doors.keys()];
  }

  /** Whether a socket is open, or a session goes on at an address that another engine has now: no session outlives its socket. */
  get isActive(): boolean {
    return this.#doors.size + this.#leaving.length + this.#sessions > 0;
  }

  /** Takes datagrams on an address. `done` is called once, with null or with why it cannot be had. */
  listen(bind: string, host: string, port: number, done: (error: Error | null) => void): void {
    const socket = createSocket({
      type: socketType(host),
      reusePort: true,
      ipv6Only: host.includes(':') && host !== '::',
      recvBufferSize: RECEIVE_BYTES,
      lookup: noLookup as never,
    });
    const door: Door = { socket, engine: this, sessions: new Set(), clients: new Map(), lastMs: 0, leavingSinceMs: 0 };
    let tell: typeof done | null = done;
    const once = (error: Error | null) => {
      tell?.(error);
      tell = null;
    };
    // Later ones are about one client's answer, which is lost as on the way.
    socket.on('error', (error) => {
      if (tell === null) return;
      door.engine.#doors.delete(bind);
      socket.close();
      once(error);
    });
    socket.on('message', (bytes, from) => door.engine.#onDatagram(door, bytes, from));
    this.#doors.set(bind, door);
    socket.bind({ address: host, port, exclusive: true }, () => once(null));
  }

  #onDatagram(door: Door, bytes: Buffer, from: RemoteInfo): void {
    const { settings, cells, context } = this;
    door.lastMs = context.clock.now();
    cells.bytesIn(context.row, bytes.length);
    // Nobody to answer (RFC 768): nothing can be sent to such a port.
    if (from.port === 0) return this.rejected('bad-request');
    const key = settings.perPacket ? '' : formatHostPort(from.address, from.port);
    const known = door.clients.get(key);
    if (known !== undefined && !known.isStranded(door.lastMs)) return known.onClientBytes(bytes, door.lastMs);
    known?.end('');
    if (this.#isFull(settings) && !this.makeRoom()) return this.rejected('connections');
    const session = new UdpSession(this, settings, door.socket, from, () => {
      if (door.clients.get(key) === session) door.clients.delete(key);
      door.sessions.delete(session);
      cells.closed(context.row);
      this.#sessions--;
    });
    cells.opened(context.row);
    this.#sessions++;
    door.sessions.add(session);
    if (!settings.perPacket) door.clients.set(key, session);
    session.onClientBytes(bytes, door.lastMs);
  }

  #isFull({ processIsFull, sessions }: UdpSettings): boolean {
    return processIsFull() || (sessions > 0 && this.cells.connectionsActive >= sessions);
  }

  /** Ends a session whose place another one needs more. False when there is none. */
  makeRoom(): boolean {
    const [eldest] = this.spare;
    eldest?.onSent();
    return eldest !== undefined;
  }

  rejected(reason: Reason): void {
    this.cells.rejected(this.context.row, REASONS.indexOf(reason));
  }

  /** Gives an address to another engine, open as it is: what waits there is not lost, and sessions go on as they began. */
  giveTo(heir: UdpEngine, bind: string): void {
    const door = this.#doors.get(bind);
    if (door === undefined) return;
    this.#doors.delete(bind);
    door.engine = heir;
    heir.#doors.set(bind, door);
  }

  /** Gives an address up: it is closed when nobody waits for an answer there and no datagram has come for a moment. */
  stopSoon(bind: string): void {
    const door = this.#doors.get(bind);
    if (door === undefined) return;
    this.#doors.delete(bind);
    door.leavingSinceMs = this.context.clock.now();
    this.#leaving.push(door);
  }

  /** Called at every wheel tick. */
  tick(nowMs: number): void {
    if (this.#leaving.length === 0) return;
    this.#leaving = this.#leaving.filter((door) => {
      const isQuiet = nowMs - Math.max(door.lastMs, door.leavingSinceMs) >= QUIET_MS;
      const isAwaited = [...door.sessions].some((session) => session.isAwaiting);
      if ((!isQuiet || isAwaited) && nowMs - door.leavingSinceMs < GIVE_UP_MS) return true;
      this.#close(door);
      return false;
    });
  }

  #close({ socket, sessions }: Door): void {
    for (const session of sessions) session.end('');
    socket.close();
  }

  /** Ends everything now. */
  cut(): void {
    for (const door of [...this.#doors.values(), ...this.#leaving]) this.#close(door);
    this.#doors.clear();
    this.#leaving = [];
  }
}
