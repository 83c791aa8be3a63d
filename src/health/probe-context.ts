import type { ConnectionOptions } from 'node:tls';
import type { ProbeTarget } from './probe.ts';

/** What a probe is made with. */
export interface ProbeContext {
  /** How the pool speaks TLS to an endpoint; null when it speaks in the clear. */
  readonly tls: ((target: ProbeTarget) => ConnectionOptions) | null;
}
