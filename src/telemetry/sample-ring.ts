/** The last `capacity` numbers, oldest first. */
export class SampleRing {
  readonly #samples: Float64Array;
  #next = 0;
  #length = 0;

  constructor(capacity: number) {
    this.#samples = new Float64Array(capacity);
  }

  push(value: number): void {
    this.#samples[this.#next] = value;
    this.#next = (this.#next + 1) % this.#samples.length;
    if (this.#length < this.#samples.length) this.#length++;
  }

  get latest(): number | undefined {
    return this.#length === 0
      ? undefined
      : this.#samples[(this.#next + this.#samples.length - 1) % this.#samples.length];
  }

  get oldest(): number | undefined {
    if (this.#length === 0) return undefined;
    return this.#samples[this.#length < this.#samples.length ? 0 : this.#next];
  }

  values(): number[] {
    const values: number[] = [];
    const first = this.#next - this.#length + this.#samples.length;
    for (let i = 0; i < this.#length; i++) values.push(this.#samples[(first + i) % this.#samples.length]);
    return values;
  }
}
