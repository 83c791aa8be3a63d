import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import type { OperationError } from '../base/errors.ts';
import { jittered, type Random } from '../base/random.ts';

/** While the registry is up and nothing else was heard, it is asked this often; a frozen one is found that much sooner than by its polls. */
const PING_MS = 10_000;

/**
 * One asker for the whole registry while it is away may come this often. The ceiling is low because it is one small request a client: what keeps a
 * returning registry from being run over is that its watches come back spread over time, not that nobody asks.
 */
const RECONNECT_MAX_MS = 5000;

export interface ContactEvents {
  /** The registry cannot be reached. Called once per outage. */
  lost(error: OperationError): void;
  /** It still cannot, for another reason than was told last. */
  stillLost(error: OperationError): void;
  /** The registry can be reached again. */
  back(): void;
}

/**
 * Whether a registry can be reached at all, for the many watches that share it: one of them asks, instead of all. `ping` resolves when the
 * registry answered. No timer runs before `start` and after `close`.
 */
export class RegistryContact {
  readonly #ping: () => Promise<void>;
  readonly #events: ContactEvents;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #backoff: Backoff;
  readonly #pingMs: number;
  #timer: NodeJS.Timeout | null = null;
  #isPinging = false;
  #closed = true;
  /** Why the registry is away; null while it is not. */
  #failure: OperationError | null = null;
  #heardMs = 0;

  constructor(ping: () => Promise<void>, events: ContactEvents, clock: Clock, random: Random, pingMs = PING_MS) {
    this.#pingMs = pingMs;
    this.#ping = ping;
    this.#events = events;
    this.#clock = clock;
    this.#random = random;
    this.#backoff = new Backoff(250, RECONNECT_MAX_MS, random);
  }

  get isUp(): boolean {
    return this.#failure === null;
  }

  get failure(): OperationError | null {
    return this.#failure;
  }

  start(): void {
    this.#closed = false;
    this.#heardMs = this.#clock.now();
    this.#schedule(jittered(this.#random, this.#pingMs, 0.2));
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** The registry answered somebody. */
  heard(): void {
    this.#heardMs = this.#clock.now();
    if (this.#failure === null) return;
    this.#failure = null;
    this.#backoff.reset();
    this.#schedule(jittered(this.#random, this.#pingMs, 0.2));
    this.#events.back();
  }

  /** Somebody's connection failed: finds out at once whether that is the registry's end or only a connection's. */
  doubt(): void {
    if (this.isUp && !this.#isPinging) this.#schedule(0);
  }

  #schedule(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#closed ? null : setTimeout(this.#check, ms, ms === 0);
  }

  readonly #check = async (asked: boolean): Promise<void> => {
    this.#timer = null;
    const quietMs = this.#clock.now() - this.#heardMs;
    if (this.isUp && !asked && quietMs < this.#pingMs / 2) return this.#schedule(this.#pingMs - quietMs);
    this.#isPinging = true;
    let failure: OperationError | null = null;
    try {
      await this.#ping();
    } catch (error) {
      failure = error as OperationError;
    }
    this.#isPinging = false;
    if (this.#closed) return;
    if (failure === null) {
      this.heard();
      this.#schedule(jittered(this.#random, this.#pingMs, 0.2));
      return;
    }
    const before = this.#failure;
    this.#failure = failure;
    this.#schedule(this.#backoff.next());
    if (before === null) this.#events.lost(failure);
    else if (before.message !== failure.message) this.#events.stillLost(failure);
  };
}
