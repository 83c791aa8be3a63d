import type { Endpoint } from '../endpoint/endpoint.ts';

/**
 * Where each of some endpoints stands in a list. Made per change by schedulers: a Map of ten thousand objects takes milliseconds to make, this (an
 * open-addressed table over the slots, which are nearly in a row) a tenth of that.
 */
export class SlotIndex {
  readonly #members: readonly Endpoint[];
  readonly #mask: number;
  /** [cell] place in the list plus one; 0 for an empty cell. */
  readonly #cells: Int32Array;

  /** `members` is taken over; each is in it once. */
  constructor(members: readonly Endpoint[]) {
    let size = 2;
    while (size < 2 * members.length) size *= 2;
    this.#members = members;
    this.#mask = size - 1;
    this.#cells = new Int32Array(size);
    for (let place = 0; place < members.length; place++) {
      let cell = members[place].slot & this.#mask;
      while (this.#cells[cell] !== 0) cell = (cell + 1) & this.#mask;
      this.#cells[cell] = place + 1;
    }
  }

  /** Its place in the list; -1 when it is not in it. */
  of(endpoint: Endpoint): number {
    for (let cell = endpoint.slot & this.#mask; this.#cells[cell] !== 0; cell = (cell + 1) & this.#mask) {
      const place = this.#cells[cell] - 1;
      if (this.#members[place] === endpoint) return place;
    }
    return -1;
  }
}
