import { addAbortListener } from 'node:events';
import http2 from 'node:http2';
import { OperationError } from '../../base/errors.ts';
import type { ClientTls } from '../client-tls.ts';
import { GrpcFrames, grpcFrame } from './grpc-frames.ts';
import { decodeNacosPayload, encodeNacosPayload, type NacosPayload } from './nacos-payload.ts';

/** A connection is given up when it is not made, or a request not answered, in this time. */
const ANSWER_MS = 3000;

/** A quiet connection is asked this often whether it still lives. */
const PING_MS = 5000;

/** Without a word of the server's that it takes part in a negotiation, a connection is good after this time. */
const SETTLE_MS = 100;

/** The error of a server that does not know the connection. */
const FORGOTTEN = 301;

/** There is no such config. */
const NOT_FOUND = 300;

/** Servers serve by the kind of client; this is the youngest that they all know. */
const CLIENT_VERSION = 'Nacos-Java-Client:v2.4.0';

/** What a request or a push of Nacos holds. */
export type NacosBody = Readonly<Record<string, unknown>>;

export interface NacosConnectionOptions {
  /** http://host:port or https://host:port of the gRPC door. */
  readonly origin: string;
  /** What the connection is for: servers keep the two apart. */
  readonly module: 'naming' | 'config';
  readonly namespace: string;
  readonly tls: ClientTls;
  /** Something the server says of its own accord; it is acknowledged already. */
  readonly onPush: (type: string, body: NacosBody) => void;
  /** The connection is over; called once, never before `open` has resolved and not after `close`. */
  readonly onEnd: (error: OperationError) => void;
}

/**
 * One gRPC connection to a Nacos 2 server: requests, and a stream on which the server pushes. What was subscribed and registered on it lives as long as it does. Made
 * by NacosGrpc. A server that falls silent is found within ten seconds.
 */
export class NacosConnection {
  readonly #options: NacosConnectionOptions;
  readonly #session: http2.ClientHttp2Session;
  #stream: http2.ClientHttp2Stream | null = null;
  #ping: NodeJS.Timeout | null = null;
  #isOpen = false;
  #isOver = false;
  /** Something came in since the last ping. */
  #heard = false;
  #failure: OperationError | null = null;
  #setUp: (() => void) | null = null;

  private constructor(options: NacosConnectionOptions) {
    this.#options = options;
    const { ca, cert, key, serverName: servername, verify: rejectUnauthorized } = options.tls;
    this.#session = http2.connect(options.origin, { ca, cert, key, servername, rejectUnauthorized });
    // It serves what is under way and nothing further.
    this.#session.on('goaway', () => this.#end(this.#unreachable(new Error('the server takes no new requests'))));
    this.#session.on('error', (error) => this.#end(this.#unreachable(error)));
    this.#session.on('close', () => this.#end(this.#unreachable(new Error('the connection ended'))));
  }

  /** Rejects with an OperationError when the server cannot be reached or does not take us in, and when `signal` says so before that is known. */
  static async open(options: NacosConnectionOptions, signal: AbortSignal): Promise<NacosConnection> {
    const connection = new NacosConnection(options);
    using _ = addAbortListener(signal, () => connection.close());
    try {
      await connection.#begin();
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  /** The body of the answer. Rejects with an OperationError; a connection that does not answer is over. */
  request(type: string, body: NacosBody, headers: Readonly<Record<string, string>> = {}): Promise<NacosBody> {
    const { promise, resolve, reject } = Promise.withResolvers<NacosBody>();
    if (this.#isOver) {
      reject(this.#failure ?? this.#unreachable(new Error('the connection is closed')));
      return promise;
    }
    let stream: http2.ClientHttp2Stream;
    try {
      stream = this.#ask('/Request/request');
    } catch (failure) {
      reject(failure);
      return promise;
    }
    const late = setTimeout(() => {
      const error = new OperationError('registry-timeout', `${this.#options.origin} does not answer in time`, {
        retryable: true,
      });
      reject(error);
      this.#end(error);
    }, ANSWER_MS);
    const refused = (error: OperationError, isForgotten: boolean) => {
      reject(error);
      // Nothing that was subscribed or registered on this connection is known any more.
      if (isForgotten) this.#end(error);
    };
    const frames = new GrpcFrames();
    let answer: NacosPayload | null = null;
    let grpcStatus: unknown;
    let grpcMessage = '';
    const told = (told: http2.IncomingHttpHeaders) => {
      grpcStatus ??= told['grpc-status'];
      grpcMessage ||= reasonOf(told);
    };
    stream.on('response', told);
    stream.on('trailers', told);
    stream.on('data', (chunk: Buffer) => {
      this.#heard = true;
      try {
        for (const message of frames.push(chunk)) answer = decodeNacosPayload(message);
      } catch (error) {
        stream.destroy(error as Error);
      }
    });
    stream.on('error', (error) => reject(this.#unreachable(error)));
    stream.on('close', () => {
      clearTimeout(late);
      if (answer !== null) return settle(type, answer, resolve, refused);
      const why = grpcStatus === undefined ? 'the answer broke off' : `gRPC ${grpcStatus} ${grpcMessage}`;
      reject(this.#failure ?? this.#unreachable(new Error(why)));
    });
    stream.end(grpcFrame(encodeNacosPayload({ type, headers, body: json(body) })));
    return promise;
  }

  /** Ends it without a word to `onEnd`. Twice does no harm. */
  close(): void {
    this.#isOver = true;
    if (this.#ping !== null) clearInterval(this.#ping);
    this.#ping = null;
    this.#setUp?.();
    this.#stream?.destroy();
    this.#session.destroy();
  }

  /** Throws an OperationError where the session takes no further stream; the connection is over then. */
  #ask(path: string): http2.ClientHttp2Stream {
    try {
      return this.#session.request(headersOf(path), { endStream: false });
    } catch (error) {
      const failure = this.#unreachable(error as Error);
      this.#end(failure);
      throw failure;
    }
  }

  async #begin(): Promise<void> {
    const { module, namespace, origin } = this.#options;
    const check = await this.request('ServerCheckRequest', {});
    const stream = this.#ask('/BiRequestStream/requestBiStream');
    this.#stream = stream;
    const frames = new GrpcFrames();
    stream.on('data', (chunk: Buffer) => {
      this.#heard = true;
      try {
        for (const message of frames.push(chunk)) this.#take(decodeNacosPayload(message));
      } catch (error) {
        this.#end(this.#unreachable(error as Error));
      }
    });
    stream.on('error', (error) => this.#end(this.#unreachable(error)));
    stream.on('close', () => this.#end(this.#unreachable(new Error('the server ended the stream'))));
    const isNegotiated = check.supportAbilityNegotiation === true;
    const ready = this.#readyAfter(isNegotiated ? ANSWER_MS : SETTLE_MS);
    this.#send('ConnectionSetupRequest', {
      clientVersion: CLIENT_VERSION,
      tenant: namespace,
      labels: { source: 'sdk', module, AppName: 'evenkeel' },
      abilityTable: {},
    });
    const isAcknowledged = await ready;
    if (this.#isOver) throw this.#failure ?? this.#unreachable(new Error('the connection is closed'));
    if (isNegotiated && !isAcknowledged)
      throw new OperationError('registry-timeout', `${origin} does not take the connection in`, { retryable: true });
    this.#isOpen = true;
    this.#ping = setInterval(this.#askWhetherItLives, PING_MS);
  }

  /** Whether the server acknowledged the setup within that time. */
  #readyAfter(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms);
      this.#setUp = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  readonly #askWhetherItLives = (): void => {
    const heard = this.#heard;
    this.#heard = false;
    if (!heard) this.request('HealthCheckRequest', {}).catch((error: OperationError) => this.#end(error));
  };

  #take({ type, body }: NacosPayload): void {
    const content = JSON.parse(body.toString()) as NacosBody;
    // Every push is answered under the name of its own response.
    const acknowledged = { resultCode: 200, errorCode: 0, success: true, requestId: content.requestId };
    this.#send(type.replace(/Request$/, 'Response'), acknowledged);
    if (type === 'SetupAckRequest') this.#setUp?.();
    else if (type === 'ConnectResetRequest') this.#end(this.#unreachable(new Error('the server sends us away')));
    else if (type !== 'ClientDetectionRequest') this.#options.onPush(type, content);
  }

  #send(type: string, body: NacosBody): void {
    if (!this.#isOver) this.#stream?.write(grpcFrame(encodeNacosPayload({ type, headers: {}, body: json(body) })));
  }

  #end(error: OperationError): void {
    if (this.#isOver) return;
    this.#failure = error;
    const wasOpen = this.#isOpen;
    this.close();
    if (wasOpen) this.#options.onEnd(error);
  }

  #unreachable(error: Error): OperationError {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached: ${message || code || String(error)}`;
    const text = `${this.#options.origin} ${why}`;
    return new OperationError('registry-unreachable', text, { retryable: true, cause: error });
  }
}

function headersOf(path: string): http2.OutgoingHttpHeaders {
  return {
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'evenkeel',
  };
}

/** Percent-encoded by the protocol; not every proxy keeps to it. */
function reasonOf({ 'grpc-message': written = '' }: http2.IncomingHttpHeaders): string {
  try {
    return decodeURIComponent(String(written));
  } catch {
    return String(written);
  }
}

function json(body: NacosBody): Buffer {
  return Buffer.from(JSON.stringify(body));
}

function settle(
  asked: string,
  { type, body }: NacosPayload,
  resolve: (body: NacosBody) => void,
  refuse: (error: OperationError, isForgotten: boolean) => void,
): void {
  let content: NacosBody;
  try {
    content = JSON.parse(body.toString()) as NacosBody;
  } catch (cause) {
    const text = `Nacos answers ${asked} with what is not JSON`;
    return refuse(new OperationError('registry-error', text, { retryable: true, cause }), false);
  }
  const { resultCode, errorCode, message } = content;
  if (type !== 'ErrorResponse' && (resultCode === undefined || resultCode === 200)) return resolve(content);
  const isDenied = errorCode === 403 || resultCode === 403;
  const why = `${errorCode ?? resultCode}: ${message ?? 'no reason given'}`;
  const code = isDenied ? 'registry-denied' : errorCode === NOT_FOUND ? 'registry-unknown' : 'registry-error';
  const error = new OperationError(code, `Nacos refuses ${asked} (${why})`, { retryable: !isDenied });
  refuse(error, errorCode === FORGOTTEN);
}
