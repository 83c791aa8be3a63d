import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import type { LoadBound } from './load-bound.ts';

/**
 * Gives every key an order of its own over the endpoints, the same on every thread and machine, whatever the order and history of the set. Whoever is
 * down yields to the next in the key's order, and has the key again when it is back. Made and called by the hash scheduler only.
 */
export interface KeyOrder {
  /** A new set, off the request path. */
  update(set: EndpointSet): void;
  /**
   * The first endpoint in the order of a key that is available, not tried, and has room where a bound is given; null when there is none. `hash` is 1…2³¹−1.
   */
  first(hash: number, tried: Tried, bound: LoadBound | null): Endpoint | null;
}
