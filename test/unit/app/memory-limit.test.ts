import { describe, expect, it } from 'vitest';
import { MemoryLimit } from '../../../src/app/memory-limit.ts';
import { ManualClock } from '../../../src/base/clock.ts';

describe('MemoryLimit', () => {
  function setUp(limit: number | null) {
    const clock = new ManualClock();
    const memory: (number | null)[] = [10, 10];
    const restarted: number[] = [];
    let finish = () => {};
    const restart = (worker: number) => {
      restarted.push(worker);
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    };
    const one = new MemoryLimit(limit, { clock, memory: () => memory, restart });
    const end = async () => {
      finish();
      await new Promise(setImmediate);
    };
    return { one, clock, memory, restarted, end };
  }

  it('restarts what is past it, one at a time', async () => {
    const { one, memory, restarted, end } = setUp(100);
    one.look();
    expect(restarted).toEqual([]);
    memory.splice(0, 2, 101, 102);
    one.look();
    one.look();
    expect(restarted).toEqual([0]);
    await end();
    one.look();
    expect(restarted).toEqual([0, 1]);
  });

  it('leaves a worker alone for a minute after its restart, however large it is', async () => {
    const { one, clock, memory, restarted, end } = setUp(100);
    memory[1] = 500;
    one.look();
    await end();
    clock.advance(59_000);
    one.look();
    expect(restarted).toEqual([1]);
    clock.advance(2_000);
    one.look();
    expect(restarted).toEqual([1, 1]);
  });

  it('touches nothing that cannot be restarted now, and nothing without a limit', () => {
    const { one, memory, restarted } = setUp(100);
    memory.splice(0, 2, null, 50);
    one.look();
    one.limit = null;
    memory.splice(0, 2, 500, 500);
    one.look();
    expect(restarted).toEqual([]);
  });
});
