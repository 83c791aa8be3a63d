import { beforeEach, describe, expect, it } from 'vitest';
import { POOL_COUNTERS, PoolCounter, PoolWords } from '../../../src/endpoint/pool-words.ts';
import { RetryBudget } from '../../../src/pool/retry-budget.ts';

describe('a retry budget', () => {
  let words: PoolWords;
  let nowMs: number;

  beforeEach(() => {
    words = new PoolWords(2);
    nowMs = 1000;
  });

  function takeAll(): number {
    let taken = 0;
    while (words.tryTakeRetry()) taken++;
    return taken;
  }

  /** `perSecond` requests for some seconds; as many retries as there may be after each tenth of one. */
  function run(budget: RetryBudget, perSecond: number, seconds: number, share = 0.2): number {
    let retries = 0;
    for (let i = 0; i < seconds * 10; i++) {
      nowMs += 100;
      words.counters[POOL_COUNTERS + PoolCounter.REQUESTS] += perSecond / 10;
      budget.refill(share, nowMs);
      retries += takeAll();
    }
    return retries;
  }

  it('lets a quiet pool retry, ten a second and a hundred at once', () => {
    const budget = new RetryBudget(words, nowMs);
    expect(takeAll()).toBe(100);
    expect(run(budget, 0, 10)).toBe(100);
  });

  it('grows with the requests: a fifth of them, and ten a second', () => {
    const budget = new RetryBudget(words, nowMs);
    takeAll();
    expect(run(budget, 1000, 10)).toBeCloseTo(2100, -1);
  });

  it('allows ten a second and no more where the share is nothing', () => {
    const budget = new RetryBudget(words, nowMs);
    takeAll();
    expect(run(budget, 1000, 10, 0)).toBe(100);
  });

  it('keeps unused budget for ten seconds, not for ever', () => {
    const budget = new RetryBudget(words, nowMs);
    for (let i = 0; i < 6000; i++) {
      nowMs += 100;
      words.counters[POOL_COUNTERS + PoolCounter.REQUESTS] += 10;
      budget.refill(0.2, nowMs);
    }
    // 100 requests a second: (10 + 20) a second for ten seconds.
    expect(takeAll()).toBeGreaterThan(290);
    expect(takeAll()).toBe(0);
    nowMs += 100;
    budget.refill(0.2, nowMs);
    expect(takeAll()).toBeLessThanOrEqual(1);
  });

  it('does not count requests that came before it, nor time that did not pass', () => {
    words.counters[POOL_COUNTERS + PoolCounter.REQUESTS] = 1_000_000;
    const budget = new RetryBudget(words, nowMs);
    takeAll();
    budget.refill(0.2, nowMs);
    expect(takeAll()).toBe(0);
    nowMs += 100;
    budget.refill(0.2, nowMs);
    expect(takeAll()).toBe(1);
  });
});
