import { expect, it } from 'vitest';
import { CellBlock } from '../../../src/base/cells.ts';

it('a block of cells is summed over its rows, and a dead row leaves its counts but not what was going on', () => {
  const block = new CellBlock(3, 2);
  const sameMemory = new CellBlock(3, 2, block.buffer);
  block.cells.set([1, 0, 10, 4, 100, 6]);
  expect([sameMemory.sum(0), sameMemory.sum(1)]).toEqual([111, 10]);
  block.retire(1, [1]);
  expect([sameMemory.sum(0), sameMemory.sum(1)]).toEqual([111, 6]);
  expect([...block.cells]).toEqual([11, 0, 0, 0, 100, 6]);
});
