import { Down } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { Pool } from '../pool/pool.ts';

/** An endpoint that is down for one of these is not coming back for its clients; one that its registry drains is. */
const GONE = Down.PROBE | Down.EJECTED | Down.REGISTRY | Down.ADMIN;

/** Whether long-lived connections and sessions have nothing to wait for at this endpoint. In panic health is not believed: new ones go there, so old ones may stay. */
export function isGone(pool: Pool, endpoint: Endpoint): boolean {
  return !pool.has(endpoint) || ((endpoint.down & GONE) !== 0 && !pool.panic);
}
