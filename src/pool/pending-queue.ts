import { Ring } from '../base/ring.ts';
import { POOL_COUNTERS, PoolCounter, type PoolWords } from '../endpoint/pool-words.ts';

/** Someone who waits for an endpoint with room. Called in turn, from a release or a wheel tick. */
export interface PoolWaiter {
  /** Tries `acquire` again; returns false when there is still no room, and keeps its place. */
  onTurn(): boolean;
}

/** A place in the queue of a pool, given up by `leave`; `waiter` is null from then on. */
export interface PendingPlace {
  waiter: PoolWaiter | null;
}

/** Of those who failed somewhere, how many are looked at in one go. */
const AGAIN_AT_ONCE = 16;

/** Who waits for an endpoint of one pool in one thread; how many wait in all threads is in shared memory. Served on the request path. */
export class PendingQueue {
  readonly #words: PoolWords;
  readonly #counter: number;
  readonly #waiting = new Ring<PendingPlace>();
  /** Those who failed somewhere: each may wait for another endpoint, so none may hold up who is behind it. */
  readonly #again = new Ring<PendingPlace>();
  #isServing = false;

  constructor(words: PoolWords, row: number) {
    this.#words = words;
    this.#counter = row * POOL_COUNTERS + PoolCounter.PENDING;
  }

  /** Places, those that were given up since included. */
  get length(): number {
    return this.#waiting.length + this.#again.length;
  }

  /** Null when so many wait, in all threads, as `limit` allows. */
  enter(waiter: PoolWaiter, again: boolean, limit: number | null): PendingPlace | null {
    if (limit !== null && this.#words.counter(PoolCounter.PENDING) >= limit) return null;
    const place: PendingPlace = { waiter };
    (again ? this.#again : this.#waiting).push(place);
    this.#words.counters[this.#counter]++;
    return place;
  }

  leave(place: PendingPlace): void {
    if (place.waiter === null) return;
    place.waiter = null;
    this.#words.counters[this.#counter]--;
  }

  /** Lets those who wait try, in their order. Nothing, while it is at it: a turn may end an attempt. */
  serve(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    try {
      this.#serveAgain();
      this.#serveFirst();
    } finally {
      this.#isServing = false;
    }
  }

  #serveAgain(): void {
    for (let left = Math.min(this.#again.length, AGAIN_AT_ONCE); left > 0; left--) {
      const place = this.#again.shift() as PendingPlace;
      if (place.waiter === null) continue;
      if (place.waiter.onTurn()) this.leave(place);
      else this.#again.push(place);
    }
  }

  #serveFirst(): void {
    for (;;) {
      const place = this.#waiting.peek();
      if (place === undefined) return;
      const waiter = place.waiter;
      if (waiter !== null && !waiter.onTurn()) return;
      this.#waiting.shift();
      this.leave(place);
    }
  }
}
