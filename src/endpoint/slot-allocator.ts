import { CHUNK_SLOTS, SlotChunk, SlotTable } from './slots.ts';

/**
 * Gives out slots of shared memory, on main. A slot is free again when every worker has acknowledged that its endpoint is gone, so that no
 * late count lands on a newcomer.
 */
export class SlotAllocator {
  readonly table: SlotTable;
  readonly #onChunk: (buffer: SharedArrayBuffer) => void;
  readonly #free: number[] = [];

  /** `onChunk` is called with each new chunk, before a slot of it is given out: the workers must adopt it first. */
  constructor(rows: number, onChunk: (buffer: SharedArrayBuffer) => void) {
    this.table = new SlotTable(rows);
    this.#onChunk = onChunk;
  }

  /** A clear slot. */
  take(): number {
    if (this.#free.length === 0) this.#grow();
    const slot = this.#free.pop() as number;
    this.table.chunkOf(slot).clear(slot % CHUNK_SLOTS, this.table.usedRows);
    return slot;
  }

  giveBack(slot: number): void {
    this.#free.push(slot);
  }

  get buffers(): readonly SharedArrayBuffer[] {
    return this.table.chunks.map((chunk) => chunk.buffer);
  }

  /** Gives back the row of a worker that died. */
  retire(row: number): void {
    for (const chunk of this.table.chunks) chunk.retire(row);
  }

  #grow(): void {
    const first = this.table.chunks.length * CHUNK_SLOTS;
    const buffer = new SharedArrayBuffer(SlotChunk.bytes(this.table.rows));
    this.table.adopt(buffer);
    this.#onChunk(buffer);
    for (let slot = first + CHUNK_SLOTS - 1; slot >= first; slot--) this.#free.push(slot);
  }
}
