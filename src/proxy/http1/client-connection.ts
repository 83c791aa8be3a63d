import type { Socket } from 'node:net';
import { WheelTimer } from '../../base/timer-wheel.ts';
import { ChunkedReader, ChunkedStatus } from '../../wire/http1/chunked-reader.ts';
import { HeadStatus } from '../../wire/http1/head-status.ts';
import { Method } from '../../wire/http1/method.ts';
import type { RequestHead } from '../../wire/http1/request-head.ts';
import type { ResponseHead } from '../../wire/http1/response-head.ts';
import type { ProxyHeader } from '../../wire/proxy-protocol.ts';
import type { Reason } from '../listener-cells.ts';
import { clientAddressOf, prefaceFor } from '../proxied.ts';
import type { Secured } from '../secured.ts';
import { SocketReader } from '../socket-reader.ts';
import { COPY_MAX, SocketWriter } from '../socket-writer.ts';
import { formatAnswer } from './answer.ts';
import { writeChunk, writeLastChunk } from './chunk-frame.ts';
import type { Http1Engine, Http1Settings } from './engine.ts';
import type { HeaderEdits } from './header-edits.ts';
import type { Http1Exchange } from './http1-exchange.ts';
import { BodyFraming, Persistence, writeResponseHead, writeTunnelHead } from './response-head.ts';

/** A rate over less says nothing: a small body that comes in pieces is no attack. */
const RATE_MS = 10_000;
/** What the client is expected to send next. */
const State = { IDLE: 0, HEAD: 1, BODY: 2, WAITING: 3, TUNNEL: 4, LINGER: 5, CLOSED: 6 } as const;
type State = (typeof State)[keyof typeof State];

/** Bytes read ahead while a request is with an endpoint; past it reading stops until the response is through. */
const READ_AHEAD = 64 * 1024;
/** After a last response the client's remaining bytes are read and thrown away for this long, so that a reset does not destroy the response. */
const LINGER_MS = 2000;
/** How long a client may take to fetch what is left of a last response in our own buffer: two reads at most. */
const LAST_BYTES_MS = 60_000;
const TRAILERS_MAX = 64;
const EMPTY = Buffer.alloc(0);

/** One client's connection: reads its requests one after the other, writes their responses in order. Borrows an exchange for each. */
export class ClientConnection {
  readonly engine: Http1Engine;
  readonly socket: Socket;
  /** Null in plain text. */
  readonly secured: Secured | null;
  /** Who the balancer in front speaks for; null when it said nothing. */
  readonly proxied: ProxyHeader | null;
  readonly peerAddress: string;
  /** An upstream connection was opened that carries this client's requests alone. */
  hasOwnUpstreams = false;
  /** What holds for the request at hand. */
  settings: Http1Settings;
  /** Decides whether the connection tries settings that are on trial. */
  readonly #lot: number;
  /** Whether the peer is believed about the client's address. */
  trusted: boolean;
  /** Bytes of the request's body are at hand: who writes it to an endpoint waits for all of them; `onRequestReadDone` follows. */
  isReadingBody = false;
  readonly #reader: SocketReader;
  readonly #writer: SocketWriter;
  /** Lent while there is a request, from its first byte on. */
  #lent: Http1Exchange | null = null;
  readonly #timer: WheelTimer;
  #chunked: ChunkedReader | null = null;
  #state: State = State.IDLE;
  #held: Buffer = EMPTY;
  #remaining = 0;
  #bodyBytes = 0;
  #paused = false;
  #touchedMs: number;
  /** Since when, and from how many bytes of the request on, the rate of a body is measured. */
  #measuredMs = 0;
  #measuredBytes = 0;
  #closeAfter = false;
  #framing: BodyFraming = BodyFraming.NONE;
  /** The Host line that was last found to belong here. */
  #ownHost: Buffer = EMPTY;

  constructor(socket: Socket, engine: Http1Engine, secured: Secured | null, proxied: ProxyHeader | null = null) {
    this.engine = engine;
    this.socket = socket;
    this.secured = secured;
    this.#lot = engine.drawLot();
    this.settings = engine.settingsFor(this.#lot);
    this.proxied = proxied;
    this.peerAddress = clientAddressOf(socket, proxied);
    this.trusted = isTrusted(this.settings, this.peerAddress);
    this.#timer = new WheelTimer(() => this.#onTimer());
    this.#touchedMs = engine.context.clock.now();
    const { sockets } = engine.context;
    const isFast = secured === null;
    this.#reader = new SocketReader(sockets, (bytes) => this.#onData(bytes));
    this.#reader.open(socket, isFast);
    this.#writer = new SocketWriter(socket, sockets, isFast, () => this.#onDrain());
    socket.on('end', () => this.#onEnd());
    socket.on('error', () => this.#onClose());
    socket.on('close', () => this.#onClose());
    this.#arm(this.settings.timeouts.head);
  }

  /** The PROXY protocol header for an upstream connection: from then on it is this client's alone. */
  preface(version: 'v1' | 'v2'): Buffer {
    this.hasOwnUpstreams = true;
    const serverName = this.secured?.serverName ?? '';
    const uniqueId = this.engine.context.uniqueIds.next();
    return prefaceFor(version, this.secured?.transport ?? this.socket, this.proxied, { serverName, uniqueId });
  }

  /** Whether what this address says of its own client is believed. */
  trusts(address: string): boolean {
    return isTrusted(this.settings, address);
  }

  /** Whether the request in `buf` is for a host of another certificate. Asked once per request; nearly all name the same host as the one before. */
  isMisdirected(buf: Buffer): boolean {
    const { secured } = this;
    const head = this.head;
    if (secured === null || head.hostEnd === head.hostStart) return false;
    const own = this.#ownHost;
    const isKnown =
      own.length === head.hostEnd - head.hostStart &&
      buf.compare(own, 0, own.length, head.hostStart, head.hostEnd) === 0;
    if (isKnown) return false;
    const line = buf.subarray(head.hostStart, head.hostEnd);
    const host = line.toString('latin1').toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
    if (secured.isMisdirected(host)) return true;
    this.#ownHost = Buffer.from(line);
    return false;
  }

  /** Only while there is a request. */
  get exchange(): Http1Exchange {
    return this.#lent as Http1Exchange;
  }

  /** Of the request at hand. */
  get head(): RequestHead {
    return this.exchange.head;
  }

  /** Reads what this client sends: who holds bytes of it asks here whether they may be taken. */
  get reader(): SocketReader {
    return this.#reader;
  }

  /** Whether the whole request has been read. */
  get requestRead(): boolean {
    return this.#state !== State.BODY;
  }

  #onData(bytes: Buffer): void {
    this.engine.cells.bytesIn(this.engine.context.row, bytes.length);
    switch (this.#state) {
      case State.IDLE:
      case State.HEAD:
        this.#readFirst(bytes);
        break;
      case State.BODY:
        this.#readBody(bytes, 0);
        break;
      case State.WAITING:
        this.#hold(bytes);
        break;
      case State.TUNNEL:
        this.exchange.bytesIn += bytes.length;
        this.#touchedMs = this.engine.context.clock.now();
        this.exchange.forwarding.onTunnelFromClient(bytes);
        break;
      default:
        break;
    }
  }

  #readFirst(bytes: Buffer): void {
    if (this.#held.length === 0) return this.#readRequest(bytes, false);
    const joined = Buffer.concat([this.#held, bytes]);
    this.#held = EMPTY;
    this.#readRequest(joined, true);
  }

  #hold(bytes: Buffer): void {
    this.#held = this.#held.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#held, bytes]);
    if (this.#held.length > READ_AHEAD) this.pauseReading();
  }

  /** `isOurs`: nobody else will write to the bytes. */
  #readRequest(buf: Buffer, isOurs: boolean): void {
    if (this.#state === State.IDLE && this.settings !== this.engine.settingsFor(this.#lot)) this.#takeSettings();
    this.#lent ??= this.engine.lend(this);
    const status = this.head.read(buf, 0, buf.length);
    if (status === HeadStatus.COMPLETE) {
      this.engine.context.wheel.disarm(this.#timer);
      this.#begin(buf, isOurs);
    } else if (status === HeadStatus.INCOMPLETE) {
      this.#held = isOurs ? buf : Buffer.from(buf);
      if (this.#state === State.IDLE) this.#arm(this.settings.timeouts.head);
      this.#state = State.HEAD;
    } else {
      const { errorStatus, errorReason } = this.head;
      this.exchange.bytesIn = buf.length;
      this.exchange.reject(errorStatus, errorReason as Reason);
    }
  }

  #begin(buf: Buffer, isOurs: boolean): void {
    const { engine } = this;
    const head = this.head;
    // A client whose CONNECT is refused may have sent bytes for the tunnel already: they must not be read as requests.
    this.#closeAfter = !head.keepAlive || engine.draining || head.method === Method.CONNECT;
    this.#bodyBytes = 0;
    this.#remaining = head.contentLength > 0 ? head.contentLength : 0;
    const hasBody = head.chunked || this.#remaining > 0;
    this.#state = hasBody ? State.BODY : State.WAITING;
    const exchange = this.exchange;
    exchange.bytesIn = head.end;
    const limit = this.settings.limits.body;
    if (limit > 0 && this.#remaining > limit) {
      exchange.reject(413, 'body-too-large');
      return;
    }
    if (head.chunked) this.#chunkedReader().reset();
    const bodyStart = head.end;
    if (!hasBody && bodyStart < buf.length) {
      const rest = buf.subarray(bodyStart);
      this.#held = isOurs ? rest : Buffer.from(rest);
    }
    this.isReadingBody = hasBody && bodyStart < buf.length;
    exchange.begin(buf, !hasBody);
    if (!hasBody) return;
    if (this.#state !== State.BODY) return this.#endBodyRead();
    this.#touchedMs = engine.context.clock.now();
    this.#measure();
    this.#arm(this.settings.timeouts.body);
    if (bodyStart < buf.length) this.#readBody(buf, bodyStart);
  }

  /** A reload: from the next request on the new document holds. */
  #takeSettings(): void {
    this.settings = this.engine.settingsFor(this.#lot);
    this.trusted = isTrusted(this.settings, this.peerAddress);
    this.#chunked = null;
  }

  #chunkedReader(): ChunkedReader {
    const { chunkExtensions, trailers } = this.settings.limits;
    this.#chunked ??= new ChunkedReader({
      extensionBytes: chunkExtensions,
      trailerBytes: trailers,
      trailers: TRAILERS_MAX,
    });
    return this.#chunked;
  }

  #readBody(bytes: Buffer, start: number): void {
    this.#touchedMs = this.engine.context.clock.now();
    this.isReadingBody = true;
    if (this.head.chunked) this.#readChunked(bytes, start);
    else this.#readLength(bytes, start);
    this.#endBodyRead();
  }

  #endBodyRead(): void {
    this.isReadingBody = false;
    this.#lent?.forwarding.onRequestReadDone();
    // What was put together for a request that has been given up meanwhile must not stand before another one: the writer is shared.
    this.engine.requestWriter.begin();
  }

  #readLength(bytes: Buffer, start: number): void {
    const end = Math.min(bytes.length, start + this.#remaining);
    this.#remaining -= end - start;
    this.exchange.bytesIn += end - start;
    const done = this.#remaining === 0;
    if (done) this.#bodyDone(bytes, end);
    this.exchange.onRequestBody(bytes, start, end);
    if (done) this.#lent?.onRequestEnd('');
  }

  #readChunked(bytes: Buffer, start: number): void {
    const chunked = this.#chunkedReader();
    const { bytesIn } = this.exchange;
    this.exchange.bytesIn = bytesIn + bytes.length - start;
    const next = chunked.read(bytes, start, bytes.length, this);
    if (this.#state !== State.BODY) return;
    this.exchange.bytesIn = bytesIn + next - start;
    if (chunked.status === ChunkedStatus.ERROR) {
      this.exchange.reject(400, 'bad-request');
    } else if (chunked.status === ChunkedStatus.DONE) {
      this.#bodyDone(bytes, next);
      this.exchange.onRequestEnd(chunked.trailers);
    }
  }

  /** Payload found by the chunked reader. */
  onChunkData(bytes: Buffer, start: number, end: number): void {
    if (this.#state !== State.BODY) return;
    this.#bodyBytes += end - start;
    const limit = this.settings.limits.body;
    if (limit > 0 && this.#bodyBytes > limit) this.exchange.reject(413, 'body-too-large');
    else this.exchange.onRequestBody(bytes, start, end);
  }

  #bodyDone(bytes: Buffer, end: number): void {
    this.#state = State.WAITING;
    this.engine.context.wheel.disarm(this.#timer);
    if (end < bytes.length) this.#hold(bytes.subarray(end));
  }

  /** Stops reading: whoever takes the bytes has enough. */
  pauseReading(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  resumeReading(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#touchedMs = this.engine.context.clock.now();
    if (this.#state === State.BODY) this.#measure();
    this.socket.resume();
  }

  /** An interim response (1xx); HTTP/1.0 clients do not know them. */
  sendInterim(head: ResponseHead, buf: Buffer, edits: HeaderEdits): void {
    if (this.head.minor === 0) return;
    const writer = this.engine.responseWriter;
    writeResponseHead(writer, head, buf, BodyFraming.NONE, Persistence.DEFAULT, edits, this.settings.via);
    this.flush();
  }

  /** Begins the response: head of the endpoint's, framed for this client. */
  startResponse(head: ResponseHead, buf: Buffer, edits: HeaderEdits): void {
    const bodiless = this.head.method === Method.HEAD || head.status === 204 || head.status === 304;
    if (bodiless) this.#framing = BodyFraming.NONE;
    else if (head.contentLength >= 0) this.#framing = BodyFraming.LENGTH;
    else this.#framing = this.head.minor === 1 ? BodyFraming.CHUNKED : BodyFraming.UNTIL_CLOSE;
    if (this.#framing === BodyFraming.UNTIL_CLOSE || this.engine.draining) this.#closeAfter = true;
    const { via } = this.settings;
    writeResponseHead(this.engine.responseWriter, head, buf, this.#framing, this.#persistence(), edits, via);
  }

  #persistence(): Persistence {
    if (this.#closeAfter) return Persistence.CLOSE;
    return this.head.minor === 0 ? Persistence.KEEP_ALIVE : Persistence.DEFAULT;
  }

  /** Switches to a tunnel: the 101 head goes out, or our own answer to CONNECT when `head` is null; bytes go both ways from now on. */
  startTunnel(head: ResponseHead | null, buf: Buffer, edits: HeaderEdits): void {
    const writer = this.engine.responseWriter;
    const { via } = this.settings;
    if (head === null) writeTunnelHead(writer, edits, via);
    else writeResponseHead(writer, head, buf, BodyFraming.NONE, Persistence.UPGRADE, edits, via);
    this.flush();
    this.#state = State.TUNNEL;
    this.#touchedMs = this.engine.context.clock.now();
    this.#arm(this.settings.timeouts.tunnel);
    const ahead = this.#held;
    this.#held = EMPTY;
    this.resumeReading();
    if (ahead.length > 0) this.exchange.forwarding.onTunnelFromClient(ahead);
  }

  /** Part of the body, without framing, just read by `reader`. */
  writeBody(bytes: Buffer, start: number, end: number, reader: SocketReader): void {
    const writer = this.engine.responseWriter;
    if (end - start <= COPY_MAX) {
      if (this.#framing === BodyFraming.CHUNKED) writeChunk(writer, bytes, start, end);
      else writer.bytes(bytes, start, end);
      return;
    }
    if (this.#framing === BodyFraming.CHUNKED) writer.text(`${(end - start).toString(16)}\r\n`);
    this.#countOut(writer.length + end - start);
    this.#writer.writeBehind(writer, bytes, start, end, reader);
    if (this.#framing === BodyFraming.CHUNKED) writer.text('\r\n');
  }

  /** Writes what was put together since the last flush. */
  flush(): void {
    const writer = this.engine.responseWriter;
    if (writer.length > 0) {
      this.#countOut(writer.length);
      this.#writer.writeAll(writer);
    }
    if (this.#writer.isFull) this.#lent?.forwarding.onClientFull();
  }

  /** Bytes of a tunnel, just read by `reader`; returns false when the client is behind. */
  writeTunnel(bytes: Buffer, reader: SocketReader): boolean {
    this.#touchedMs = this.engine.context.clock.now();
    this.#countOut(bytes.length);
    this.#writer.writeBehind(this.engine.responseWriter, bytes, 0, bytes.length, reader);
    return !this.#writer.isFull;
  }

  /** The response is whole. The exchange is over and reset; the next request may begin. */
  endResponse(trailers: string): void {
    if (this.#framing === BodyFraming.CHUNKED) writeLastChunk(this.engine.responseWriter, trailers);
    this.flush();
  }

  /** A whole response of evenkeel itself. Closes when the request has not been read to its end. */
  answer(status: number, reason: Reason | null, body?: string, headers?: Readonly<Record<string, string>>): void {
    if (this.#state <= State.BODY || this.engine.draining) this.#closeAfter = true;
    const head = this.head;
    const bytes = formatAnswer({
      status,
      reason,
      body,
      headers,
      head: head.method === Method.HEAD && this.#state > State.HEAD,
      close: this.#closeAfter,
      keepAliveHttp10: head.minor === 0,
    });
    this.#countOut(bytes.length);
    this.#writer.write(bytes);
  }

  /** The exchange is over: goes on with the next request, or ends the connection. */
  exchangeEnded(): void {
    this.#giveBack();
    if (this.#state === State.CLOSED) return;
    if (this.#state !== State.WAITING) this.#closeAfter = true;
    this.engine.context.wheel.disarm(this.#timer);
    if (this.#closeAfter) {
      this.#linger();
      return;
    }
    this.#state = State.IDLE;
    this.#touchedMs = this.engine.context.clock.now();
    this.#arm(this.settings.timeouts.idle);
    // A client that leaves its responses unread gets no further one: they would pile up here.
    if (this.#writer.isFull) return this.pauseReading();
    this.resumeReading();
    // A pipelined request waits for another turn: the read that ended this exchange is still being handled, and others want theirs.
    if (this.#held.length > 0) setImmediate(() => this.#readAhead());
  }

  #giveBack(): void {
    this.engine.takeBack(this.exchange);
    this.#lent = null;
  }

  #onDrain(): void {
    this.#lent?.forwarding.onClientDrain();
    if (this.#state !== State.IDLE) return;
    this.resumeReading();
    this.#readAhead();
  }

  #readAhead(): void {
    if (this.#state !== State.IDLE || this.#held.length === 0) return;
    const bytes = this.#held;
    this.#held = EMPTY;
    this.#readRequest(bytes, true);
  }

  /** The response cannot be finished: the client must see that it is cut, never a clean end. */
  abort(): void {
    // What one read put together for it, but did not get to write, must not reach the next connection: the writer is shared.
    this.engine.responseWriter.begin();
    this.#close();
    this.#reset();
  }

  /** A TLS socket cannot be reset itself: its transport is. */
  #reset(): void {
    (this.secured?.transport ?? this.socket).resetAndDestroy();
  }

  /** Ends the tunnel after what was written. */
  endTunnel(): void {
    this.#giveBack();
    if (this.#state === State.CLOSED) return;
    this.#linger();
  }

  endIfIdle(idleSinceMs: number): void {
    if (this.#state === State.IDLE && this.#touchedMs <= idleSinceMs) this.#linger();
  }

  cut(): void {
    if (this.#state === State.CLOSED) return;
    // Closed first, so that the end of the exchange sends no FIN: a body that ends with its connection must not look whole.
    this.#close();
    this.#lent?.onClientGone('draining');
    this.#reset();
  }

  /** Sends FIN after the last byte, then reads on for a while: a reset would take the response away from the client. */
  #linger(): void {
    this.#state = State.LINGER;
    this.#held = EMPTY;
    this.#arm(LAST_BYTES_MS);
    this.socket.end(() => {
      if (this.#state === State.LINGER) this.#arm(LINGER_MS);
    });
    this.resumeReading();
  }

  #countOut(bytes: number): void {
    this.engine.cells.bytesOut(this.engine.context.row, bytes);
    this.exchange.bytesOut += bytes;
  }

  #arm(ms: number): void {
    if (ms > 0) this.engine.context.wheel.arm(this.#timer, ms);
    else this.engine.context.wheel.disarm(this.#timer);
  }

  #onTimer(): void {
    const { timeouts } = this.settings;
    switch (this.#state) {
      case State.IDLE:
        this.#linger();
        break;
      case State.HEAD:
        this.exchange.bytesIn = this.#held.length;
        this.exchange.reject(408, 'head-timeout');
        break;
      case State.BODY:
        // While we stopped reading, the client is not at fault.
        if (!this.#stillMoving(timeouts.body, this.#paused) || this.#isTooSlow(timeouts.body))
          this.exchange.reject(408, 'body-timeout');
        break;
      case State.TUNNEL:
        if (!this.#stillMoving(timeouts.tunnel, false)) this.exchange.forwarding.endTunnel(false);
        break;
      case State.LINGER:
        this.#close();
        this.socket.destroy();
        break;
      default:
        break;
    }
  }

  /** The timer was armed once and not at every byte: arms it anew for what is left. */
  #stillMoving(timeoutMs: number, isExcused: boolean): boolean {
    const left = isExcused ? timeoutMs : this.#touchedMs + timeoutMs - this.engine.context.clock.now();
    if (left <= 0) return false;
    this.#arm(left);
    return true;
  }

  /** A body that comes byte by byte never stalls, but would hold an endpoint for ever. An endpoint that answers meanwhile wants it so. */
  #isTooSlow(windowMs: number): boolean {
    const elapsedMs = this.engine.context.clock.now() - this.#measuredMs;
    if (this.#paused || elapsedMs < Math.max(windowMs, RATE_MS) || this.exchange.forwarding.responded) return false;
    const bytes = this.exchange.bytesIn - this.#measuredBytes;
    this.#measure();
    return bytes * 1000 < this.settings.limits.bodyRate * elapsedMs;
  }

  #measure(): void {
    this.#measuredMs = this.engine.context.clock.now();
    this.#measuredBytes = this.exchange.bytesIn;
  }

  /** The client will send no more. In the midst of an exchange that is an abort, as nginx and HAProxy's `abortonclose` have it. */
  #onEnd(): void {
    switch (this.#state) {
      case State.TUNNEL:
        this.exchange.forwarding.endTunnel(true);
        break;
      case State.BODY:
      case State.WAITING:
        this.exchange.onClientGone('client-gone');
        this.#close();
        this.socket.destroy();
        break;
      case State.IDLE:
      case State.HEAD:
        this.#linger();
        break;
      default:
        // What lingers ends by itself, or by its timer.
        break;
    }
  }

  #onClose(): void {
    if (this.#state === State.CLOSED) return;
    this.#lent?.onClientGone('client-gone');
    this.#close();
    this.socket.destroy();
  }

  #close(): void {
    if (this.#state === State.CLOSED) return;
    this.#state = State.CLOSED;
    this.engine.context.wheel.disarm(this.#timer);
    if (this.hasOwnUpstreams) this.engine.context.upstreams.forgetOwner(this);
    this.engine.closed(this);
  }
}

function isTrusted(settings: Http1Settings, address: string): boolean {
  return settings.trusted?.check(address, address.includes(':') ? 'ipv6' : 'ipv4') ?? false;
}
