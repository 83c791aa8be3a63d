import { createHash, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { namesOf } from './certificate-names.ts';
import type { ListenerTls } from './options.ts';

/** With forward secrecy and authenticated encryption only; every client of the last ten years knows one. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');
/** How long a client may resume a session. */
const SESSION_S = 3600;

/** One identity a listener can show: a certificate, or several of different key types for the same names. */
export interface Identity {
  readonly names: readonly string[];
  readonly options: SecureContextOptions;
  readonly context: SecureContext;
}

/** Makes what the certificates of a listener are shown with, in the document's order. Throws what OpenSSL has against one of them. */
export function identitiesOf(listener: string, tls: ListenerTls): Identity[] {
  const shared: SecureContextOptions = {
    minVersion: tls.minVersion,
    ciphers: tls.ciphers ?? CIPHERS,
    honorCipherOrder: true,
    ca: tls.clientCa === undefined ? undefined : tls.clientCa,
    sessionTimeout: SESSION_S,
    sessionIdContext: sessionContext(listener, tls),
  };
  const groups = Map.groupBy(tls.certificates, ({ cert }) => [...namesOf(cert)].sort().join());
  return [...groups.values()].map((group) => {
    const own = oneOfEachType(group);
    const options = { ...shared, cert: own.map(({ cert }) => cert), key: own.map(({ key }) => key) };
    return { names: namesOf(own[0].cert), options, context: createSecureContext(options) };
  });
}

/** OpenSSL keeps one certificate for each type of key, the last: here the first counts. */
function oneOfEachType(group: ListenerTls['certificates']): ListenerTls['certificates'] {
  const types = group.map(({ cert }) => new X509Certificate(cert).publicKey.asymmetricKeyType);
  return group.filter((_, i) => types.indexOf(types[i]) === i);
}

/** All workers and listeners have the same ticket keys: a session counts only where clients are asked for the same proof. */
function sessionContext(listener: string, { clientCertificates, clientCa }: ListenerTls): string {
  const proof = JSON.stringify([listener, clientCertificates, clientCa ?? '']);
  return createHash('sha256').update(proof).digest('hex').slice(0, 32);
}
