/** Upper bounds of the exported latency buckets in seconds (contract). The last bucket, +Inf, has no entry here. */
export const BUCKET_BOUNDS_SECONDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** Buckets of one exported histogram, +Inf included. */
export const BUCKETS = BUCKET_BOUNDS_SECONDS.length + 1;

const boundsMs = Float64Array.from(BUCKET_BOUNDS_SECONDS, (seconds) => seconds * 1000);

/** Index of the bucket a duration falls into; bounds are inclusive, as Prometheus has them. Hot path: at most 16 comparisons. */
export function bucketIndex(ms: number): number {
  let index = 0;
  while (index < 16 && ms > boundsMs[index]) index++;
  return index;
}

/**
 * The value below which `quantile` of the observations lie, in ms, interpolated within its bucket as Prometheus' histogram_quantile does.
 * NaN when nothing was observed; the highest finite bound when the quantile falls into +Inf.
 */
export function bucketQuantile(counts: ArrayLike<number>, quantile: number): number {
  let total = 0;
  for (let i = 0; i < BUCKETS; i++) total += counts[i];
  if (total === 0) return Number.NaN;
  const rank = quantile * total;
  let below = 0;
  for (let i = 0; i < BUCKETS; i++) {
    if (below + counts[i] >= rank && counts[i] > 0) {
      if (i === BUCKETS - 1) return boundsMs[BUCKETS - 2];
      const lower = i === 0 ? 0 : boundsMs[i - 1];
      return lower + ((boundsMs[i] - lower) * (rank - below)) / counts[i];
    }
    below += counts[i];
  }
  return boundsMs[BUCKETS - 2];
}

/** Sub-buckets per power of two: 16 gives a relative error of at most 1/16. */
const FINE_SUB = 16;
/** Powers of two covered above 2^0 units of 1/64 ms: up to 2^24 / 64 ms, about 262 s. */
const FINE_POWERS = 24;

/** Cells of one fine (log-linear) histogram. */
export const FINE_BUCKETS = FINE_SUB * (FINE_POWERS - 3);

/** Index into a fine histogram (log-linear, as HdrHistogram). Units are 1/64 ms; exact up to 16 units, then 16 steps per power of two. */
export function fineIndex(ms: number): number {
  const units = ms * 64;
  if (units < FINE_SUB) return units > 0 ? units | 0 : 0;
  const capped = units < 16_777_215 ? units | 0 : 16_777_215;
  const power = 31 - Math.clz32(capped);
  return (power - 3) * FINE_SUB + ((capped >>> (power - 4)) & (FINE_SUB - 1));
}

/** The upper edge of a fine bucket in ms. */
export function fineUpperMs(index: number): number {
  if (index < FINE_SUB) return (index + 1) / 64;
  const power = Math.floor(index / FINE_SUB) + 3;
  const sub = index % FINE_SUB;
  return ((FINE_SUB + sub + 1) * 2 ** (power - 4)) / 64;
}

/** Quantile of a fine histogram in ms (upper edge of its bucket), NaN when empty. */
export function fineQuantile(counts: ArrayLike<number>, quantile: number): number {
  let total = 0;
  for (let i = 0; i < FINE_BUCKETS; i++) total += counts[i];
  if (total === 0) return Number.NaN;
  const rank = quantile * total;
  let seen = 0;
  for (let i = 0; i < FINE_BUCKETS; i++) {
    seen += counts[i];
    if (seen >= rank && counts[i] > 0) return fineUpperMs(i);
  }
  return fineUpperMs(FINE_BUCKETS - 1);
}
