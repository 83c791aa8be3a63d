import type { Random } from '../base/random.ts';
import { Outcome } from '../endpoint/outcome.ts';
import { RETRY_REASONS } from '../endpoint/pool-words.ts';

/** What may be tried again, as bits; `retry.on` of a pool is a set of these. */
export const RetryOn = { CONNECT: 1, RESET: 2, TIMEOUT: 4, S502: 8, S503: 16, S504: 32 } as const;

/** The words of `retry.on`. */
export const RETRY_ON_WORDS = ['connect-failure', 'reset', 'timeout', '502', '503', '504'] as const;

const BITS: Readonly<Record<(typeof RETRY_ON_WORDS)[number], number>> = {
  'connect-failure': RetryOn.CONNECT,
  reset: RetryOn.RESET,
  timeout: RetryOn.TIMEOUT,
  '502': RetryOn.S502,
  '503': RetryOn.S503,
  '504': RetryOn.S504,
};

export function retryMask(words: readonly string[]): number {
  return words.reduce((mask, word) => mask | (BITS[word as keyof typeof BITS] ?? 0), 0);
}

/** The bit of a response status that an endpoint gave, 0 when it is final. */
export function retryBitOfStatus(status: number): number {
  if (status === 502) return RetryOn.S502;
  if (status === 503) return RetryOn.S503;
  return status === 504 ? RetryOn.S504 : 0;
}

/** Index into RETRY_REASONS for a bit. */
export function retryReason(bit: number): number {
  switch (bit) {
    case RetryOn.CONNECT:
      return RETRY_REASONS.indexOf('connect-failure');
    case RetryOn.RESET:
      return RETRY_REASONS.indexOf('reset');
    case RetryOn.TIMEOUT:
      return RETRY_REASONS.indexOf('timeout');
    case RetryOn.S502:
      return RETRY_REASONS.indexOf('502');
    case RetryOn.S503:
      return RETRY_REASONS.indexOf('503');
    default:
      return RETRY_REASONS.indexOf('504');
  }
}

export const STALE_CONNECTION = RETRY_REASONS.indexOf('stale-connection');

/** Back-off before the first retry, doubled with each further one up to the cap (as Envoy). */
const BACK_OFF_MS = 25;
const BACK_OFF_MAX_MS = 250;

/** Full jitter: anything from 0 to what retry number `retry`, from 1, waits at most. */
export function retryDelayMs(retry: number, random: Random): number {
  return random() * Math.min(BACK_OFF_MAX_MS, BACK_OFF_MS * (2 ** retry - 1));
}

/**
 * The outcome of a response by its status: 5xx speaks against the endpoint, except 501 and 505, which speak of the request
 * (as HAProxy's `observe layer7` has it).
 */
export function outcomeOfStatus(status: number): Outcome {
  return status >= 500 && status !== 501 && status !== 505 ? Outcome.SERVER_ERROR : Outcome.OK;
}
