import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimerWheel, WheelTimer } from '../../../src/base/timer-wheel.ts';

const TICK = 50;

describe('a timer wheel', () => {
  it('is never early and less than two ticks late, however long the delay', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 120_000 }), fc.integer({ min: 0, max: 600 }), (delayMs, before) => {
        const wheel = new TimerWheel(TICK);
        for (let i = 0; i < before; i++) wheel.tick();
        let due = 0;
        wheel.arm(new WheelTimer(() => due++), delayMs);
        let ticks = 0;
        for (; due === 0; ticks++) wheel.tick();
        // Armed anywhere between two ticks: the first tick may come at once.
        expect((ticks - 1) * TICK).toBeGreaterThanOrEqual(delayMs);
        expect((ticks - 1) * TICK).toBeLessThan(delayMs + TICK);
        for (let i = 0; i < 600; i++) wheel.tick();
        expect(due).toBe(1);
      }),
      { numRuns: 60 },
    );
  });

  it('forgets a timer that is disarmed, and moves one that is armed again', () => {
    const wheel = new TimerWheel(TICK);
    const order: string[] = [];
    const gone = new WheelTimer(() => order.push('gone'));
    const moved = new WheelTimer(() => order.push('moved'));
    wheel.arm(gone, TICK);
    wheel.arm(moved, TICK);
    wheel.arm(moved, 10 * TICK);
    wheel.disarm(gone);
    wheel.disarm(gone);
    expect([gone.armed, moved.armed]).toEqual([false, true]);
    for (let i = 0; i < 5; i++) wheel.tick();
    expect(order).toEqual([]);
    for (let i = 0; i < 10; i++) wheel.tick();
    expect(order).toEqual(['moved']);
    expect(moved.armed).toBe(false);
  });

  it('lets a callback disarm and re-arm others that are due in the same tick', () => {
    const wheel = new TimerWheel(TICK);
    const order: string[] = [];
    const second = new WheelTimer(() => order.push('second'));
    const third = new WheelTimer(() => order.push('third'));
    const first: WheelTimer = new WheelTimer(() => {
      order.push('first');
      wheel.disarm(second);
      wheel.arm(third, 5 * TICK);
      if (order.length < 3) wheel.arm(first, 1);
    });
    for (const timer of [first, second, third]) wheel.arm(timer, TICK);
    for (let i = 0; i < 4; i++) wheel.tick();
    expect(order).toEqual(['first', 'first']);
    for (let i = 0; i < 10; i++) wheel.tick();
    expect(order.filter((word) => word === 'third')).toEqual(['third']);
    expect(order).not.toContain('second');
  });
});
