import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import { OperationError } from '../../base/errors.ts';
import { formatHostPort } from '../../base/literals.ts';
import type { ClientTls } from '../client-tls.ts';
import { JuteReader, JuteWriter } from './jute.ts';
import {
  connectFrame,
  type Established,
  Failure,
  type Handshake,
  Op,
  readEstablished,
  readEvent,
  type WatchEvent,
  Xid,
} from './messages.ts';

/** Larger frames are refused: 100 000 names of 500 bytes fit. */
const MAX_FRAME = 64 * 1024 * 1024;

/** How long a server may take to confirm the end of a session, in ms. */
const GOODBYE_MS = 1000;

export interface ConnectionOptions {
  readonly server: { readonly host: string; readonly port: number };
  readonly tls: ClientTls | null;
  readonly handshake: Handshake;
  /** From dialling to the answer of the handshake, in ms. */
  readonly attemptMs: number;
  readonly clock: Clock;
}

export interface ConnectionEvents {
  /** The handshake was answered. Requests may be sent from within this call on, unless the session is told to be over. */
  established(answer: Established): void;
  event(event: WatchEvent): void;
  /** The newest transaction an answer speaks of. */
  seen(zxid: bigint): void;
  /** The connection is gone. Called once, and not after `end` or `bye`. */
  ended(error: OperationError): void;
}

/** Turns an answer into a result; called while the answer is read, so that what it registers is there before any later event. `failure` is 0 for success. */
export type Decode<T> = (failure: number, reader: JuteReader) => T;

interface Pending {
  readonly xid: number;
  readonly decode: Decode<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One connection to one ZooKeeper server, from dialling to its end; made by ZookeeperSession, which makes another one then. Answers come in the order of
 * the requests. A server that says nothing for two thirds of the session's time, pings included, counts as gone, although the connection stands.
 */
export class ZookeeperConnection {
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #socket: Socket;
  readonly #pending: Pending[] = [];
  readonly #chunks: Buffer[] = [];
  #buffered = 0;
  #wanted = 4;
  #xid = 0;
  #isDialled = false;
  #isEstablished = false;
  #ended = false;
  #timer: NodeJS.Timeout | null = null;
  #heardMs: number;
  #sentMs: number;
  #checkedMs = 0;

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#heardMs = options.clock.now();
    this.#sentMs = this.#heardMs;
    this.#socket = this.#dial();
    this.#socket.setNoDelay(true);
    this.#socket.on('data', this.#onData);
    this.#socket.on('error', (error) => this.#fail(this.#unreachable(error)));
    this.#socket.on('close', () => this.#fail(this.#closedError()));
    this.#timer = setTimeout(() => this.#fail(this.#silent()), options.attemptMs);
  }

  /** The server closed the connection instead of answering the handshake: it does not want this session now. */
  get wasDismissed(): boolean {
    return this.#ended && this.#isDialled && !this.#isEstablished;
  }

  /** Sends a request. Rejects with what `decode` throws, or with why the connection ended. */
  request<T>(op: number, body: JuteWriterOf, decode: Decode<T>): Promise<T> {
    const xid = ++this.#xid & 0x7fffffff;
    return new Promise<T>((resolve, reject) => {
      this.#pending.push({ xid, decode, resolve: resolve as Pending['resolve'], reject });
      this.#send(xid, op, body);
    });
  }

  /** Sends a request that has a number of its own and whose answer says nothing but success. */
  notify(xid: number, op: number, body: JuteWriterOf): void {
    this.#send(xid, op, body);
  }

  /** Ends the session at the server, so that its ephemeral nodes go at once; then the connection. Never rejects. */
  async bye(): Promise<void> {
    if (this.#isEstablished && !this.#ended) {
      this.#stopTimer();
      this.#send(++this.#xid, Op.CLOSE, (writer) => writer);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#timer = setTimeout(resolve, GOODBYE_MS);
      this.#socket.once('close', resolve);
      this.#rejectAll(new OperationError('registry-closed', 'the session was closed'));
      await promise;
    }
    this.end();
  }

  /** Ends the connection; the session goes on at the server. What is under way is rejected. */
  end(error: OperationError = new OperationError('registry-closed', 'the session was closed')): void {
    this.#ended = true;
    this.#stopTimer();
    this.#socket.destroy();
    this.#rejectAll(error);
  }

  #dial(): Socket {
    const { server, tls } = this.#options;
    const onConnect = () => {
      this.#isDialled = true;
      this.#write(connectFrame(this.#options.handshake));
    };
    if (tls === null) return connect({ ...server }, onConnect);
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = tls;
    return connectTls({ ...server, ca, cert, key, servername, rejectUnauthorized }, onConnect);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#heardMs = this.#options.clock.now();
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    while (this.#buffered >= this.#wanted && !this.#ended) {
      const all = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
      this.#chunks.length = 0;
      const rest = this.#readFrames(all);
      this.#buffered = rest.length;
      if (rest.length > 0) this.#chunks.push(rest);
    }
  };

  /** Reads the frames that are whole and returns what is left; `#wanted` then says how many bytes make the next one whole. */
  #readFrames(all: Buffer): Buffer {
    let at = 0;
    for (;;) {
      this.#wanted = 4;
      if (all.length - at < 4 || this.#ended) return all.subarray(at);
      const length = all.readInt32BE(at);
      if (length < 0 || length > MAX_FRAME) {
        this.#fail(this.#strange(`a message of ${length} bytes`));
        return all.subarray(all.length);
      }
      this.#wanted = length + 4;
      if (all.length - at < this.#wanted) return all.subarray(at);
      at += this.#wanted;
      try {
        this.#take(all.subarray(at - length, at));
      } catch (error) {
        this.#fail(this.#strange(String(error)));
      }
    }
  }

  #take(frame: Buffer): void {
    if (!this.#isEstablished) return this.#takeHandshake(frame);
    const reader = new JuteReader(frame);
    const xid = reader.int();
    const zxid = reader.long();
    const failure = reader.int();
    if (xid === Xid.EVENT) return this.#events.event(readEvent(reader));
    if (zxid > 0n) this.#events.seen(zxid);
    if (xid === Xid.AUTH && failure !== Failure.NONE) return this.#fail(denied(this.#name));
    if (xid < 0) return;
    const pending = this.#pending.shift();
    // The answer to our goodbye has nobody who waits for it.
    if (pending === undefined) return;
    if (pending.xid !== xid) throw new Error(`an answer to request ${xid} where ${pending.xid} was next`);
    try {
      pending.resolve(pending.decode(failure, reader));
    } catch (error) {
      pending.reject(error);
    }
  }

  #takeHandshake(frame: Buffer): void {
    const answer = readEstablished(frame);
    this.#isEstablished = true;
    this.#stopTimer();
    if (answer.isReadOnly) return this.#fail(this.#readOnly());
    if (answer.timeoutMs > 0) this.#watch(answer.timeoutMs);
    this.#events.established(answer);
  }

  /** Pings after a third of the session's time without a word of ours, gives up after two thirds without one of theirs. */
  #watch(timeoutMs: number): void {
    const everyMs = Math.max(20, timeoutMs / 12);
    this.#checkedMs = this.#options.clock.now();
    this.#timer = setInterval(() => {
      const now = this.#options.clock.now();
      // When this thread itself stood still, what the server sent meanwhile is read first.
      const stoodStill = now - this.#checkedMs > everyMs * 3;
      this.#checkedMs = now;
      if (!stoodStill && now - this.#heardMs > (timeoutMs * 2) / 3) return this.#fail(this.#silent());
      if (now - this.#sentMs >= timeoutMs / 4) this.#send(Xid.PING, Op.PING, (writer) => writer);
    }, everyMs);
  }

  #send(xid: number, op: number, body: JuteWriterOf): void {
    this.#write(body(new JuteWriter().int(xid).int(op)).frame());
  }

  #write(frame: Buffer): void {
    this.#sentMs = this.#options.clock.now();
    if (!this.#ended) this.#socket.write(frame);
  }

  #fail(error: OperationError): void {
    if (this.#ended) return;
    this.end(error);
    this.#events.ended(error);
  }

  #rejectAll(error: OperationError): void {
    for (const { reject } of this.#pending.splice(0)) reject(error);
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  get #name(): string {
    return `ZooKeeper at ${formatHostPort(this.#options.server.host, this.#options.server.port)}`;
  }

  #unreachable(cause: NodeJS.ErrnoException): OperationError {
    const why =
      cause.code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached: ${cause.message || cause.code}`;
    return new OperationError('registry-unreachable', `${this.#name} ${why}`, { retryable: true, cause });
  }

  #closedError(): OperationError {
    const why = this.#isEstablished ? 'closed the connection' : 'takes no clients at present';
    return new OperationError('registry-unreachable', `${this.#name} ${why}`, { retryable: true });
  }

  #silent(): OperationError {
    return new OperationError('registry-timeout', `${this.#name} does not answer in time`, { retryable: true });
  }

  #readOnly(): OperationError {
    const why = 'has lost its ensemble and only serves what it knew';
    return new OperationError('registry-unreachable', `${this.#name} ${why}`, { retryable: true });
  }

  #strange(what: string): OperationError {
    const text = `what answers at ${formatHostPort(this.#options.server.host, this.#options.server.port)} is not ZooKeeper: ${what}`;
    return new OperationError('registry-error', text, { retryable: true });
  }
}

/** Writes a request's body behind its head. */
export type JuteWriterOf = (writer: JuteWriter) => JuteWriter;

function denied(name: string): OperationError {
  return new OperationError('registry-denied', `${name} does not accept our user and password`);
}
