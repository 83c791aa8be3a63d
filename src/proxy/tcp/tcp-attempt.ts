import type { Socket } from 'node:net';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { Outcome } from '../../endpoint/outcome.ts';
import type { Pool } from '../../pool/pool.ts';
import type { UpstreamDialer } from '../http1/upstream-dialer.ts';
import { isLocalError } from '../local-error.ts';
import { SocketReader } from '../socket-reader.ts';
import { SocketWriter } from '../socket-writer.ts';
import type { Sockets } from '../sockets.ts';

/** Who has the connection to the endpoint. Hears nothing more once the attempt is gone. */
export interface AttemptOwner {
  /** It can be used. */
  onConnected(): void;
  /** Valid during the call only, unless the attempt's reader says that they may be taken. */
  onUpstreamBytes(bytes: Buffer): void;
  onUpstreamEnd(): void;
  /** What was written has gone out, after so much waited that no more should be. */
  onUpstreamDrain(): void;
  /** It is gone, whoever ended it. */
  onUpstreamClose(): void;
}

/**
 * One endpoint's turn at a client's connection: dials it, and tells the pool how it did. Made by TcpConnection for every endpoint that the pool gives it;
 * `release` or `cancel` is called once for each.
 */
export class TcpAttempt {
  readonly endpoint: Endpoint;
  readonly socket: Socket;
  readonly reader: SocketReader;
  readonly writer: SocketWriter;
  /** Clock ms. */
  readonly startedMs: number;
  /** Of dialling; -1 before it is through. */
  connectMs = -1;
  /** Dialling, and from the client's first word to the endpoint's; -1 before. */
  responseMs = -1;
  /** What ended it was our own machine's fault. */
  isLocalFault = false;
  isReleased = false;
  readonly #pool: Pool;
  /** The TCP connection below `socket`, or the very same: only there a reset can be sent. */
  readonly #transport: Socket;
  #owner: AttemptOwner | null;
  /** When the client said its first word to this endpoint; 0 before. */
  #askedMs = 0;
  /** The pool has heard how the endpoint took to answer. */
  #isSettled = false;

  /** `preface` goes before everything else; null for none. */
  constructor(
    endpoint: Endpoint,
    { pool, dialer }: { readonly pool: Pool; readonly dialer: UpstreamDialer },
    owner: AttemptOwner,
    { sockets, nowMs, preface }: { readonly sockets: Sockets; readonly nowMs: number; readonly preface: Buffer | null },
  ) {
    this.endpoint = endpoint;
    this.startedMs = nowMs;
    this.#pool = pool;
    this.#owner = owner;
    this.reader = new SocketReader(sockets, (bytes) => this.#owner?.onUpstreamBytes(bytes));
    const { socket, transport } = dialer.dial(endpoint, this.reader, preface);
    this.socket = socket;
    this.#transport = transport;
    if (socket === transport) this.reader.dialled(socket);
    socket.allowHalfOpen = true;
    this.writer = new SocketWriter(socket, sockets, socket === transport, () => this.#owner?.onUpstreamDrain());
    socket.on(dialer.readyEvent, () => this.#owner?.onConnected());
    socket.on('end', () => this.#owner?.onUpstreamEnd());
    socket.on('error', (error) => {
      this.isLocalFault = isLocalError(error);
    });
    socket.on('close', () => this.#onClose());
  }

  /** Whether nothing of the connection is left. */
  get isGone(): boolean {
    return this.#owner === null;
  }

  #onClose(): void {
    const owner = this.#owner;
    this.#owner = null;
    owner?.onUpstreamClose();
  }

  /** Ends it now; the endpoint sees a reset. A socket that is still being dialled would put its reset off until it is connected. */
  drop(): void {
    if (this.#owner === null) return;
    this.#owner = null;
    if (!this.socket.connecting) this.#transport.resetAndDestroy();
    this.socket.destroy();
  }

  /** The client says no more. `isDone`: neither does the endpoint. */
  end(isDone: boolean): void {
    const { socket } = this;
    // Closing sends the end just as well, and spares a system call and what Node does around it.
    if (isDone && socket === this.#transport && this.writer.isEmpty) socket.destroy();
    else socket.end();
  }

  /** The endpoint took the connection. */
  connected(nowMs: number): void {
    this.connectMs = nowMs - this.startedMs;
    this.#pool.connected(this.endpoint, this.startedMs);
  }

  /** The client says something to the endpoint. */
  asked(nowMs: number): void {
    if (this.#isSettled || this.#askedMs > 0) return;
    this.#askedMs = nowMs;
    this.#pool.asked(this.endpoint, nowMs);
  }

  /** The endpoint says something. Returns whether it is what the pool waited for. */
  answered(nowMs: number): boolean {
    if (this.#isSettled) return false;
    if (this.#askedMs === 0) {
      this.asked(nowMs);
      this.responseMs = nowMs - this.startedMs;
    } else {
      this.responseMs = this.connectMs + nowMs - this.#askedMs;
    }
    this.#isSettled = true;
    this.#pool.answered(this.endpoint, Outcome.OK, this.#askedMs, this.responseMs);
    return true;
  }

  /** No first byte came. One that took the connection and ended it in order has done what was asked. */
  settle(outcome: Outcome, nowMs: number): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (this.connectMs < 0) return this.#pool.answered(this.endpoint, outcome, this.startedMs, nowMs - this.startedMs);
    if (this.#askedMs === 0) this.#pool.asked(this.endpoint, nowMs);
    this.#pool.answered(this.endpoint, outcome, this.#askedMs || nowMs, this.connectMs);
  }

  /** Lets go of the endpoint; tells the pool how it answered if it has not heard yet. */
  release(outcome: Outcome, nowMs: number): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.settle(outcome, nowMs);
    const latencyMs = this.responseMs >= 0 ? this.responseMs : nowMs - this.startedMs;
    const isUnanswered = this.connectMs >= 0 && this.responseMs < 0;
    this.#pool.release(this.endpoint, outcome, isUnanswered ? this.connectMs : latencyMs);
  }

  /** Lets go of the endpoint, and says nothing about it. */
  cancel(): void {
    this.isReleased = true;
    this.#pool.cancel(this.endpoint, this.startedMs);
  }
}
