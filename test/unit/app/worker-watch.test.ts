import { describe, expect, it } from 'vitest';
import { Heartbeats } from '../../../src/app/heartbeats.ts';
import { type Watched, WorkerWatch } from '../../../src/app/worker-watch.ts';
import { ManualClock } from '../../../src/base/clock.ts';

function setUp() {
  const clock = new ManualClock();
  const beats = new Heartbeats(3);
  const told: string[] = [];
  const thread = (row: number): Watched => ({
    worker: row - 1,
    row,
    state: 'up',
    beatMs: 0,
    quietMs: 0,
    silence: 'none',
    terminate: () => told.push(`${row - 1} is ended`),
  });
  const watch = new WorkerWatch(beats, {
    clock,
    onStalled: (worker, forMs) => told.push(`${worker} stalls for ${forMs} ms`),
    onFrozen: (frozen) => told.push(frozen ? 'frozen' : 'thawed'),
    onStuck: ({ worker }) => told.push(`${worker} is stuck`),
  });
  const threads = [null, thread(1), thread(2)] as const;
  /** So many looks of main, `everyMs` apart; threads of these rows beat before each. */
  const look = (count: number, beating: readonly number[], everyMs = 100) => {
    for (let i = 0; i < count; i++) {
      clock.advance(everyMs);
      for (const row of beating) beats.beat(row, clock.now(), 0);
      watch.look(threads);
    }
    return told.splice(0);
  };
  return { look, threads, watch, clock, beats };
}

describe('WorkerWatch', () => {
  it('tells of a thread without beats after a second, ends it once after ten, and says once after twenty that it lives on', () => {
    const { look, threads } = setUp();
    expect(look(10, [1, 2])).toEqual([]);
    expect(look(9, [2])).toEqual([]);
    expect(look(1, [2])).toEqual(['0 stalls for 1000 ms', 'frozen']);
    expect(threads[1].state).toBe('stalled');
    expect(look(89, [2])).toEqual([]);
    expect(look(1, [2])).toEqual(['0 is ended']);
    expect(look(99, [2])).toEqual([]);
    expect(look(1, [2])).toEqual(['0 is stuck']);
    expect(look(300, [2])).toEqual([]);
    expect(threads[2].state).toBe('up');
  });

  it('takes one that beats again for well, and tells of its next stall', () => {
    const { look, threads } = setUp();
    look(1, [1, 2]);
    expect(look(30, [2])).toEqual(['0 stalls for 1000 ms', 'frozen']);
    expect(look(1, [1, 2])).toEqual(['thawed']);
    expect(threads[1]).toMatchObject({ state: 'up', quietMs: 0 });
    expect(look(10, [2])).toEqual(['0 stalls for 1000 ms', 'frozen']);
  });

  it('ends nobody because the whole process stood still', () => {
    const { look, clock } = setUp();
    look(5, [1, 2]);
    for (let i = 0; i < 3; i++) {
      // The first look after it comes before the threads have had a turn.
      clock.advance(60_000);
      expect(look(4, [])).toEqual([]);
      expect(look(5, [1, 2])).toEqual([]);
    }
  });

  it('knows when a loop came late', () => {
    const { look, watch, clock, beats } = setUp();
    look(1, [1, 2]);
    expect(watch.isLate).toBe(false);
    clock.advance(100);
    beats.beat(1, clock.now(), 700);
    look(1, []);
    expect(watch.isLate).toBe(true);
  });
});
