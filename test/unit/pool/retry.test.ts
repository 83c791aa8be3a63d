import { describe, expect, it } from 'vitest';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { RETRY_REASONS } from '../../../src/endpoint/pool-words.ts';
import {
  outcomeOfStatus,
  RETRY_ON_WORDS,
  RetryOn,
  retryBitOfStatus,
  retryDelayMs,
  retryMask,
  retryReason,
  STALE_CONNECTION,
} from '../../../src/pool/retry.ts';

describe('what may be tried again', () => {
  it('waits with full jitter, up to 25 ms and with each further retry longer, never longer than 250 ms', () => {
    const most = (retry: number) =>
      Math.max(...Array.from({ length: 50 }, (_, i) => retryDelayMs(retry, () => i / 50)));
    expect([1, 2, 3, 4, 9].map((retry) => Math.round(most(retry)))).toEqual([25, 74, 172, 245, 245].map(Math.round));
    expect(retryDelayMs(1, () => 0)).toBe(0);
  });

  it('has one bit and one reason for every word of a document', () => {
    const bits = RETRY_ON_WORDS.map((word) => retryMask([word]));
    expect(new Set(bits)).toEqual(new Set(Object.values(RetryOn)));
    expect(RETRY_ON_WORDS.map((word) => RETRY_REASONS[retryReason(retryMask([word]))])).toEqual([...RETRY_ON_WORDS]);
    expect(retryMask(RETRY_ON_WORDS)).toBe(63);
    expect(RETRY_REASONS[STALE_CONNECTION]).toBe('stale-connection');
  });

  it('has bits for the statuses of gateways only', () => {
    const found = Array.from({ length: 500 }, (_, i) => i + 100).filter((status) => retryBitOfStatus(status) !== 0);
    expect(found).toEqual([502, 503, 504]);
    for (const status of found) expect(RETRY_REASONS[retryReason(retryBitOfStatus(status))]).toBe(String(status));
  });

  it('blames an endpoint for 5xx, except those that speak of the request', () => {
    expect([200, 404, 499, 501, 505].map(outcomeOfStatus)).toEqual(new Array(5).fill(Outcome.OK));
    expect([500, 502, 503, 599].map(outcomeOfStatus)).toEqual(new Array(4).fill(Outcome.SERVER_ERROR));
  });
});
