import type { Socket } from 'node:net';

/** What the listener knows of a connection that came over TLS. Made once per connection, read by the engine. */
export interface Secured {
  /** The TCP connection below: a reset can be sent only there. */
  readonly transport: Socket;
  /** The name the client asked for, in lower case; '' for none. */
  readonly serverName: string;
  /** The protocol both sides agreed on by ALPN; '' for none. */
  readonly protocol: string;
  /** Whether requests for this host (lower case, without port) belong on a connection with another certificate (RFC 9110 §15.5.20). */
  isMisdirected(host: string): boolean;
}
