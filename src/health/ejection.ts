import type { Endpoint } from '../endpoint/endpoint.ts';
import { isFailure, Outcome } from '../endpoint/outcome.ts';
import type { EjectionOptions } from './ejection-options.ts';
import { type EjectionContext, Ejector } from './ejector.ts';

/** After a lag of the own event loop timeouts are not held against anybody for so long. */
const HOLD_MS = 1000;

/**
 * Takes endpoints out that fail in a row, at the failure itself. One per pool and worker: the pool calls `onAnswer` for every answer and `update`
 * for every new set. What is judged over time (`OutlierDetector`) and whatever ends an ejection (`EjectionRestorer`) is main's.
 */
export class Ejection {
  readonly #options: EjectionOptions;
  readonly #context: EjectionContext;
  readonly #ejector: Ejector;
  #members: readonly Endpoint[] = [];
  #heldUntilMs = 0;

  constructor(options: EjectionOptions, context: EjectionContext) {
    this.#options = options;
    this.#context = context;
    this.#ejector = new Ejector(options, context);
  }

  /** `members` is the whole pool, available or not. */
  update(members: readonly Endpoint[]): void {
    this.#members = members;
    this.#ejector.retain(members);
  }

  /** This thread's event loop came late: the timeouts that follow say something about us. */
  hold(nowMs: number): void {
    this.#heldUntilMs = nowMs + HOLD_MS;
  }

  /** Once per attempt, when its response head is here or will never be. A client that left says nothing. Hot path. */
  onAnswer(endpoint: Endpoint, outcome: Outcome, nowMs?: number): void {
    if (outcome === Outcome.CLIENT_GONE || this.#context.words.frozen) return;
    if (!isFailure(outcome)) {
      // Read before write: the word shares its cache line with others', and in good times it is 0 already.
      if (endpoint.failuresInRow !== 0) endpoint.failuresInRow = 0;
      return;
    }
    const isOurs = outcome === Outcome.TIMED_OUT && this.#heldUntilMs > 0;
    if (isOurs && (nowMs ?? this.#context.clock.now()) < this.#heldUntilMs) return;
    endpoint.failuresInRow++;
    const { consecutiveFailures } = this.#options;
    if (consecutiveFailures === null || endpoint.failuresInRow < consecutiveFailures) return;
    this.#ejector.eject(endpoint, 'consecutive-failures', this.#members);
  }
}
