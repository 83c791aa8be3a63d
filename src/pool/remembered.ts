import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';

/** What a process knew of an endpoint and its successor should know. Plain data; times are ages or remainders in ms, for clocks end with their process. */
export interface RememberedEndpoint {
  /** `address:port` */
  readonly id: string;
  /** The process behind the address, in its registry's words; '' when unknown. Another process is another endpoint. */
  readonly generation: string;
  /** Decayed latency and its age; null when it was never observed. */
  readonly latency: { readonly ms: number; readonly ageMs: number } | null;
  /** How long the ejection goes on; 0 for none. */
  readonly ejectedForMs: number;
  /** Ejections lately. */
  readonly ejections: number;
  readonly failuresInRow: number;
  /** How long it has been in use: slow start is not begun anew. */
  readonly readyForMs: number;
  /** Why its probe found it unfit; null when it did not. */
  readonly unfit: string | null;
}

/** `probeReason` is null when the probe does not speak against it. */
export function remember(
  endpoint: Endpoint,
  generation: string,
  probeReason: string | null,
  nowMs: number,
): RememberedEndpoint {
  const { id, latencyMs, latencyStampMs, ejections, failuresInRow } = endpoint;
  const isEjected = (endpoint.down & Down.EJECTED) !== 0;
  return {
    id,
    generation,
    latency: Number.isNaN(latencyMs) ? null : { ms: latencyMs, ageMs: Math.max(0, nowMs - latencyStampMs) },
    ejectedForMs: isEjected ? Math.max(0, endpoint.ejectedUntilMs - nowMs) : 0,
    ejections,
    failuresInRow,
    readyForMs: Math.max(0, nowMs - endpoint.readySinceMs),
    unfit: probeReason,
  };
}

/** Gives a new endpoint what was known of it `sinceMs` ago, but for its down bits. */
export function recall(endpoint: Endpoint, known: RememberedEndpoint, sinceMs: number, nowMs: number): void {
  if (known.latency !== null) endpoint.setLatency(known.latency.ms, nowMs - known.latency.ageMs - sinceMs);
  endpoint.ejections = known.ejections;
  endpoint.failuresInRow = known.failuresInRow;
  endpoint.readySinceMs = nowMs - known.readyForMs - sinceMs;
}
