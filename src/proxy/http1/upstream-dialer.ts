import { connect, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext } from 'node:tls';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import { type EndpointTls, identityOf, secureContextOf } from '../../endpoint/endpoint-tls.ts';

/** A connection that is being opened. */
export interface Dialled {
  readonly socket: Socket;
  /** The TCP connection below, or the very same: a reset can be sent only there. */
  readonly transport: Socket;
}

/** Who takes what a socket brings: by `onread` where we connect it ourselves, else by listening. */
export interface DialReader {
  readonly onread: OnReadOpts;
  listen(socket: Socket): void;
}

/** How the connections to a pool's endpoints are opened. One per pool and worker; replaced when the pool's options for it change. */
export interface UpstreamDialer {
  /** The socket's event that says it can be used. Nothing is sent before it where it is `secureConnect`: who is there is not known yet. */
  readonly readyEvent: 'connect' | 'secureConnect';
  /** Another has taken its place: its connections carry no further request. */
  retired: boolean;
  /** `reader` gets what comes; null for a socket that is read as a stream. `preface`: bytes that go before everything else, TLS included; null for none. */
  dial(endpoint: Endpoint, reader: DialReader | null, preface?: Buffer | null): Dialled;
}

/** Plain TCP. */
export class PlainDialer implements UpstreamDialer {
  readonly readyEvent = 'connect';
  retired = false;

  dial({ spec: { host, port } }: Endpoint, reader: DialReader | null, preface: Buffer | null = null): Dialled {
    const socket = connect({ host, port, noDelay: true, onread: reader?.onread });
    if (preface !== null) socket.write(preface);
    return { socket, transport: socket };
  }
}

/** TLS, by default with the endpoint's certificate verified against its name. Sessions are resumed, one kept for each endpoint. */
export class TlsDialer implements UpstreamDialer {
  readonly readyEvent = 'secureConnect';
  retired = false;
  readonly #tls: EndpointTls;
  readonly #context: SecureContext;
  readonly #sessions = new WeakMap<Endpoint, Buffer>();
  readonly #onRefused: (endpoint: Endpoint, reason: string) => void;

  /** `onRefused` hears of every connection that was open and came to no handshake: a certificate that is not believed, a protocol nobody speaks. */
  constructor(tls: EndpointTls, onRefused: (endpoint: Endpoint, reason: string) => void) {
    this.#tls = tls;
    this.#onRefused = onRefused;
    this.#context = secureContextOf(tls);
  }

  dial(endpoint: Endpoint, reader: DialReader | null, preface: Buffer | null = null): Dialled {
    const { host, port } = endpoint.spec;
    const transport = connect({ host, port, noDelay: true });
    if (preface !== null) transport.write(preface);
    const socket = connectTls({
      socket: transport,
      ...identityOf(endpoint.spec, this.#tls),
      secureContext: this.#context,
      rejectUnauthorized: this.#tls.verify,
      ALPNProtocols: ['http/1.1'],
      session: this.#sessions.get(endpoint),
    });
    // `onread` is not for a TLS socket above one that is there already.
    reader?.listen(socket);
    let isReady = false;
    let session: Buffer | undefined;
    // A session may come before its endpoint is verified: it counts only afterwards, for a resumed one is not verified again.
    socket.on('session', (latest) => {
      session = latest;
      if (isReady) this.#sessions.set(endpoint, latest);
    });
    socket.once('secureConnect', () => {
      isReady = true;
      if (session !== undefined) this.#sessions.set(endpoint, session);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (isReady || transport.bytesRead === 0) return;
      this.#sessions.delete(endpoint);
      this.#onRefused(endpoint, reasonOf(error));
    });
    // The TLS socket tells of it, too.
    transport.on('error', () => {});
    return { socket, transport };
  }
}

/** `CODE: words`; what OpenSSL adds about itself, and hints for Node's command line, are left out. */
function reasonOf(error: NodeJS.ErrnoException & { readonly reason?: string }): string {
  return `${error.code ?? 'TLS'}: ${error.reason ?? error.message.split(';')[0]}`;
}
