import type { Socket } from 'node:net';
import { WheelTimer } from '../../base/timer-wheel.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { ChunkedReader, ChunkedStatus } from '../../wire/http1/chunked-reader.ts';
import { HeadStatus } from '../../wire/http1/head-status.ts';
import { Method } from '../../wire/http1/method.ts';
import { ResponseHead } from '../../wire/http1/response-head.ts';
import { isLocalError } from '../local-error.ts';
import { MUCH, SocketReader } from '../socket-reader.ts';
import { SocketWriter } from '../socket-writer.ts';
import type { Sockets } from '../sockets.ts';
import type { UpstreamDialer } from './upstream-dialer.ts';

/** How an upstream connection failed the exchange that uses it. */
export const Failure = { CONNECT: 0, LOCAL: 1, RESET: 2, BAD_RESPONSE: 3 } as const;
export type Failure = (typeof Failure)[keyof typeof Failure];

/** The exchange a connection works for. All calls are synchronous; after `onFailed` or `onResponseEnd` no call follows. */
export interface UpstreamOwner {
  onConnected(): void;
  /** A 1xx head other than 101; `head` is valid during the call. */
  onInterim(head: ResponseHead, bytes: Buffer): void;
  /** The final head; `bytes` and `head` are valid during the call. Returns false when the owner let go of the connection. */
  onResponseHead(head: ResponseHead, bytes: Buffer): boolean;
  /** Payload, without any framing. */
  onResponseBody(bytes: Buffer, start: number, end: number): void;
  /** `trailers` as validated lines, '' when none. `reusable`: the connection may carry another request. */
  onResponseEnd(trailers: string, reusable: boolean): void;
  /** Everything that one read brought was handed over. */
  onReadDone(): void;
  /** Bytes of a tunnel (after 101). */
  onTunnelBytes(bytes: Buffer): void;
  onTunnelEnd(): void;
  onUpstreamDrain(): void;
  onFailed(failure: Failure): void;
}

/** What is expected next from the endpoint. */
const Phase = { IDLE: 0, HEAD: 1, LENGTH: 2, CHUNKED: 3, UNTIL_CLOSE: 4, TUNNEL: 5, CLOSED: 6 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

const RESPONSE_LIMITS = { headBytes: 64 * 1024, headers: 256, target: 0 };
const CHUNK_LIMITS = { extensionBytes: 4096, trailerBytes: 16 * 1024, trailers: 64 };
/** How long an endpoint may take to fetch the last bytes of a tunnel whose client has left. */
const LAST_BYTES_MS = 10_000;
const EMPTY = Buffer.alloc(0);

/** One connection to an endpoint; it carries one exchange at a time, or is idle. Made and kept by UpstreamConnections. */
export class UpstreamConnection {
  readonly endpoint: Endpoint;
  readonly dialer: UpstreamDialer;
  /** The client connection whose requests alone it carries, because a PROXY protocol header names that client; null: anybody's. */
  readonly client: object | null;
  readonly socket: Socket;
  /** Who holds bytes of a response asks here whether they may be taken. */
  readonly reader: SocketReader;
  readonly writer: SocketWriter;
  /** Whether it has carried an exchange before the present one. */
  reused = false;
  connected = false;
  /** Clock ms of the end of the last exchange. */
  idleSinceMs = 0;
  /** Idle time in ms that the endpoint announced (`Keep-Alive: timeout`), 0 when it did not. */
  announcedIdleMs = 0;
  /** Bytes of the present response so far, head included: no retry is possible once there are any. */
  receivedBytes = 0;
  /** Armed while idle. */
  readonly idleTimer: WheelTimer;
  /** The TCP connection, of which `socket` may be the TLS layer. */
  readonly #transport: Socket;
  readonly #onIdleEnd: (connection: UpstreamConnection) => void;
  readonly #head = new ResponseHead(RESPONSE_LIMITS);
  readonly #chunked = new ChunkedReader(CHUNK_LIMITS);
  #owner: UpstreamOwner | null = null;
  #phase: Phase = Phase.IDLE;
  #method: number = Method.GET;
  #held: Buffer = EMPTY;
  #remaining = 0;
  #keepAlive = false;

  /** `onIdleEnd` is called once when the connection ends or times out while idle. */
  constructor(
    endpoint: Endpoint,
    dialer: UpstreamDialer,
    sockets: Sockets,
    onIdleEnd: (connection: UpstreamConnection) => void,
    client: object | null,
    preface: Buffer | null,
  ) {
    this.client = client;
    this.reader = new SocketReader(sockets, (bytes) => this.#onData(bytes));
    const { socket, transport } = dialer.dial(endpoint, this.reader, preface);
    if (socket === transport) this.reader.dialled(socket);
    this.endpoint = endpoint;
    this.dialer = dialer;
    this.socket = socket;
    this.#transport = transport;
    this.#onIdleEnd = onIdleEnd;
    this.idleTimer = new WheelTimer(() => this.#endIdle());
    socket.on(dialer.readyEvent, () => this.#onConnect());
    socket.on('end', () => this.#onEnd());
    this.writer = new SocketWriter(socket, sockets, socket === transport, () => this.#owner?.onUpstreamDrain(), false);
    socket.on('error', (error: NodeJS.ErrnoException) => this.#onError(error));
    socket.on('close', () => this.#onClose());
  }

  get open(): boolean {
    return this.#phase !== Phase.CLOSED;
  }

  /** Gives the connection to an exchange whose request has this method. */
  assign(owner: UpstreamOwner, method: number): void {
    this.#owner = owner;
    this.#method = method;
    this.#phase = Phase.HEAD;
    this.receivedBytes = 0;
    this.#head.reset();
  }

  /** From now on everything is bytes of a tunnel. Called from `onConnected`. */
  beginTunnel(): void {
    this.#phase = Phase.TUNNEL;
  }

  /** Takes the connection back after `onResponseEnd`: it is idle from now on. */
  unassign(): void {
    this.#owner = null;
    this.#phase = Phase.IDLE;
    this.reused = true;
  }

  /** Ends it now; the owner is not told. The endpoint sees a reset if it was still busy with a request. */
  destroy(): void {
    const busy = this.#owner !== null && this.#phase !== Phase.IDLE;
    this.#owner = null;
    this.#phase = Phase.CLOSED;
    if (busy) this.#reset();
    else this.socket.destroy();
  }

  /** A socket that is still being dialled would put its reset off until it is connected, and first send the request it was given. */
  #reset(): void {
    if (this.connected) this.#transport.resetAndDestroy();
    else this.socket.destroy();
  }

  /** Ends it after what was written has gone out; the owner is not told. */
  end(): void {
    this.#owner = null;
    this.#phase = Phase.CLOSED;
    this.socket.setTimeout(LAST_BYTES_MS, () => this.socket.destroy());
    this.socket.end(() => this.socket.destroy());
  }

  #onConnect(): void {
    this.connected = true;
    this.#owner?.onConnected();
  }

  #onData(bytes: Buffer): void {
    const owner = this.#owner;
    if (owner === null) {
      // Bytes nobody asked for: whatever they are, this connection cannot be trusted again.
      this.#endIdle();
      return;
    }
    this.receivedBytes += bytes.length;
    if (this.#phase === Phase.TUNNEL) {
      owner.onTunnelBytes(bytes);
      return;
    }
    let buffer = bytes;
    if (this.#held.length > 0) {
      buffer = Buffer.concat([this.#held, bytes]);
      this.#held = EMPTY;
    }
    const handled = this.#consume(buffer, owner);
    if (this.#owner === owner && this.#phase !== Phase.IDLE && this.#phase !== Phase.CLOSED) {
      if (handled < buffer.length) this.#held = Buffer.from(buffer.subarray(handled));
    }
    owner.onReadDone();
  }

  /** Hands over what `buffer` holds; returns how much of it is done with. */
  #consume(buffer: Buffer, owner: UpstreamOwner): number {
    let at = 0;
    while (this.#phase === Phase.HEAD) {
      const next = this.#readHead(buffer, at, owner);
      if (next < 0) return at;
      at = next;
      if (this.#owner !== owner) return buffer.length;
    }
    switch (this.#phase) {
      case Phase.LENGTH:
        return this.#readLength(buffer, at, owner);
      case Phase.CHUNKED:
        return this.#readChunked(buffer, at, owner);
      case Phase.UNTIL_CLOSE:
        if (at < buffer.length) owner.onResponseBody(buffer, at, buffer.length);
        return buffer.length;
      case Phase.TUNNEL:
        if (at < buffer.length) owner.onTunnelBytes(buffer.subarray(at));
        return buffer.length;
      default:
        return buffer.length;
    }
  }

  /** Reads one head; returns the offset behind it, or -1 when more bytes are needed. */
  #readHead(buffer: Buffer, at: number, owner: UpstreamOwner): number {
    const head = this.#head;
    const status = head.read(buffer, at, buffer.length);
    if (status === HeadStatus.INCOMPLETE) return -1;
    if (status === HeadStatus.ERROR) {
      this.#fail(Failure.BAD_RESPONSE);
      return buffer.length;
    }
    const end = head.end;
    if (head.status < 200 && head.status !== 101) {
      owner.onInterim(head, buffer);
      head.reset();
      return end;
    }
    this.#keepAlive = head.keepAlive;
    this.announcedIdleMs = head.keepAliveTimeoutS > 0 ? head.keepAliveTimeoutS * 1000 : 0;
    const phase = this.#bodyPhase(head);
    if (!owner.onResponseHead(head, buffer) || this.#owner !== owner) return end;
    this.#phase = phase;
    if (this.#remaining > MUCH) this.reader.expectMuch();
    if (phase === Phase.LENGTH && this.#remaining === 0) this.#finish('', end === buffer.length, owner);
    return end;
  }

  /** RFC 9112 §6.3. */
  #bodyPhase(head: ResponseHead): Phase {
    this.#remaining = 0;
    if (head.status === 101) return Phase.TUNNEL;
    if (this.#method === Method.HEAD || head.status === 204 || head.status === 304) return Phase.LENGTH;
    if (head.chunked) {
      this.#chunked.reset();
      return Phase.CHUNKED;
    }
    if (head.contentLength >= 0) {
      this.#remaining = head.contentLength;
      return Phase.LENGTH;
    }
    return Phase.UNTIL_CLOSE;
  }

  #readLength(buffer: Buffer, at: number, owner: UpstreamOwner): number {
    const end = Math.min(buffer.length, at + this.#remaining);
    if (end > at) {
      this.#remaining -= end - at;
      owner.onResponseBody(buffer, at, end);
      if (this.#owner !== owner) return buffer.length;
    }
    if (this.#remaining === 0) this.#finish('', end === buffer.length, owner);
    return buffer.length;
  }

  #readChunked(buffer: Buffer, at: number, owner: UpstreamOwner): number {
    const chunked = this.#chunked;
    const next = chunked.read(buffer, at, buffer.length, this);
    if (this.#owner !== owner) return buffer.length;
    if (chunked.status === ChunkedStatus.ERROR) this.#fail(Failure.BAD_RESPONSE);
    else if (chunked.status === ChunkedStatus.DONE) this.#finish(chunked.trailers, next === buffer.length, owner);
    return buffer.length;
  }

  /** Payload found by the chunked reader. */
  onChunkData(bytes: Buffer, start: number, end: number): void {
    this.#owner?.onResponseBody(bytes, start, end);
  }

  /** `clean`: nothing came behind the response. Leftovers make the connection unusable (RFC 9112 §11.1: response splitting). */
  #finish(trailers: string, clean: boolean, owner: UpstreamOwner): void {
    this.#phase = Phase.IDLE;
    owner.onResponseEnd(trailers, clean && this.#keepAlive);
  }

  #fail(failure: Failure): void {
    const owner = this.#owner;
    this.#owner = null;
    this.#phase = Phase.CLOSED;
    this.#reset();
    owner?.onFailed(failure);
  }

  #onEnd(): void {
    const owner = this.#owner;
    if (owner === null) return this.#endIdle();
    if (!this.connected) {
      // It left within the TLS handshake.
      this.#fail(Failure.CONNECT);
    } else if (this.#phase === Phase.UNTIL_CLOSE) {
      this.#finish('', false, owner);
      owner.onReadDone();
    } else if (this.#phase === Phase.TUNNEL) {
      owner.onTunnelEnd();
    } else {
      this.#fail(Failure.RESET);
    }
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#phase === Phase.CLOSED) return;
    if (this.#owner === null) return this.#endIdle();
    if (this.connected) this.#fail(Failure.RESET);
    else this.#fail(isLocalError(error) ? Failure.LOCAL : Failure.CONNECT);
  }

  #onClose(): void {
    if (this.#phase === Phase.CLOSED) return;
    if (this.#owner === null) this.#endIdle();
    else this.#fail(this.connected ? Failure.RESET : Failure.CONNECT);
  }

  #endIdle(): void {
    if (this.#phase === Phase.CLOSED) return;
    this.#phase = Phase.CLOSED;
    this.socket.destroy();
    this.#onIdleEnd(this);
  }
}
