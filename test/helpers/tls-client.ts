import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { RawClient } from './raw-client.ts';

export interface TlsClient extends RawClient {
  readonly socket: TLSSocket;
}

/** A raw client over TLS. Rejects with the error of the handshake, its `code` OpenSSL's or Node's. */
export async function tlsClient(port: number, options: ConnectionOptions = {}): Promise<TlsClient> {
  const socket = connect({ host: '127.0.0.1', port, ...options });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed within the handshake')));
  });
  return new RawClient(socket) as TlsClient;
}
