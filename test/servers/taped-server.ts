import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo, Server, Socket } from 'node:net';
import { GrpcFrames, grpcFrame } from '../../src/stores/nacos/grpc-frames.ts';
import { decodeNacosPayload } from '../../src/stores/nacos/nacos-payload.ts';
import { Tape } from './tape.ts';

/** A real server that runs. */
export interface RealServer {
  /** http://host:port, without a path. */
  readonly address: string;
  /** Its gRPC port; 0 for none. */
  readonly grpcPort: number;
  /** Product and version. */
  readonly origin: string;
  /** SIGKILL; null where the server is not ours to end. */
  readonly crash: (() => Promise<void>) | null;
  /** Comes back on its ports without anything. */
  readonly restart: (() => Promise<void>) | null;
  /** Comes back on its ports with what it has on disk; absent where it keeps nothing or is not ours to start. */
  readonly resume?: () => Promise<void>;
  /** Whoever started it stops it. */
  stop(): Promise<void>;
}

/**
 * A server under test behind a front of our own: the real one where there is one, else what it answered when the test ran against it (`EVENKEEL_RECORD=1` records anew). The
 * front is what goes away and comes back: a real server of somebody else's cannot be ended.
 */
export class TapedServer implements AsyncDisposable {
  readonly #real: RealServer | null;
  readonly #tape: Tape | null;
  readonly #sockets = new Set<Socket>();
  readonly #streams = new Set<http2.ServerHttp2Stream>();
  readonly #sessions = new Set<http2.ClientHttp2Session>();
  /** `METHOD path` of every request over HTTP. */
  readonly asked: string[] = [];
  /** Changes what is answered over HTTP, real or not; null for nothing. */
  distort: ((key: string, body: string) => string) | null = null;
  #http: http.Server;
  #grpc: http2.Http2Server;
  #ports: readonly [number, number] = [0, 0];
  /** Ports of this run, five digits each, in place of those when it was recorded. */
  readonly #ports5: readonly number[];

  private constructor(real: RealServer | null, tape: Tape | null, ports: readonly number[]) {
    this.#real = real;
    this.#tape = tape;
    this.#ports5 = ports;
    this.#http = this.#makeHttp();
    this.#grpc = this.#makeGrpc();
  }

  /** `ports`: of endpoints that are really there, which take the places of those there were when it was recorded. */
  static async start(name: string, real: RealServer | null, ports: readonly number[] = []): Promise<TapedServer> {
    const records = real !== null && process.env.EVENKEEL_RECORD === '1';
    const tape = real === null ? Tape.load(name) : records ? Tape.empty(name, real.origin, ports) : null;
    const server = new TapedServer(real, tape, ports);
    await server.#listen();
    return server;
  }

  get isReal(): boolean {
    return this.#real !== null;
  }

  /** http://127.0.0.1:port */
  get address(): string {
    return `http://127.0.0.1:${this.#ports[0]}`;
  }

  get grpcPort(): number {
    return this.#ports[1];
  }

  /** Whether the server can be ended and started again. A tape says so by having been made so. */
  get canRestart(): boolean {
    return this.#real === null || this.#real.crash !== null;
  }

  /** Something happens at the real server; a tape goes on to what the server did then. */
  async act(name: string, act: (real: RealServer) => Promise<unknown>): Promise<void> {
    this.step(name);
    if (this.#real !== null) await act(this.#real);
  }

  /** What comes is a part of its own, also on the tape. */
  step(name: string): void {
    if (this.#real !== null) return this.#tape?.begin(name);
    for (const push of this.#tape!.advance(name)) this.#push(Buffer.from(push, 'base64'));
  }

  /** Nobody listens any more, and every connection is cut. */
  async goAway(): Promise<void> {
    this.step('gone');
    await this.#cut();
  }

  async comeBack(): Promise<void> {
    this.step('back');
    this.#http = this.#makeHttp();
    this.#grpc = this.#makeGrpc();
    await this.#listen();
  }

  /** The server dies and is started again without anything it knew. */
  async restart(): Promise<void> {
    this.step('crash');
    await this.#cut();
    await this.#real?.crash?.();
    await this.#real?.restart?.();
    await this.comeBack();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cut();
    if (this.#real !== null) this.#tape?.save();
  }

  async #listen(): Promise<void> {
    const [first, second] = [this.#http, this.#grpc] as unknown as Server[];
    for (const [i, server] of [first, second].entries()) {
      server.on('connection', (socket: Socket) => {
        this.#sockets.add(socket);
        socket.on('close', () => this.#sockets.delete(socket));
      });
      server.listen(this.#ports[i], '127.0.0.1');
      await once(server, 'listening');
    }
    this.#ports = [first, second].map((server) => (server.address() as AddressInfo).port) as [number, number];
  }

  async #cut(): Promise<void> {
    const closed = [this.#http, this.#grpc].map((server) => new Promise((done) => server.close(done)));
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  #makeHttp(): http.Server {
    return http.createServer(async (request, response) => {
      const key = `${request.method} ${request.url}`;
      this.asked.push(key);
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk);
        const answer = this.#real === null ? this.#tape!.answer(key) : await this.#ask(request, Buffer.concat(chunks));
        if (this.#real !== null) this.#tape?.addAnswer(key, answer);
        // Leases are measured by the server's clock: on a tape it is still then.
        const date = this.#real === null ? this.#tape!.recordedAt : new Date();
        response.writeHead(answer.status, { ...answer.headers, date: date.toUTCString() });
        response.end(this.#replaced(Buffer.from(this.distort?.(key, answer.body) ?? answer.body)));
      } catch (error) {
        if (this.#real === null) console.error(String(error));
        response.socket?.destroy();
      }
    });
  }

  async #ask({ method, url, headers }: http.IncomingMessage, body: Buffer) {
    const { accept = '', 'content-type': type = 'application/json', authorization = '' } = headers;
    const given = { accept, 'content-type': type, ...(authorization === '' ? {} : { authorization }) };
    const sent = { method, headers: given, ...(body.length === 0 ? {} : { body }) };
    const answer = await fetch(`${this.#real!.address}${url}`, sent);
    const kind = answer.headers.get('content-type');
    return {
      status: answer.status,
      headers: (kind === null ? {} : { 'content-type': kind }) as Record<string, string>,
      body: await answer.text(),
    };
  }

  #makeGrpc(): http2.Http2Server {
    const server = http2.createServer();
    server.on('session', (session) => {
      session.on('error', () => {});
      const upstream = this.#real === null ? null : http2.connect(grpcOrigin(this.#real));
      upstream?.on('error', () => session.destroy());
      upstream?.on('close', () => session.destroy());
      if (upstream !== null) this.#sessions.add(upstream);
      session.on('close', () => upstream?.destroy());
      session.on('stream', (stream, headers) => {
        stream.on('error', () => {});
        const isStream = String(headers[':path']).includes('BiRequestStream');
        if (upstream !== null) this.#forward(stream, headers, upstream, isStream);
        else if (isStream) this.#replayStream(stream);
        else this.#replayAnswer(stream);
      });
    });
    return server;
  }

  #forward(
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    session: http2.ClientHttp2Session,
    isStream: boolean,
  ): void {
    if (session.destroyed) return void stream.destroy();
    const { ':path': path, 'content-type': type, te } = headers;
    const upstream = session.request({ ':method': 'POST', ':path': path, 'content-type': type, te: String(te) });
    const [asked, told] = [new GrpcFrames(), new GrpcFrames()];
    let key = '';
    let trailers: http2.IncomingHttpHeaders = {};
    stream.on('data', (chunk: Buffer) => {
      for (const message of asked.push(chunk)) key = keyOf(message);
      upstream.write(chunk);
    });
    stream.on('end', () => upstream.end());
    stream.on('close', () => upstream.destroy());
    upstream.on('error', () => stream.destroy());
    upstream.on('response', (head) => {
      stream.respond({ ':status': head[':status'], 'content-type': head['content-type'] }, { waitForTrailers: true });
    });
    upstream.on('trailers', (given) => {
      trailers = given;
    });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': trailers['grpc-status'] ?? '0' }));
    upstream.on('data', (chunk: Buffer) => {
      for (const message of told.push(chunk)) {
        if (!isStream) this.#tape?.addMessage(key, message);
        else if (decodeNacosPayload(message).type === 'SetupAckRequest') {
          if (this.#tape?.greeting.length === 0) this.#tape.greeting.push(message.toString('base64'));
        } else this.#tape?.addPush(message);
      }
      stream.write(chunk);
    });
    upstream.on('end', () => stream.end());
  }

  #replayStream(stream: http2.ServerHttp2Stream): void {
    this.#streams.add(stream);
    stream.on('close', () => this.#streams.delete(stream));
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.once('data', () => {
      for (const one of this.#tape!.greeting) stream.write(grpcFrame(Buffer.from(one, 'base64')));
      stream.resume();
    });
  }

  #replayAnswer(stream: http2.ServerHttp2Stream): void {
    const frames = new GrpcFrames();
    stream.on('data', (chunk: Buffer) => {
      for (const message of frames.push(chunk)) {
        try {
          const answer = this.#replaced(this.#tape!.message(keyOf(message)));
          stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
          stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
          stream.end(grpcFrame(answer));
        } catch (error) {
          console.error(String(error));
          stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
        }
      }
    });
  }

  #push(message: Buffer): void {
    for (const stream of this.#streams) stream.write(grpcFrame(this.#replaced(message)));
  }

  #replaced(bytes: Buffer): Buffer {
    if (this.#real !== null || this.#ports5.length === 0) return bytes;
    let text = bytes.toString('latin1');
    for (const [i, port] of this.#tape!.ports.entries()) text = text.replaceAll(String(port), String(this.#ports5[i]));
    return Buffer.from(text, 'latin1');
  }
}

function grpcOrigin({ address, grpcPort }: RealServer): string {
  return `http://${new URL(address).hostname}:${grpcPort}`;
}

/** What a request is about, without what differs from run to run. */
function keyOf(message: Buffer): string {
  const { type, body } = decodeNacosPayload(message);
  const asked = JSON.parse(body.toString());
  const parts = [type, asked.type, asked.groupName, asked.serviceName, asked.subscribe, asked.instance?.port];
  return parts.filter((part) => part !== undefined).join(' ');
}
