import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import { z } from 'zod';
import { type EndpointTls, identityOf, secureContextOf } from '../endpoint/endpoint-tls.ts';
import type { ProbeTarget } from './probe.ts';

/** Options of probes that always speak TLS. */
export const probeTlsShape = {
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("PEM file of the authorities; default: those of the pool's tls, else the system's"),
  serverName: z
    .string()
    .min(1)
    .optional()
    .describe("whose certificate is expected; default: as the pool's tls, else the endpoint's DNS name or address"),
  verify: z.boolean().optional().describe("whether the certificate is checked; default: as the pool's tls, else true"),
};

export interface ProbeTlsOptions {
  /** PEM text: `loadDocument` has read the file. */
  readonly ca?: string;
  readonly serverName?: string;
  readonly verify?: boolean;
}

/** How a check of an endpoint is secured. A context is built once, here. */
export function tlsOf(tls: EndpointTls): (target: ProbeTarget) => ConnectionOptions {
  const secureContext = secureContextOf(tls);
  return ({ host, metadata = {} }) => {
    const { host: name, servername } = identityOf({ host, metadata }, tls);
    // Without a name to ask for, Node would take the one in the Host header.
    return {
      secureContext,
      rejectUnauthorized: tls.verify,
      servername: servername ?? '',
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    };
  };
}

/** A probe's own words on TLS over those of its pool. */
export function probeTlsOf(own: ProbeTlsOptions, pool: EndpointTls | null): (target: ProbeTarget) => ConnectionOptions {
  const { ca, serverName, verify } = own;
  return tlsOf({
    ...pool,
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { serverName }),
    verify: verify ?? pool?.verify ?? true,
  });
}
