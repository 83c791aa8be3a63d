/** Numbers of one worker: the time of its last beat, the worst lag of the second that runs and of the one before, its memory. */
const WIDTH = 8;
const BEAT = 0;
const LAG_NOW = 1;
const LAG_BEFORE = 2;
const LAG_SINCE = 3;
const MEMORY = 4;

/** Signs of life in shared memory: each worker writes its own row at every wheel tick, main reads. Times are the process's clock in ms. */
export class Heartbeats {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Float64Array;
  readonly #memoryBytes: () => number;

  /** `memoryBytes` measures this thread; asked for once a second. */
  constructor(rows: number, buffer = new SharedArrayBuffer(rows * WIDTH * 8), memoryBytes: () => number = () => 0) {
    this.buffer = buffer;
    this.#memoryBytes = memoryBytes;
    this.#cells = new Float64Array(buffer);
  }

  /** A worker is alive; its loop came `lagMs` later than it should have. */
  beat(row: number, nowMs: number, lagMs: number): void {
    const cells = this.#cells;
    const at = row * WIDTH;
    cells[at + BEAT] = nowMs;
    if (nowMs - cells[at + LAG_SINCE] >= 1000) {
      cells[at + LAG_BEFORE] = cells[at + LAG_NOW];
      cells[at + LAG_NOW] = 0;
      cells[at + LAG_SINCE] = nowMs;
      cells[at + MEMORY] = this.#memoryBytes();
    }
    if (lagMs > cells[at + LAG_NOW]) cells[at + LAG_NOW] = lagMs;
  }

  /** Heap and what hangs on it outside, in bytes; 0 when not yet known. */
  memoryBytes(row: number): number {
    return this.#cells[row * WIDTH + MEMORY];
  }

  /** Time of the last beat, 0 before the first. */
  lastBeatMs(row: number): number {
    return this.#cells[row * WIDTH + BEAT];
  }

  /** Worst lag of the last second or so. */
  lagMs(row: number): number {
    return Math.max(this.#cells[row * WIDTH + LAG_NOW], this.#cells[row * WIDTH + LAG_BEFORE]);
  }

  clear(row: number): void {
    this.#cells.fill(0, row * WIDTH, (row + 1) * WIDTH);
  }
}
