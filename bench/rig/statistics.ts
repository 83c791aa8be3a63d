/** The value below which `share` (0…1) of the values lie, interpolated; NaN without values. */
export function quantile(values: readonly number[], share: number): number {
  const known = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  if (known.length === 0) return Number.NaN;
  const at = (known.length - 1) * share;
  const below = Math.floor(at);
  const above = Math.min(below + 1, known.length - 1);
  return known[below] + (known[above] - known[below]) * (at - below);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Round by round: the same index in both is the same round. */
export function ratios(own: readonly number[], baseline: readonly number[]): number[] {
  return own.map((value, round) => value / baseline[round]);
}
