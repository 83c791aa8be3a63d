import type { EndpointTls } from '../endpoint/endpoint-tls.ts';

/** What a probe is made with. */
export interface ProbeContext {
  /** How the pool speaks TLS to an endpoint, files read; null when it speaks in the clear. */
  readonly tls: EndpointTls | null;
}
