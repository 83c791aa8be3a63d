import type { Endpoint } from './endpoint.ts';

/** A pool's endpoints as one worker sees them; replaced by deltas, between requests. Availability is a filter over the down bits. */
export interface EndpointSet {
  readonly version: number;
  readonly all: readonly Endpoint[];
  /** What a scheduler may pick from, in the order of `all`. Backups only when nothing else is available; everything that is not drained in panic. */
  readonly available: readonly Endpoint[];
}

/** The endpoints one request has failed on. Reused from request to request; a request fails on few. */
export class Tried {
  readonly #endpoints: Endpoint[] = [];

  get size(): number {
    return this.#endpoints.length;
  }

  /** The endpoint it failed on as number `index`, from 0. The same one may come again when all were tried. */
  at(index: number): Endpoint {
    return this.#endpoints[index];
  }

  add(endpoint: Endpoint): void {
    this.#endpoints.push(endpoint);
  }

  has(endpoint: Endpoint): boolean {
    return this.#endpoints.includes(endpoint);
  }

  clear(): void {
    // Setting the length is a call into the engine, and most requests fail on none.
    if (this.#endpoints.length > 0) this.#endpoints.length = 0;
  }
}
