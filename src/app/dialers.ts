import type { Clock } from '../base/clock.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { PoolOptions } from '../pool/options.ts';
import { PlainDialer, TlsDialer, type UpstreamDialer } from '../proxy/http1/upstream-dialer.ts';

/** An endpoint that goes on refusing is told of once in this time. */
const TELL_EVERY_MS = 60_000;

/** How one worker reaches the endpoints of each pool. Told by every configuration what holds. */
export class Dialers {
  readonly #clock: Clock;
  readonly #onRefused: (pool: string, endpoint: string, reason: string) => void;
  readonly #byPool = new Map<string, { readonly print: string; readonly dialer: UpstreamDialer }>();
  readonly #toldMs = new WeakMap<Endpoint, number>();

  /** `onRefused`: an endpoint came to no TLS handshake. */
  constructor(clock: Clock, onRefused: (pool: string, endpoint: string, reason: string) => void) {
    this.#clock = clock;
    this.#onRefused = onRefused;
  }

  /** Takes a pool's options; another dialer only where `tls` or `proxyProtocol` is another, a changed file included. */
  configure(pool: string, { tls, proxyProtocol }: PoolOptions): void {
    const print = JSON.stringify([tls, proxyProtocol]);
    const known = this.#byPool.get(pool);
    if (known?.print === print) return;
    if (known !== undefined) known.dialer.retired = true;
    const dialer = tls === null ? new PlainDialer() : new TlsDialer(tls, (...refusal) => this.#tell(pool, ...refusal));
    this.#byPool.set(pool, { print, dialer });
  }

  /** The pool left. What still runs on it goes on. */
  remove(pool: string): void {
    const known = this.#byPool.get(pool);
    if (known !== undefined) known.dialer.retired = true;
    this.#byPool.delete(pool);
  }

  of(pool: string): UpstreamDialer {
    return this.#byPool.get(pool)!.dialer;
  }

  #tell(pool: string, endpoint: Endpoint, reason: string): void {
    const nowMs = this.#clock.now();
    if (nowMs - (this.#toldMs.get(endpoint) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return;
    this.#toldMs.set(endpoint, nowMs);
    this.#onRefused(pool, endpoint.id, reason);
  }
}
