import { describe, expect, it } from 'vitest';
import { POOL_COUNTERS, PoolCounter, PoolWords, RETRY_COST } from '../../../src/endpoint/pool-words.ts';

describe('the shared words of a pool', () => {
  it('are the same for every thread that has the buffer, and do not run into each other', () => {
    const words = new PoolWords(3);
    const other = new PoolWords(3, words.buffer);
    words.bumpGeneration();
    words.frozen = true;
    words.refillRetries(5 * RETRY_COST, 5 * RETRY_COST);
    expect(words.tryTakeEjection(2)).toBe(true);
    words.counters.fill(1);
    expect([other.generation, other.frozen, other.ejected]).toEqual([1, true, 1]);
    expect(other.counter(PoolCounter.REQUESTS)).toBe(3);
    for (let i = 0; i < 5; i++) expect(other.tryTakeRetry()).toBe(true);
    expect(other.tryTakeRetry()).toBe(false);
  });

  it('hold the cap of ejections, and give places back', () => {
    const words = new PoolWords(2);
    expect([words.tryTakeEjection(2), words.tryTakeEjection(2), words.tryTakeEjection(2)]).toEqual([true, true, false]);
    words.returnEjection();
    expect(words.tryTakeEjection(2)).toBe(true);
    expect(words.ejected).toBe(2);
  });

  it('never keep more retries than the cap', () => {
    const words = new PoolWords(2);
    words.refillRetries(10 * RETRY_COST, 2 * RETRY_COST);
    words.refillRetries(10 * RETRY_COST, 2 * RETRY_COST);
    expect([words.tryTakeRetry(), words.tryTakeRetry(), words.tryTakeRetry()]).toEqual([true, true, false]);
  });

  it('forget who waited in a dead worker and keep what it counted', () => {
    const words = new PoolWords(3);
    words.counters[2 * POOL_COUNTERS + PoolCounter.PENDING] = 4;
    words.counters[2 * POOL_COUNTERS + PoolCounter.REQUESTS] = 9;
    words.counters[1 * POOL_COUNTERS + PoolCounter.PENDING] = 1;
    words.retire(2);
    expect([words.counter(PoolCounter.PENDING), words.counter(PoolCounter.REQUESTS)]).toEqual([1, 9]);
  });
});
