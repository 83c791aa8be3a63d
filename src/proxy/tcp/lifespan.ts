import { jittered, type Random } from '../../base/random.ts';
import type { Endpoint } from '../../endpoint/endpoint.ts';
import type { Pool } from '../../pool/pool.ts';
import { isGone } from '../gone-endpoint.ts';

/** How far the age at which a connection is ended varies, so that those opened together do not end together. */
const AGE_JITTER = 0.1;

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
