/**
 * Lets entrants take turns, round by round, each starting another round first. What each did, by name, in the order of the rounds: the same index in
 * two lists is the same round.
 */
export async function takeTurns<E extends { readonly name: string }, S>(
  entrants: readonly E[],
  rounds: number,
  turn: (entrant: E, round: number) => Promise<S>,
): Promise<Map<string, S[]>> {
  const samples = new Map<string, S[]>(entrants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < entrants.length; i++) {
      const entrant = entrants[(i + round) % entrants.length];
      samples.get(entrant.name)?.push(await turn(entrant, round));
    }
  }
  return samples;
}
