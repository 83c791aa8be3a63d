import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { FineTimer, FineTimers } from '../../../src/base/fine-timers.ts';
import { seededRandom } from '../../../src/base/random.ts';

describe('fine timers', () => {
  let clock: ManualClock;
  let timers: FineTimers;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate'] });
    clock = new ManualClock();
    timers = new FineTimers(clock);
  });

  afterEach(() => void vi.useRealTimers());

  async function pass(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      clock.advance(1);
      await vi.advanceTimersByTimeAsync(1);
    }
  }

  it('call each one in its turn, never early, and those not that were disarmed', async () => {
    const random = seededRandom(1);
    const called: { late: number; index: number }[] = [];
    const startMs = clock.now();
    const delays = Array.from({ length: 300 }, () => 1 + random() * 100);
    const all = delays.map(
      (delay, index) => new FineTimer(() => called.push({ late: clock.now() - startMs - delay, index })),
    );
    all.forEach((timer, i) => {
      timers.arm(timer, delays[i]);
    });
    const disarmed = all.filter((_, i) => i % 3 === 0);
    for (const timer of disarmed) timers.disarm(timer);
    await pass(110);
    expect(called.length).toBe(200);
    for (const { late, index } of called) {
      expect(index % 3).not.toBe(0);
      expect(late).toBeGreaterThanOrEqual(0);
      expect(late).toBeLessThan(3);
    }
    expect(called.map(({ index }) => delays[index])).toEqual(
      delays.filter((_, i) => i % 3 !== 0).sort((a, b) => a - b),
    );
  });

  it('take a new time from who is armed again, and new ones from who is called', async () => {
    const called: string[] = [];
    const again = new FineTimer(() => called.push('again'));
    const timer = new FineTimer(() => {
      called.push('first');
      timers.arm(again, 5);
    });
    timers.arm(timer, 50);
    timers.arm(timer, 10);
    await pass(12);
    expect(called).toEqual(['first']);
    await pass(40);
    expect(called).toEqual(['first', 'again']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leave nothing behind when they are closed', () => {
    const timer = new FineTimer(() => {});
    timers.arm(timer, 10);
    timers.close();
    expect([timer.place, vi.getTimerCount()]).toEqual([-1, 0]);
  });
});
