import { processorWait } from './processor-wait.ts';

export interface EventuallyOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  /** Processes the time is a promise of: what they waited for a processor is no part of it, as for this process. */
  readonly of?: readonly number[];
}

/** A machine so busy that it takes longer than this fails the test. */
const MOST_WAITED_MS = 3_000;

/** Resolves when `condition` holds (or stops throwing); rejects with the last failure after `timeoutMs`. Polls every 10 ms. */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 10, of = [] }: EventuallyOptions = {},
): Promise<Exclude<T, false | null | undefined>> {
  const waited = processorWait(...of);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let failure: unknown = new Error('the condition did not come true');
    try {
      const value = await condition();
      if (value !== false && value !== undefined && value !== null)
        return value as Exclude<T, false | null | undefined>;
    } catch (error) {
      failure = error;
    }
    if (performance.now() > deadline && performance.now() > deadline + Math.min(waited(), MOST_WAITED_MS))
      throw failure;
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
