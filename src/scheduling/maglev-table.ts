import { mixBits } from '../base/hash.ts';

/**
 * Slots of the table, a prime (Envoy's default too). Always the same: a table of another size would move nearly every key. Each of 500
 * members has 131 slots, each of 10 000 has 6 or 7.
 */
export const SLOTS = 65_537;
/** More members than this have no table. */
export const MAX_MEMBERS = SLOTS >> 1;
const FREE = 0xffff;
const GOLDEN = 0x9e3779b9;
/** Hashes spent on the last free slots. */
const TAIL_HASHES = 200_000;
const TAIL_SLOTS = 2000;

/**
 * Fills a Maglev table (Eisenbud and others, NSDI 2016, §3.4) with weights: each member takes slots in an order of its own, by turns in proportion to its
 * weight, one at least. `seeds` are hashes of the members, 1…MAX_MEMBERS of them; the members' order matters little if it is always the same.
 *
 * Members that came to the last free slots one by one would step over hundreds of taken ones for each: half of all the work. So these
 * slots choose their member, by rendezvous. 3 to 5 ms, and that many again the first time in a thread.
 */
export function fillTable(table: Uint16Array, seeds: Int32Array, weights: Float64Array): void {
  table.fill(FREE);
  const place = new Int32Array(seeds.length);
  const skip = new Int32Array(seeds.length);
  for (let member = 0; member < seeds.length; member++) {
    place[member] = mixBits(seeds[member]) % SLOTS;
    skip[member] = (mixBits((seeds[member] + GOLDEN) | 0) % (SLOTS - 1)) + 1;
  }
  // Of equals everybody has its turn in every round: a third of the work less.
  const turns = weights.every((weight) => weight === weights[0]) ? null : turnsOf(slotCounts(weights));
  const ownTurns = SLOTS - Math.min(TAIL_SLOTS, Math.floor(TAIL_HASHES / seeds.length));
  for (let turn = 0, next = 0; turn < ownTurns; turn++) {
    const member = turns === null ? next : turns[turn];
    next = next + 1 < seeds.length ? next + 1 : 0;
    const step = skip[member];
    let at = place[member];
    while (table[at] !== FREE) {
      at += step;
      // at -= SLOTS where at ≥ SLOTS, without a branch that is mispredicted half of the time.
      at -= SLOTS & ((SLOTS - 1 - at) >> 31);
    }
    table[at] = member;
    place[member] = at;
  }
  for (let slot = 0; slot < SLOTS; slot++) if (table[slot] === FREE) table[slot] = chooseFor(slot, seeds, weights);
}

function chooseFor(slot: number, seeds: Int32Array, weights: Float64Array): number {
  const key = mixBits(slot + 1);
  let chosen = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let member = 0; member < seeds.length; member++) {
    const x = mixBits(key ^ seeds[member]);
    if (x >= least * weights[member]) continue;
    least = x / weights[member];
    chosen = member;
  }
  return chosen;
}

/** Who takes the slots, turn by turn: the k-th of a member's n turns is (k + ½) / n of the way. */
function turnsOf(counts: Int32Array): Uint16Array {
  const members = new Uint16Array(SLOTS);
  const times = new Int32Array(SLOTS);
  const starts = new Int32Array(SLOTS + 1);
  for (let member = 0, i = 0; member < counts.length; member++) {
    const gap = SLOTS / counts[member];
    for (let k = 0; k < counts[member]; k++, i++) {
      const time = Math.floor((k + 0.5) * gap);
      members[i] = member;
      times[i] = time;
      starts[time + 1]++;
    }
  }
  for (let i = 0; i < SLOTS; i++) starts[i + 1] += starts[i];
  const turns = new Uint16Array(SLOTS);
  for (let i = 0; i < SLOTS; i++) turns[starts[times[i]]++] = members[i];
  return turns;
}

/** Slots of each member, SLOTS together: what rounding leaves over goes to the first, what it takes too much comes from the largest. */
function slotCounts(weights: Float64Array): Int32Array {
  let total = 0;
  for (const weight of weights) total += weight;
  const counts = new Int32Array(weights.length);
  let left = SLOTS;
  for (let i = 0; i < counts.length; i++) {
    counts[i] = Math.max(1, Math.floor((weights[i] / total) * SLOTS));
    left -= counts[i];
  }
  for (let i = 0; left > 0; i = (i + 1) % counts.length, left--) counts[i]++;
  if (left < 0) takeFromLargest(counts, -left);
  return counts;
}

function takeFromLargest(counts: Int32Array, excess: number): void {
  const largest = Array.from(counts.keys()).sort((a, b) => counts[b] - counts[a]);
  for (let i = 0, left = excess; left > 0; i = (i + 1) % largest.length) {
    if (counts[largest[i]] === 1) continue;
    counts[largest[i]]--;
    left--;
  }
}
