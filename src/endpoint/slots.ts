import { BUCKETS } from '../base/histogram.ts';
import { OUTCOMES } from './outcome.ts';

/** Slots of one chunk. Memory is added chunk by chunk and never grown: growable buffers are 5–60 times slower to read. */
export const CHUNK_SLOTS = 256;

/** Counters of one slot in one row: outcomes, the sum of latencies in ms, then the latency buckets. */
export const COUNTERS = 32;
export const COUNTER_LATENCY_SUM = OUTCOMES;
export const COUNTER_BUCKETS = 8;
if (COUNTER_LATENCY_SUM >= COUNTER_BUCKETS || COUNTER_BUCKETS + BUCKETS > COUNTERS)
  throw new Error('slot counters overlap');

/**
 * Shared memory behind CHUNK_SLOTS endpoints. Each thread writes its own row of cells plainly; readers sum rows plainly. Row 0 is
 * main's: it also holds what dead workers had counted, so that exported counters never go back. The per-slot words are shared:
 * `down` and `trial` are written atomically, the rest plainly (a lost update is accepted).
 */
export class SlotChunk {
  readonly buffer: SharedArrayBuffer;
  readonly rows: number;
  /** [row * CHUNK_SLOTS + index] attempts in flight. */
  readonly active: Int32Array;
  /** [row * CHUNK_SLOTS + index] attempts in flight that have no response head yet. */
  readonly waiting: Int32Array;
  /** [row * CHUNK_SLOTS + index] sum of the start times (clock ms) of the waiting attempts. */
  readonly waitingSince: Float64Array;
  /** [(row * CHUNK_SLOTS + index) * COUNTERS + counter] */
  readonly counters: Float64Array;
  /** [index * 2] decayed latency in ms (NaN = never observed), [index * 2 + 1] clock ms of the last observation. */
  readonly latency: Float64Array;
  /** [index] clock ms at which an ejection ends. */
  readonly ejectedUntil: Float64Array;
  /** [index] clock ms since when the endpoint is in use: slow start counts from here. */
  readonly readySince: Float64Array;
  /** [index] Down bits. */
  readonly down: Int32Array;
  /** [index] failures in a row, over all workers. */
  readonly failuresInRow: Int32Array;
  /** [index] how often it was ejected lately: decides how long the next ejection lasts. */
  readonly ejections: Int32Array;
  /** [index] who may find out whether an ejected endpoint is well again: a Trial. Written atomically. */
  readonly trial: Int32Array;

  constructor(rows: number, buffer = new SharedArrayBuffer(SlotChunk.bytes(rows))) {
    this.buffer = buffer;
    this.rows = rows;
    const cells = rows * CHUNK_SLOTS;
    let offset = 0;
    const float64 = (length: number) => {
      const view = new Float64Array(buffer, offset, length);
      offset += view.byteLength;
      return view;
    };
    const int32 = (length: number) => {
      const view = new Int32Array(buffer, offset, length);
      offset += view.byteLength;
      return view;
    };
    this.counters = float64(cells * COUNTERS);
    this.waitingSince = float64(cells);
    this.latency = float64(CHUNK_SLOTS * 2);
    this.ejectedUntil = float64(CHUNK_SLOTS);
    this.readySince = float64(CHUNK_SLOTS);
    this.active = int32(cells);
    this.waiting = int32(cells);
    this.down = int32(CHUNK_SLOTS);
    this.failuresInRow = int32(CHUNK_SLOTS);
    this.ejections = int32(CHUNK_SLOTS);
    this.trial = int32(CHUNK_SLOTS);
  }

  static bytes(rows: number): number {
    const cells = rows * CHUNK_SLOTS;
    return 8 * (cells * COUNTERS + cells + CHUNK_SLOTS * 4) + 4 * (cells * 2 + CHUNK_SLOTS * 4);
  }

  /** Sum of one counter over the rows in use: those above hold zeros. */
  counter(index: number, counter: number, usedRows = this.rows): number {
    let sum = 0;
    for (let row = 0; row < usedRows; row++) sum += this.counters[(row * CHUNK_SLOTS + index) * COUNTERS + counter];
    return sum;
  }

  /** Makes a slot as new. Only main calls it, when no worker refers to the slot. */
  clear(index: number, usedRows = this.rows): void {
    // Rows above hold zeros, in memory that the system has not even given us yet.
    for (let row = 0; row < usedRows; row++) {
      const cell = row * CHUNK_SLOTS + index;
      this.active[cell] = 0;
      this.waiting[cell] = 0;
      this.waitingSince[cell] = 0;
      this.counters.fill(0, cell * COUNTERS, (cell + 1) * COUNTERS);
    }
    this.latency[index * 2] = Number.NaN;
    this.latency[index * 2 + 1] = 0;
    this.ejectedUntil[index] = 0;
    this.readySince[index] = 0;
    this.failuresInRow[index] = 0;
    this.ejections[index] = 0;
    Atomics.store(this.trial, index, 0);
    Atomics.store(this.down, index, 0);
  }

  /** Gives back a dead worker's row: what it had in flight is gone, what it had counted moves to row 0. Only main calls it. */
  retire(row: number): void {
    const first = row * CHUNK_SLOTS;
    this.active.fill(0, first, first + CHUNK_SLOTS);
    this.waiting.fill(0, first, first + CHUNK_SLOTS);
    this.waitingSince.fill(0, first, first + CHUNK_SLOTS);
    const from = first * COUNTERS;
    for (let i = 0; i < CHUNK_SLOTS * COUNTERS; i++) {
      this.counters[i] += this.counters[from + i];
      this.counters[from + i] = 0;
    }
  }
}

/** All chunks as one thread sees them; slot numbers are global. */
export class SlotTable {
  readonly rows: number;
  /** Rows from here on hold nothing but zeros, because no thread has them: hot sums leave them out. Main says so to all threads. */
  usedRows: number;
  readonly chunks: SlotChunk[] = [];

  constructor(rows: number, buffers: readonly SharedArrayBuffer[] = []) {
    this.rows = rows;
    this.usedRows = rows;
    for (const buffer of buffers) this.adopt(buffer);
  }

  /** Takes a chunk that main allocated; chunks arrive in order. */
  adopt(buffer: SharedArrayBuffer): void {
    this.chunks.push(new SlotChunk(this.rows, buffer));
  }

  chunkOf(slot: number): SlotChunk {
    return this.chunks[Math.floor(slot / CHUNK_SLOTS)];
  }
}
