import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { type TimerWheel, WheelTimer } from '../base/timer-wheel.ts';
import type { Secured } from '../proxy/secured.ts';
import type { ProxyHeader } from '../wire/proxy-protocol.ts';
import { CertificateNames } from './certificate-names.ts';
import type { ListenerTls } from './options.ts';
import { identitiesOf } from './tls-contexts.ts';

/** What an acceptor tells of handshakes. Each that began ends once: before `secured`, or without it. */
export interface HandshakeHooks {
  began(): void;
  ended(): void;
  /** A client spoke and no connection came of it, or time was up. */
  failed(): void;
  secured(socket: TLSSocket, secured: Secured, proxied: ProxyHeader | null): void;
}

/** A handshake under way. */
interface Handshake {
  readonly transport: Socket;
  readonly proxied: ProxyHeader | null;
  readonly deadline: WheelTimer;
  isOverdue: boolean;
}

/** Where the document sets no limit to a head. */
const HANDSHAKE_MAX_MS = 60_000;

/**
 * Makes TLS connections of the accepted connections of one listener in one worker. Does not listen: who accepts hands over what it accepted.
 * A change of certificates counts for handshakes that begin after it; those under way and connections that are open go on as they began.
 */
export class TlsAcceptor {
  /** ms; 0 = none. */
  handshakeMs = 0;
  readonly #listener: string;
  readonly #wheel: TimerWheel;
  readonly #hooks: HandshakeHooks;
  readonly #handshakes = new Map<string, Handshake>();
  #server: Server | null = null;
  #print = '';
  #ticketKeys = '';

  constructor(listener: string, wheel: TimerWheel, hooks: HandshakeHooks) {
    this.#listener = listener;
    this.#wheel = wheel;
    this.#hooks = hooks;
  }

  /** Handshakes under way. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** Takes the listener's options, files read, and the protocols it speaks (none: it offers no choice). `ticketKeys`: 48 bytes that all workers share, so that a session resumes on any of them. */
  configure(tls: ListenerTls, ticketKeys: Uint8Array, protocols: readonly string[] = ['http/1.1']): void {
    const print = JSON.stringify([tls, protocols]);
    const keys = Buffer.from(ticketKeys);
    if (print !== this.#print) {
      this.#server = this.#makeServer(tls, keys, protocols);
    } else if (keys.toString('hex') !== this.#ticketKeys) {
      this.#server?.setTicketKeys(keys);
    }
    this.#print = print;
    this.#ticketKeys = keys.toString('hex');
  }

  #makeServer(tls: ListenerTls, ticketKeys: Buffer, protocols: readonly string[]): Server {
    const identities = identitiesOf(this.#listener, tls);
    const names = new CertificateNames(identities.map((one) => one.names));
    const server = createServer({
      ...identities[0].options,
      ticketKeys,
      requestCert: tls.clientCertificates !== 'off',
      rejectUnauthorized: tls.clientCertificates === 'require',
      // RFC 7301 §3.2: who offers protocols, and none of these, is told so.
      ALPNProtocols: protocols.length === 0 ? undefined : [...protocols],
      // The deadline is ours: Node's begins anew with every byte.
      handshakeTimeout: 2 ** 31 - 1,
      SNICallback: (name, done) => done(null, identities[names.find(name.toLowerCase())]?.context),
    });
    server.on('secureConnection', (socket) => this.#onSecure(socket, tls, names));
    server.on('tlsClientError', (_, socket) => socket.destroy());
    return server;
  }

  /** Takes a connection that was accepted. */
  accept(transport: Socket, proxied: ProxyHeader | null = null): void {
    const key = keyOf(transport);
    transport.on('error', () => {});
    if (key === null || this.#server === null) {
      transport.destroy();
      return;
    }
    // Half of a TLS connection is nothing; and before the handshake nobody would notice the end.
    transport.allowHalfOpen = false;
    const handshake: Handshake = {
      transport,
      proxied,
      deadline: new WheelTimer(() => {
        handshake.isOverdue = true;
        transport.destroy();
      }),
      isOverdue: false,
    };
    const before = this.#handshakes.get(key);
    if (before !== undefined) this.#giveUp(key, before);
    this.#handshakes.set(key, handshake);
    this.#hooks.began();
    this.#wheel.arm(handshake.deadline, this.handshakeMs > 0 ? this.handshakeMs : HANDSHAKE_MAX_MS);
    transport.once('close', () => this.#onTransportClose(key, handshake));
    this.#server.emit('connection', transport);
  }

  /** Ends every handshake. */
  cut(): void {
    for (const { transport } of [...this.#handshakes.values()]) transport.destroy();
  }

  /** The same two ends again: the client has left that connection, and its end has only not been told yet. */
  #giveUp(key: string, handshake: Handshake): void {
    handshake.transport.destroy();
    this.#onTransportClose(key, handshake);
  }

  #onTransportClose(key: string, handshake: Handshake): void {
    if (!this.#end(key, handshake)) return;
    // Who connects and leaves without a word (a balancer's check) has not failed.
    if (handshake.isOverdue || handshake.transport.bytesRead > 0) this.#hooks.failed();
  }

  #end(key: string, handshake: Handshake): boolean {
    if (this.#handshakes.get(key) !== handshake) return false;
    this.#handshakes.delete(key);
    this.#wheel.disarm(handshake.deadline);
    this.#hooks.ended();
    return true;
  }

  #onSecure(socket: TLSSocket, tls: ListenerTls, names: CertificateNames): void {
    const key = keyOf(socket);
    const handshake = key === null ? undefined : this.#handshakes.get(key);
    if (key === null || handshake === undefined || this.#isImpostor(socket, tls)) {
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    this.#end(key, handshake);
    const name = (socket.servername || '').toLowerCase();
    // A TLS 1.2 session that resumes has shown no certificate, and OpenSSL does not tell its name: nothing is held against it.
    const isUnknown = name === '' && socket.isSessionReused();
    const served = Math.max(0, names.find(name));
    const secured: Secured = {
      transport: handshake.transport,
      serverName: name,
      protocol: socket.alpnProtocol || '',
      isMisdirected: (host) => !isUnknown && names.find(host) >= 0 && !names.covers(served, host),
    };
    this.#hooks.secured(socket, secured, handshake.proxied);
  }

  /** Nobody has to show a certificate, but who shows one shows a good one. */
  #isImpostor(socket: TLSSocket, { clientCertificates }: ListenerTls): boolean {
    return clientCertificates === 'request' && !socket.authorized && socket.getPeerX509Certificate() !== undefined;
  }
}

/** Both ends of a connection, which it has in common with the TLS socket above it; null when the client has gone already. */
function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string | null {
  return remotePort === undefined ? null : `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
