import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { Hedging, type HedgingOptions, hedgingOptions } from '../../../src/pool/hedging.ts';

const parse = (value: unknown): HedgingOptions => hedgingOptions.parse(value);

describe('hedging of one pool', () => {
  it('is turned on by one word, and says what is wrong with others', () => {
    const defaults = { after: { quantile: 0.95 }, budget: 0.05, min: 2, max: 1000 };
    expect([parse('on'), parse(true), parse({})]).toEqual([defaults, defaults, defaults]);
    expect(parse({ after: '50ms' }).after).toEqual({ ms: 50 });
    expect(parse({ after: 'p99.5' }).after).toEqual({ quantile: 0.995 });
    for (const wrong of ['p20', 'p100', '95', '0ms', 5, null]) expect(() => parse({ after: wrong })).toThrow();
  });

  it('waits as long as nineteen in twenty answers take, within its bounds, and follows them', () => {
    const hedging = new Hedging(parse({}));
    const random = seededRandom(1);
    let nowMs = 0;
    const second = (meanMs: number) => {
      for (let i = 0; i < 1000; i++) hedging.observe(Outcome.OK, -Math.log(1 - random()) * meanMs);
      nowMs += 1000;
      hedging.tick(nowMs);
    };
    expect(hedging.delayMs).toBe(Infinity);
    for (let i = 0; i < 30; i++) second(4);
    // The p95 of an exponential time is 3 times its mean.
    expect(hedging.delayMs).toBeGreaterThan(11);
    expect(hedging.delayMs).toBeLessThan(13.5);
    for (let i = 0; i < 60; i++) second(40);
    expect(hedging.delayMs).toBeGreaterThan(105);
    for (let i = 0; i < 120; i++) second(0.1);
    expect(hedging.delayMs).toBe(2);
  });

  it('does not take the elapsed time of who was cancelled for an answer, but for a lower bound', () => {
    const hedging = new Hedging(parse({ max: '10s' }));
    for (let i = 0; i < 1000; i++) hedging.observe(Outcome.OK, 10);
    hedging.tick(1000);
    const before = hedging.delayMs;
    for (let i = 0; i < 10_000; i++) hedging.observe(Outcome.CLIENT_GONE, 1);
    hedging.tick(2000);
    expect(hedging.delayMs).toBe(before);
    for (let i = 0; i < 200; i++) hedging.observe(Outcome.CLIENT_GONE, 50);
    hedging.tick(3000);
    expect(hedging.delayMs).toBeGreaterThan(before);
  });

  it('has one hedge for twenty requests, and saves a few', () => {
    const hedging = new Hedging(parse({ after: '5ms' }));
    expect(hedging.delayMs).toBe(5);
    let taken = 0;
    for (let i = 0; i < 10_000; i++) {
      hedging.countRequest();
      if (hedging.tryTake()) taken++;
    }
    expect(taken).toBeGreaterThanOrEqual(499);
    expect(taken).toBeLessThanOrEqual(510);
  });
});
