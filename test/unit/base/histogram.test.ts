import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BUCKET_BOUNDS_SECONDS,
  BUCKETS,
  bucketIndex,
  bucketQuantile,
  FINE_BUCKETS,
  fineIndex,
  fineQuantile,
  fineUpperMs,
} from '../../../src/base/histogram.ts';

describe('the exported buckets', () => {
  it('include their bounds, and end with +Inf', () => {
    BUCKET_BOUNDS_SECONDS.forEach((seconds, i) => {
      expect(bucketIndex(seconds * 1000)).toBe(i);
      expect(bucketIndex(seconds * 1000 * 1.0001)).toBe(i + 1);
    });
    expect(bucketIndex(0)).toBe(0);
    expect(bucketIndex(Infinity)).toBe(BUCKETS - 1);
  });

  it('give quantiles as histogram_quantile does', () => {
    const counts = new Array(BUCKETS).fill(0);
    expect(bucketQuantile(counts, 0.5)).toBeNaN();
    counts[6] = 10;
    // 10 observations between 25 and 50 ms: the fifth is half way.
    expect(bucketQuantile(counts, 0.5)).toBeCloseTo(37.5);
    expect(bucketQuantile(counts, 1)).toBe(50);
    counts[BUCKETS - 1] = 90;
    expect(bucketQuantile(counts, 0.99)).toBe(60_000);
  });
});

describe('a fine histogram', () => {
  it('puts every value into a bucket whose upper edge is above it by at most a sixteenth', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.02, max: 260_000, noNaN: true }), (ms) => {
        const index = fineIndex(ms);
        expect(index).toBeGreaterThanOrEqual(0);
        expect(index).toBeLessThan(FINE_BUCKETS);
        const upper = fineUpperMs(index);
        expect(upper).toBeGreaterThanOrEqual(ms);
        expect(upper).toBeLessThanOrEqual(ms * (1 + 1 / 16) + 1 / 64 + 1e-9);
      }),
    );
  });

  it('has edges that grow, keeps what is beyond its end, and takes no offence at nothing', () => {
    for (let i = 1; i < FINE_BUCKETS; i++) expect(fineUpperMs(i)).toBeGreaterThan(fineUpperMs(i - 1));
    expect(fineIndex(1e12)).toBe(FINE_BUCKETS - 1);
    expect([fineIndex(0), fineIndex(-1)]).toEqual([0, 0]);
    expect(fineQuantile(new Array(FINE_BUCKETS).fill(0), 0.5)).toBeNaN();
  });

  it('finds quantiles', () => {
    const counts = new Float64Array(FINE_BUCKETS);
    for (let ms = 1; ms <= 100; ms++) counts[fineIndex(ms)]++;
    for (const [quantile, ms] of [
      [0.5, 50],
      [0.9, 90],
      [0.99, 99],
    ]) {
      expect(fineQuantile(counts, quantile)).toBeGreaterThanOrEqual(ms);
      expect(fineQuantile(counts, quantile)).toBeLessThan(ms * 1.07);
    }
  });
});
