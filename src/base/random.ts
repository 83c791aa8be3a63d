/** Uniform in [0, 1). Injected wherever a decision is drawn, so that tests and simulations repeat. */
export type Random = () => number;

export const systemRandom: Random = Math.random;

/** mulberry32 (Tommy Ettinger, public domain): small, seedable, passes gjrand at this size. For tests and simulations. */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Uniform integer in [0, n). */
export function randomIndex(random: Random, n: number): number {
  return Math.floor(random() * n);
}

/** `ms` changed by up to ± `share` of itself: 20 % jitter is `jittered(random, ms, 0.2)`. */
export function jittered(random: Random, ms: number, share: number): number {
  return ms * (1 + share * (2 * random() - 1));
}
