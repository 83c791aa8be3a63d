import { hashText, mixBits } from '../base/hash.ts';
import { DOWN_BY_CHOICE } from '../endpoint/down.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import type { KeyOrder } from './key-order.ts';
import type { LoadBound } from './load-bound.ts';
import { fillTable, MAX_MEMBERS, SLOTS } from './maglev-table.ts';
import { Rendezvous } from './rendezvous.ts';

/** Slots a key tries before all endpoints are compared for it. With half of the endpoints down one key in 65 536 gets there. */
const JUMPS = 16;
const GOLDEN = 0x9e3779b9;
const TWO_TO_32 = 4294967296;

/**
 * Maglev hashing: a key looks into one slot of a table. The table holds every endpoint that may be used, down or not, and is made only when these change:
 * whose slot belongs to one that is down jumps to another slot, so no other key moves, and no table is made when health flaps. An endpoint in
 * slow start takes the keys of its slots in proportion, more and more of them, and lets the others jump.
 */
export class Maglev implements KeyOrder {
  readonly #table = new Uint16Array(SLOTS);
  /** Who is in the table, sorted by the hash of their IDs. */
  #members: readonly Endpoint[] = [];
  #seeds: Int32Array = new Int32Array(0);
  readonly #indices = new Map<Endpoint, number>();
  /** [member] which part of the keys of its slots it takes, times 2³²; 0 for who is not available. */
  #taken: Float64Array = new Float64Array(0);
  /** What the table was made from. */
  #madeOf: readonly Endpoint[] = [];
  #madeWith: Float64Array = new Float64Array(0);
  readonly #all = new Rendezvous();

  update(set: EndpointSet): void {
    this.#all.update(set);
    const usable = tableMembersOf(set);
    if (!this.#isMadeOf(usable)) this.#make(usable);
    this.#taken.fill(0);
    for (const endpoint of set.available) {
      const index = this.#indices.get(endpoint);
      if (index !== undefined) this.#taken[index] = (TWO_TO_32 * endpoint.effectiveWeight) / endpoint.weight;
    }
  }

  first(hash: number, tried: Tried, bound: LoadBound | null): Endpoint | null {
    const members = this.#members;
    let point = hash;
    for (let jump = 0; jump < JUMPS && members.length > 0; jump++) {
      const index = this.#table[point % SLOTS];
      if (this.#takes(index, hash)) {
        const endpoint = members[index];
        const isFit = (tried.size === 0 || !tried.has(endpoint)) && (bound === null || bound.hasRoom(endpoint));
        if (isFit) return endpoint;
      }
      point = mixBits((point + GOLDEN) | 0);
    }
    return this.#all.first(hash, tried, bound);
  }

  #takes(index: number, hash: number): boolean {
    const taken = this.#taken[index];
    return taken >= TWO_TO_32 || (taken > 0 && mixBits(hash ^ this.#seeds[index]) < taken);
  }

  #isMadeOf(usable: readonly Endpoint[]): boolean {
    if (usable.length !== this.#madeOf.length) return false;
    for (let i = 0; i < usable.length; i++)
      if (usable[i] !== this.#madeOf[i] || usable[i].weight !== this.#madeWith[i]) return false;
    return true;
  }

  #make(usable: readonly Endpoint[]): void {
    this.#madeOf = usable;
    this.#madeWith = Float64Array.from(usable, ({ weight }) => weight);
    this.#members = usable.length > MAX_MEMBERS ? [] : sortedByHash(usable);
    const { length } = this.#members;
    this.#seeds = new Int32Array(length);
    this.#taken = new Float64Array(length);
    this.#indices.clear();
    const weights = new Float64Array(length);
    for (let i = 0; i < length; i++) {
      const endpoint = this.#members[i];
      this.#seeds[i] = hashText(endpoint.id);
      weights[i] = endpoint.weight;
      this.#indices.set(endpoint, i);
    }
    if (length > 0) fillTable(this.#table, this.#seeds, weights);
  }
}

/** Everybody who may be used at this time, whether fit or not; backups only while they are in use. */
function tableMembersOf({ all, available }: EndpointSet): Endpoint[] {
  const usesBackups = available.some(({ isBackup }) => isBackup);
  return (usesBackups ? available : all).filter(
    (endpoint) =>
      endpoint.weight > 0 && (usesBackups || (!endpoint.isBackup && (endpoint.down & DOWN_BY_CHOICE) === 0)),
  );
}

/** By hash and index as one number each: numbers are sorted many times as fast as objects. */
function sortedByHash(members: readonly Endpoint[]): Endpoint[] {
  const keys = new Float64Array(members.length);
  for (let i = 0; i < keys.length; i++) keys[i] = (hashText(members[i].id) >>> 0) * 2 ** 20 + i;
  keys.sort();
  return Array.from(keys, (key) => members[key % 2 ** 20]);
}
