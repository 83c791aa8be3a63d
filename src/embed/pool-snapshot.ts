import { PoolCounter } from '../endpoint/pool-words.ts';
import { type EndpointState, endpointState } from '../telemetry/endpoint-state.ts';
import type { LivePool } from '../telemetry/live-state.ts';

/** A pool at one moment: plain data, a copy. */
export interface PoolSnapshot {
  readonly name: string;
  readonly scheduler: string;
  /** Health is not believed, because too few endpoints are fit. */
  readonly panic: boolean;
  /** Requests that came, and those that wait for an endpoint with room. */
  readonly requests: number;
  readonly pending: number;
  readonly endpoints: readonly EndpointState[];
}

export function poolSnapshot({ name, scheduler, panic, words, endpoints }: LivePool, nowMs: number): PoolSnapshot {
  const requests = words.counter(PoolCounter.REQUESTS);
  const pending = words.counter(PoolCounter.PENDING);
  return { name, scheduler, panic, requests, pending, endpoints: endpoints.map((one) => endpointState(one, nowMs)) };
}
