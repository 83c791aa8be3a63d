/** Things with a time, the earliest first: a binary heap. */
export class DueHeap<T> {
  readonly #times: number[] = [];
  readonly #things: T[] = [];

  /** Time of the first; Infinity when there is none. */
  get nextMs(): number {
    return this.#times.length === 0 ? Number.POSITIVE_INFINITY : this.#times[0];
  }

  push(dueMs: number, thing: T): void {
    const times = this.#times;
    const things = this.#things;
    let place = times.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (times[parent] <= dueMs) break;
      times[place] = times[parent];
      things[place] = things[parent];
      place = parent;
    }
    times[place] = dueMs;
    things[place] = thing;
  }

  /** Takes the first. There must be one. */
  pop(): T {
    const times = this.#times;
    const things = this.#things;
    const first = things[0];
    const lastMs = times.pop() as number;
    const last = things.pop() as T;
    const count = times.length;
    if (count === 0) return first;
    let place = 0;
    for (let child = 1; child < count; child = 2 * place + 1) {
      if (child + 1 < count && times[child + 1] < times[child]) child++;
      if (times[child] >= lastMs) break;
      times[place] = times[child];
      things[place] = things[child];
      place = child;
    }
    times[place] = lastMs;
    things[place] = last;
    return first;
  }
}
