import { Backoff } from '../base/backoff.ts';
import type { OperationError } from '../base/errors.ts';
import type { RegistryContext } from './registry.ts';

export interface HeartbeatOptions {
  /** Says that we are there, or registers. Rejects with an OperationError. */
  readonly beat: () => Promise<void>;
  /** Between two beats that went well, in ms; Infinity where only `soon` makes one. */
  readonly intervalMs: number;
  /** Ceiling of the time between two that failed, in ms. */
  readonly retryMaxMs: number;
  readonly context: RegistryContext;
  /** What the log says it is about. */
  readonly fields: Readonly<Record<string, string>>;
}

/**
 * What keeps a registration of ours up: beats at regular intervals, after a failure sooner and then ever less often, and the same failure is told once. Made by the registrations
 * of every kind; no timer runs before `start` and after `stop`.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #backoff: Backoff;
  #timer: NodeJS.Timeout | null = null;
  /** The beat under way, when it is over. */
  #beating: Promise<OperationError | null> | null = null;
  /** Asked for while one was under way. */
  #isDue = false;
  #isStopped = false;
  #failure = '';

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#backoff = new Backoff(250, options.retryMaxMs, options.context.random);
  }

  /** The first beat. Rejects when the registry refuses it, and is over then; when it cannot be reached, goes on trying and resolves. */
  async start(): Promise<void> {
    const error = await this.#beat();
    if (error === null || error.retryable) return this.#settle(error);
    void this.stop();
    throw error;
  }

  /** A beat out of turn, now. */
  soon(): void {
    if (this.#beating !== null) this.#isDue = true;
    else this.#schedule(0);
  }

  /** No further beat. Resolves when the one that is under way is over: `beat` looks at `isStopped` before each further step. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.#beating;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  readonly #run = async (): Promise<void> => {
    this.#timer = null;
    this.#settle(await this.#beat());
  };

  async #beat(): Promise<OperationError | null> {
    this.#isDue = false;
    this.#beating = this.#options.beat().then(
      () => null,
      (error: OperationError) => error,
    );
    const error = await this.#beating;
    this.#beating = null;
    return error;
  }

  #settle(error: OperationError | null): void {
    if (error === null) {
      this.#failure = '';
      this.#backoff.reset();
    } else this.#complain(error);
    const pauseMs = error === null ? this.#options.intervalMs : this.#backoff.next();
    this.#schedule(this.#isDue ? 0 : pauseMs);
  }

  #schedule(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#isStopped || ms === Number.POSITIVE_INFINITY ? null : setTimeout(this.#run, ms);
  }

  #complain({ message }: OperationError): void {
    if (this.#isStopped || message === this.#failure) return;
    this.#failure = message;
    const { context, fields } = this.#options;
    context.log('warn', 'the registration is not kept up; trying again', { ...fields, error: message });
  }
}
