/**
 * Why an endpoint takes no new work. Causes are bits, so that they never overwrite each other. LEAVING: it is no member any more, of which a worker may see the bit
 * before it hears of the change.
 */
export const Down = { PROBE: 1, EJECTED: 2, REGISTRY: 4, DRAINING: 8, ADMIN: 16, LEAVING: 32 } as const;

/** Causes that a person or the endpoint itself asked for: such an endpoint is not used even in panic. */
export const DOWN_BY_CHOICE = Down.DRAINING | Down.ADMIN;

const WORDS: readonly (readonly [number, string])[] = [
  [Down.PROBE, 'probe'],
  [Down.EJECTED, 'ejected'],
  [Down.REGISTRY, 'registry'],
  [Down.DRAINING, 'draining'],
  [Down.ADMIN, 'admin'],
  [Down.LEAVING, 'leaving'],
];

/** The causes as words, for the API, the log and the dashboard. */
export function downWords(bits: number): string[] {
  return WORDS.filter(([bit]) => (bits & bit) !== 0).map(([, word]) => word);
}
