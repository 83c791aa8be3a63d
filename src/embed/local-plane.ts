import { Dialers } from '../app/dialers.ts';
import type { ToWorker, WorkerPool } from '../app/messages.ts';
import type { Clock } from '../base/clock.ts';
import { FineTimers } from '../base/fine-timers.ts';
import type { Random } from '../base/random.ts';
import { TimerWheel } from '../base/timer-wheel.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { PoolWords } from '../endpoint/pool-words.ts';
import type { SlotTable } from '../endpoint/slots.ts';
import { Pool, type PoolContext } from '../pool/pool.ts';
import type { UpstreamDialer } from '../proxy/http1/upstream-dialer.ts';
import { RouteCells } from '../routing/route-cells.ts';
import type { LiveRoute } from '../telemetry/live-state.ts';
import type { AttemptsContext } from './attempts.ts';

/** Rows of shared memory: main's, and that of the one worker, which is this very thread. */
export const ROWS = 2;
const ROW = 1;
const TICK_MS = 50;
/** A loop that comes so late blames nobody for what timed out meanwhile. */
const LAG_MS = 200;
/** A tick this much overdue counts as a stall, for as long as its answers may be judged by it. */
const LATE_MS = 500;
const LATE_FOR_MS = 1000;

/** Faces of the balancer: the `listener` label of their metrics. */
export type Face = 'dispatcher' | 'middleware' | 'upgrade';

export interface LocalPlaneOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly table: () => SlotTable;
  readonly onEjected: (ejected: { pool: string; slot: number; cause: string; untilMs: number }) => void;
  readonly onTlsRefused: (pool: string, endpoint: string, reason: string) => void;
  /** Nothing runs any more on an endpoint that left: its slot may be given back. */
  readonly onGone: (pool: string, endpoint: Endpoint) => void;
}

/** The data plane of a host program: what a worker thread has, in the host's own thread and without listeners. Its timers hold no process. */
export class LocalPlane implements AttemptsContext {
  readonly clock: Clock;
  readonly wheel = new TimerWheel(TICK_MS);
  readonly fine: FineTimers;
  readonly row = ROW;
  /** Ask the faces to forget the connections to an endpoint. */
  readonly goneListeners = new Set<(endpoint: Endpoint) => void>();
  readonly #options: LocalPlaneOptions;
  readonly #dialers: Dialers;
  readonly #pools = new Map<string, Pool>();
  readonly #leaving = new Set<Pool>();
  readonly #cells = new Map<string, LiveRoute>();
  readonly #timer: NodeJS.Timeout;
  #nextTickMs = performance.now() + TICK_MS;
  #lateMs = Number.NEGATIVE_INFINITY;

  constructor(options: LocalPlaneOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.fine = new FineTimers(options.clock);
    this.#dialers = new Dialers(options.clock, options.onTlsRefused);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Null when no pool has this name now. */
  pool(name: string): Pool | null {
    return this.#pools.get(name) ?? null;
  }

  dialer(pool: string): UpstreamDialer {
    return this.#dialers.of(pool);
  }

  /** Where requests of one pool that come by one face are counted. */
  cells(face: Face, pool: string): RouteCells {
    const key = `${face} ${pool}`;
    let route = this.#cells.get(key);
    if (route === undefined) {
      route = { listener: face, route: pool, pool, cells: new RouteCells(ROWS) };
      this.#cells.set(key, route);
    }
    return route.cells;
  }

  get routes(): readonly LiveRoute[] {
    return [...this.#cells.values()];
  }

  rows(): number[] {
    return [ROW];
  }

  /** What main sends to its workers. */
  broadcast(message: ToWorker): void {
    if (message.kind === 'delta') this.#pools.get(message.delta.pool)?.apply(message.delta);
  }

  /** The pools there are from now on; what runs on others goes on. */
  configure(pools: readonly WorkerPool[]): void {
    for (const { name, options, words } of pools) {
      this.#dialers.configure(name, options);
      const known = this.#pools.get(name);
      if (known !== undefined) known.configure(options);
      else this.#pools.set(name, new Pool(name, options, new PoolWords(ROWS, words), this.#makePoolContext()));
    }
    for (const [name, pool] of this.#pools) {
      if (pools.some((one) => one.name === name)) continue;
      this.#pools.delete(name);
      this.#dialers.remove(name);
      this.#leaving.add(pool);
      for (const endpoint of pool.set.all) this.#forget(endpoint);
    }
  }

  #makePoolContext(): PoolContext {
    const { clock, random, table, onEjected, onGone } = this.#options;
    return {
      clock,
      random,
      worker: 0,
      workers: 1,
      row: ROW,
      table: table(),
      onEjected: (pool, { slot }, cause, untilMs) => onEjected({ pool, slot, cause, untilMs }),
      onGone: (pool, endpoint) => {
        this.#forget(endpoint);
        // Not while main is in the midst of the change that removes it.
        queueMicrotask(() => onGone(pool, endpoint));
      },
    };
  }

  #forget(endpoint: Endpoint): void {
    for (const listener of this.goneListeners) listener(endpoint);
  }

  /** The host's loop came late lately: what is measured of endpoints now is in part its own doing. */
  get isLate(): boolean {
    return performance.now() - this.#lateMs < LATE_FOR_MS;
  }

  #tick(): void {
    const now = performance.now();
    this.#noteLag(now);
    // Behind the reads of this turn: after a stall of the host's the answers lie in the sockets already.
    setImmediate(this.#turnWheel);
    const nowMs = this.clock.now();
    for (const pool of this.#pools.values()) pool.tick(nowMs);
    for (const pool of this.#leaving) {
      pool.tick(nowMs);
      if (pool.isEmpty) this.#leaving.delete(pool);
    }
  }

  readonly #turnWheel = (): void => {
    const now = performance.now();
    // Here too, as the stall may have been behind the tick, and the next one sees nothing of it.
    this.#noteLag(now);
    if (now - this.#nextTickMs > LAG_MS) for (const pool of this.#pools.values()) pool.hold(this.clock.now());
    for (; this.#nextTickMs <= now; this.#nextTickMs += TICK_MS) this.wheel.tick();
  };

  #noteLag(now: number): void {
    if (now - this.#nextTickMs > LATE_MS) this.#lateMs = now;
  }

  close(): void {
    clearInterval(this.#timer);
    this.fine.close();
  }
}
