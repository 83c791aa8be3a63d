/**
 * What a group of ever-growing counters gained within the last `samples` samples. One `advance` a sample; reading costs nothing. The first
 * advance only takes the counters' values as they are: what was counted before is not recent.
 */
export class WindowedCounters {
  /** Gains within the window, by counter. Read only. */
  readonly sums: Float64Array;
  readonly #last: Float64Array;
  /** [sample * width + counter] gains of each sample in the window. */
  readonly #gains: Uint32Array;
  readonly #width: number;
  readonly #samples: number;
  #sample = 0;
  #isPrimed = false;

  constructor(width: number, samples: number) {
    this.#width = width;
    this.#samples = samples;
    this.sums = new Float64Array(width);
    this.#last = new Float64Array(width);
    this.#gains = new Uint32Array(width * samples);
  }

  /** Takes the counters' values as of now. A value below the last one means that the counter was started anew. */
  advance(values: ArrayLike<number>): void {
    const first = this.#sample * this.#width;
    for (let i = 0; i < this.#width; i++) {
      const value = values[i];
      const last = this.#last[i];
      const gain = !this.#isPrimed ? 0 : value >= last ? value - last : value;
      this.sums[i] += gain - this.#gains[first + i];
      this.#gains[first + i] = gain;
      this.#last[i] = value;
    }
    this.#isPrimed = true;
    this.#sample = (this.#sample + 1) % this.#samples;
  }

  /** What a counter gained in the latest sample. */
  latest(counter: number): number {
    const sample = (this.#sample + this.#samples - 1) % this.#samples;
    return this.#gains[sample * this.#width + counter];
  }
}
