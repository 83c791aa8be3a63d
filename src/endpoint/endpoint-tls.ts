import { isIP } from 'node:net';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { EndpointSpec } from './endpoint.ts';

/** A pool's `tls`, files read: PEM text in place of their names. */
export interface EndpointTls {
  /** The authorities; the system's without it. */
  readonly ca?: string;
  readonly serverName?: string;
  readonly verify: boolean;
  readonly cert?: string;
  readonly key?: string;
}

/** What connections and probes to the endpoints of one pool are secured with. Throws what OpenSSL has against a file. */
export function secureContextOf({ ca, cert, key }: EndpointTls): SecureContext {
  return createSecureContext({ minVersion: 'TLSv1.2', ca: ca ?? systemAuthorities(), cert, key });
}

/** Whose certificate is expected: the configured name's, else that of the endpoint's DNS name, else that of its address (which is no SNI, RFC 6066 §3). */
export function identityOf(
  { host, metadata }: Pick<EndpointSpec, 'host' | 'metadata'>,
  { serverName }: EndpointTls,
): { readonly host: string; readonly servername?: string } {
  const name = serverName ?? metadata.name ?? '';
  if (isIP(name) !== 0) return { host: name };
  return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/i.test(name) ? { host: name, servername: name } : { host };
}

function systemAuthorities(): string[] {
  const own = getCACertificates('system');
  return own.length > 0 ? own : getCACertificates('default');
}
