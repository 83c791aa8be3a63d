import { expect, it } from 'vitest';
import { SlotAllocator } from '../../../src/endpoint/slot-allocator.ts';
import { CHUNK_SLOTS } from '../../../src/endpoint/slots.ts';

it('gives no slot to two, tells of a chunk before a slot of it, and clears what it gives again', () => {
  const told: SharedArrayBuffer[] = [];
  const slots = new SlotAllocator(2, (buffer) => told.push(buffer));
  const taken = new Set<number>();
  for (let i = 0; i < CHUNK_SLOTS * 2 + 1; i++) {
    const slot = slots.take();
    expect(told.length).toBeGreaterThan(Math.floor(slot / CHUNK_SLOTS));
    taken.add(slot);
  }
  expect(taken.size).toBe(CHUNK_SLOTS * 2 + 1);
  expect(slots.buffers).toEqual(told);
  slots.table.chunkOf(7).active[7] = 5;
  slots.giveBack(7);
  expect(slots.take()).toBe(7);
  expect(slots.table.chunkOf(7).active[7]).toBe(0);
});
