import type { Reason } from '../proxy/listener-cells.ts';

/**
 * What a request of a dispatcher, or the `next` of a middleware, gets when no endpoint answered it. `code` is that of the last attempt's error
 * where there was one (`ECONNREFUSED`, say), so that undici's own retry handlers know it; otherwise `EVENKEEL_` and the reason.
 */
export class BalancerError extends Error {
  readonly code: string;
  /** The word that evenkeel's listeners would send as `x-evenkeel-reason`. */
  readonly reason: Reason;
  /** What they would answer: 502, 503 or 504. Express and Fastify answer by this, too. */
  readonly status: number;
  readonly statusCode: number;
  readonly pool: string;
  /** Express and Fastify send these with their answer. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(pool: string, reason: Reason, status: number, cause: unknown = null) {
    super(`pool ${pool}: ${reason}`, cause === null ? undefined : { cause });
    this.name = 'BalancerError';
    this.code =
      (cause as NodeJS.ErrnoException | null)?.code ?? `EVENKEEL_${reason.toUpperCase().replaceAll('-', '_')}`;
    this.reason = reason;
    this.status = status;
    this.statusCode = status;
    this.pool = pool;
    this.headers = { 'x-evenkeel-reason': reason };
  }
}
