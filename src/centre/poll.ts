import { OperationError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { Stored, StoreSink } from './store.ts';

const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 5000;

/** One look: resolves with what is there now, when it may be another than what the last look found. */
export type Look = (signal: AbortSignal) => Promise<Stored | null>;

/**
 * A watch made of looks that take their time (blocking queries, or a pause and a read): calls the sink when another revision is there. After an error it
 * pauses, longer each time, with jitter.
 */
export class Poll {
  readonly #look: Look;
  readonly #sink: StoreSink;
  readonly #random: Random;
  readonly #ended = new AbortController();
  /** `undefined` before the first answer. */
  #revision: string | null | undefined = undefined;
  #failure: string | null = null;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(look: Look, sink: StoreSink, random: Random) {
    this.#look = look;
    this.#sink = sink;
    this.#random = random;
  }

  start(): void {
    void this.#run();
  }

  close(): void {
    this.#ended.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        this.#take(await this.#look(signal));
      } catch (error) {
        if (signal.aborted) return;
        this.#fail(error);
        await pause(this.#pauseMs * (0.5 + this.#random() / 2), signal);
        this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
      }
    }
  }

  #take(stored: Stored | null): void {
    if (this.#ended.signal.aborted) return;
    this.#failure = null;
    this.#pauseMs = FIRST_PAUSE_MS;
    const revision = stored?.revision ?? null;
    if (revision === this.#revision) return;
    this.#revision = revision;
    this.#sink.changed(stored);
  }

  #fail(error: unknown): void {
    const failure =
      error instanceof OperationError
        ? error
        : new OperationError('store', String((error as Error)?.message ?? error), { retryable: true, cause: error });
    if (failure.message === this.#failure) return;
    this.#failure = failure.message;
    this.#sink.unavailable(failure);
  }
}

/** Resolves after a while, at once when the signal is aborted, or when `wake` is called with what it was given. */
export async function pauseUntil(ms: number, signal: AbortSignal, wake: (now: () => void) => void): Promise<void> {
  const woken = new AbortController();
  const stop = () => woken.abort();
  // Not by AbortSignal.any: what it returns lives as long as its source.
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  wake(stop);
  await pause(ms, woken.signal);
  signal.removeEventListener('abort', stop);
}

/** Resolves after a while, or at once when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = () => resolve();
  const timer = setTimeout(stop, ms);
  signal.addEventListener('abort', stop);
  return promise.finally(() => {
    clearTimeout(timer);
    // The signal may outlive a hundred thousand pauses.
    signal.removeEventListener('abort', stop);
  });
}
