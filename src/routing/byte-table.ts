/**
 * Values by byte strings, built once, asked with a hash the caller has computed on its way over the bytes. Never grows.
 *
 * The hash begins at 0 and takes a byte by `(Math.imul(hash, 31) + byte) | 0`, written out where it is used: bytes are `Buffer`
 * everywhere in routing, so that the loops are compiled for one hidden class. Together that halves a match (bench/micro/route-table.ts).
 */
export class ByteTable<V> {
  readonly #mask: number;
  readonly #hashes: Int32Array;
  readonly #keys: (Buffer | null)[];
  readonly #values: (V | null)[];
  readonly size: number;
  /** Bytes of the longest key, -1 when there is none: whoever passes over more need not ask. */
  readonly longest: number;

  /** `hashOf` must be the caller's way over the bytes: hosts are hashed from their end. */
  constructor(entries: ReadonlyMap<string, V>, hashOf: (key: Buffer) => number) {
    let slots = 4;
    while (slots < entries.size * 2) slots *= 2;
    this.size = entries.size;
    this.longest = Math.max(-1, ...[...entries.keys()].map((key) => key.length));
    this.#mask = slots - 1;
    this.#hashes = new Int32Array(slots);
    this.#keys = new Array<Buffer | null>(slots).fill(null);
    this.#values = new Array<V | null>(slots).fill(null);
    for (const [text, value] of entries) this.#put(Buffer.from(text, 'latin1'), value, hashOf);
  }

  #put(key: Buffer, value: V, hashOf: (key: Buffer) => number): void {
    const hash = hashOf(key);
    let slot = spread(hash) & this.#mask;
    while (this.#keys[slot] !== null) slot = (slot + 1) & this.#mask;
    this.#hashes[slot] = hash;
    this.#keys[slot] = key;
    this.#values[slot] = value;
  }

  /** The value of buf[start, end), or null. `hash` is that of the same bytes. */
  get(hash: number, buf: Buffer, start: number, end: number): V | null {
    let slot = spread(hash) & this.#mask;
    for (;;) {
      const key = this.#keys[slot];
      if (key === null) return null;
      if (this.#hashes[slot] === hash && equals(key, buf, start, end)) return this.#values[slot];
      slot = (slot + 1) & this.#mask;
    }
  }
}

// The low bits alone know little of the first bytes.
function spread(hash: number): number {
  return hash ^ (hash >>> 15);
}

function equals(key: Buffer, buf: Buffer, start: number, end: number): boolean {
  if (key.length !== end - start) return false;
  for (let i = 0; i < key.length; i++) if (key[i] !== buf[start + i]) return false;
  return true;
}
