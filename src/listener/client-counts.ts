import { HASH_START, hashText, mixBits } from '../base/hash.ts';

/** Slots that are looked at for one address. */
const WAYS = 16;
/** Addresses a worker can count at once: 2 to this power. Memory that is never written is never there. */
const SLOT_BITS = 16;
const SETS = 1 << (SLOT_BITS - 4);
/** Per slot: fingerprint, connections. */
const SLOT_WORDS = 2;
const ROW_WORDS = SETS * WAYS * SLOT_WORDS;
const SEED_WORDS = 2;

/**
 * How many connections each client address has open on one listener, over all workers: a row a thread in shared memory, written plainly by
 * that thread alone, summed by whoever asks. Asked once per connection, and only where the limit is on. Two workers that accept at the same
 * moment may each let one in. An address that finds no slot, beyond some forty thousand of them, is not counted.
 */
export class ClientCounts {
  readonly buffer: SharedArrayBuffer;
  readonly #rows: number;
  readonly #words: Int32Array;

  /** Main makes the buffer, with a seed nobody outside can know; workers take it over. */
  constructor(rows: number, from: SharedArrayBuffer | number) {
    this.buffer = typeof from === 'number' ? new SharedArrayBuffer((SEED_WORDS + rows * ROW_WORDS) * 4) : from;
    this.#rows = rows;
    this.#words = new Int32Array(this.buffer);
    if (typeof from === 'number') this.#words[0] = from;
  }

  /** Connections of an address over all rows. */
  of(address: string): number {
    const { set, print } = this.#place(address);
    let sum = 0;
    for (let row = 0; row < this.#rows; row++) {
      const slot = this.#find(row, set, print);
      if (slot >= 0) sum += this.#words[slot + 1];
    }
    return sum;
  }

  /** One more in this row. Returns false when there is no room to count it: then it must not be closed here either. */
  opened(row: number, address: string): boolean {
    const { set, print } = this.#place(address);
    let slot = this.#find(row, set, print);
    if (slot < 0) slot = this.#find(row, set, 0);
    if (slot < 0) return false;
    this.#words[slot + 1]++;
    this.#words[slot] = print;
    return true;
  }

  closed(row: number, address: string): void {
    const { set, print } = this.#place(address);
    const slot = this.#find(row, set, print);
    if (slot >= 0 && --this.#words[slot + 1] === 0) this.#words[slot] = 0;
  }

  /** A worker died, and its connections with it. */
  retire(row: number): void {
    const start = SEED_WORDS + row * ROW_WORDS;
    this.#words.fill(0, start, start + ROW_WORDS);
  }

  #place(address: string): { set: number; print: number } {
    const seed = this.#words[0];
    const hash = hashText(address);
    return { set: mixBits(hash ^ seed) % SETS, print: mixBits((Math.imul(hash, 31) + seed) ^ HASH_START) | 0 || 1 };
  }

  /** Offset of the slot with this fingerprint; -1 when there is none. 0 finds a free one. */
  #find(row: number, set: number, print: number): number {
    const start = SEED_WORDS + row * ROW_WORDS + set * WAYS * SLOT_WORDS;
    for (let slot = start; slot < start + WAYS * SLOT_WORDS; slot += SLOT_WORDS)
      if (this.#words[slot] === print) return slot;
    return -1;
  }
}
