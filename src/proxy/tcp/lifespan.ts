import { jittered, type Random } from '../../base/random.ts';
import { Down } from '../../endpoint/down.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import type { Pool } from '../../pool/pool.ts';

/** How far the age at which a connection is ended varies, so that those opened together do not end together. */
const AGE_JITTER = 0.1;
/** An endpoint that is down for one of these is not coming back for its connections; one that is drained is. */
const GONE = Down.PROBE | Down.EJECTED | Down.REGISTRY | Down.ADMIN;

/** Says when a relayed connection has lasted long enough: by its pool's `maxAge`, or because its endpoint is gone (`onRemoval`). */
export class Lifespan {
  /** Clock ms; Infinity for never. */
  #endsMs = Infinity;
  /** Since when the endpoint is gone; 0 while it is not. */
  #goneSinceMs = 0;

  /** The connection is there. */
  begin({ options: { maxAge } }: Pool, nowMs: number, random: Random): void {
    if (maxAge !== null) this.#endsMs = nowMs + jittered(random, maxAge, AGE_JITTER);
  }

  /** Why it ends now, '' while it does not. Called about once a second; `age` is said once. */
  verdict(pool: Pool, endpoint: Endpoint, nowMs: number): 'age' | 'removed' | '' {
    if (nowMs >= this.#endsMs) {
      this.#endsMs = Infinity;
      return 'age';
    }
    const { onRemoval } = pool.options;
    if (onRemoval === null) return '';
    if (!isGone(pool, endpoint)) this.#goneSinceMs = 0;
    else if (this.#goneSinceMs === 0) this.#goneSinceMs = nowMs;
    return this.#goneSinceMs > 0 && nowMs - this.#goneSinceMs >= onRemoval ? 'removed' : '';
  }
}

/** In panic health is not believed: new connections go to the endpoint, so old ones may stay. */
function isGone(pool: Pool, endpoint: Endpoint): boolean {
  return !pool.has(endpoint) || ((endpoint.down & GONE) !== 0 && !pool.panic);
}
