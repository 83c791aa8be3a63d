/**
 * A block of counters in shared memory: one row a thread, written plainly by that thread alone, summed by readers with plain loads.
 * Row 0 is main's and holds what dead workers had counted, so that sums never go back. Shape: rows × width float64.
 */
export class CellBlock {
  readonly buffer: SharedArrayBuffer;
  readonly rows: number;
  readonly width: number;
  /** [row * width + cell] */
  readonly cells: Float64Array;

  constructor(rows: number, width: number, buffer = new SharedArrayBuffer(rows * width * 8)) {
    this.buffer = buffer;
    this.rows = rows;
    this.width = width;
    this.cells = new Float64Array(buffer);
  }

  /** Sum of one cell over all rows. */
  sum(cell: number): number {
    let sum = 0;
    for (let row = 0; row < this.rows; row++) sum += this.cells[row * this.width + cell];
    return sum;
  }

  /** Moves a dead worker's counts to row 0. `volatile` cells say what was going on there (connections open): they are dropped. */
  retire(row: number, volatile: readonly number[] = []): void {
    for (const cell of volatile) this.cells[row * this.width + cell] = 0;
    for (let cell = 0; cell < this.width; cell++) {
      this.cells[cell] += this.cells[row * this.width + cell];
      this.cells[row * this.width + cell] = 0;
    }
  }
}
