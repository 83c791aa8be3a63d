import { describe, expect, it } from 'vitest';
import { Down } from '../../../src/endpoint/down.ts';
import { selectAvailable } from '../../../src/health/availability.ts';
import { applySlowStart, slowStartShare } from '../../../src/health/slow-start.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

const half = { panicThreshold: 0.5 };

function pool(...members: { down?: number; backup?: boolean; weight?: number }[]) {
  const factory = new EndpointFactory();
  return members.map(({ down = 0, ...spec }) => {
    const endpoint = factory.make(spec);
    endpoint.setDown(down);
    return endpoint;
  });
}

describe('availability', () => {
  it('leaves out whatever is down, in the order of the pool', () => {
    const all = pool({}, { down: Down.PROBE }, {}, { down: Down.EJECTED }, {}, {});
    expect(selectAvailable(all, half)).toEqual({ available: [all[0], all[2], all[4], all[5]], panic: false });
  });

  it('uses backups only when no primary is fit', () => {
    const all = pool({}, { backup: true }, { backup: true });
    expect(selectAvailable(all, half).available).toEqual([all[0]]);
    all[0].setDown(Down.REGISTRY);
    expect(selectAvailable(all, half)).toEqual({ available: [all[1], all[2]], panic: false });
  });

  it('lets one fit backup take over from ten dead primaries without panic', () => {
    const all = pool(...new Array(10).fill({ down: Down.PROBE }), { backup: true });
    expect(selectAvailable(all, half)).toEqual({ available: [all[10]], panic: false });
  });

  it('panics below half, and then uses ejected, probe-down and registry-down ones, but nobody who was taken out by choice', () => {
    const all = pool(
      {},
      { down: Down.PROBE },
      { down: Down.EJECTED },
      { down: Down.REGISTRY },
      { down: Down.DRAINING },
      { down: Down.ADMIN | Down.PROBE },
      { weight: 0 },
    );
    expect(selectAvailable(all, half)).toEqual({ available: all.slice(0, 4), panic: true });
  });

  it('does not panic at exactly half, nor because others drain', () => {
    expect(selectAvailable(pool({}, { down: Down.PROBE }), half).panic).toBe(false);
    const draining = new Array(8).fill({ down: Down.DRAINING });
    expect(selectAvailable(pool({}, ...draining), half).panic).toBe(false);
  });

  it('uses endpoints that are leaving only while a worker knows of no others', () => {
    const leaving = { down: Down.LEAVING };
    const all = pool(leaving, leaving, { down: Down.LEAVING | Down.ADMIN }, { down: Down.LEAVING | Down.PROBE });
    expect(selectAvailable(all, half)).toEqual({ available: all.slice(0, 2), panic: false });
    const mixed = pool(leaving, {});
    expect(selectAvailable(mixed, half)).toEqual({ available: [mixed[1]], panic: false });
  });

  it('goes on using a single endpoint that is down', () => {
    const all = pool({ down: Down.PROBE });
    expect(selectAvailable(all, half)).toEqual({ available: all, panic: true });
  });

  it('never panics with a threshold of 0', () => {
    expect(selectAvailable(pool({ down: Down.PROBE }), { panicThreshold: 0 })).toEqual({ available: [], panic: false });
  });

  it('has nothing when all were taken out by choice, or there are none', () => {
    expect(selectAvailable(pool({ down: Down.ADMIN }, { weight: 0 }), half)).toEqual({ available: [], panic: false });
    expect(selectAvailable([], half)).toEqual({ available: [], panic: false });
  });
});

describe('slow start', () => {
  it('grows in a line from a tenth to the whole', () => {
    expect([0, 1000, 15_000, 29_000, 30_000, 1e9].map((since) => slowStartShare(since, 30_000))).toEqual([
      0.1,
      0.1,
      0.5,
      29 / 30,
      1,
      1,
    ]);
    expect(slowStartShare(0, 0)).toBe(1);
  });

  it('is measured by the middle of the pool: none where most are equally new, one that joins them starts slowly', () => {
    const all = pool({}, {}, {}, {}, {}, { weight: 4 });
    const sharesAt = (nowMs: number) => {
      applySlowStart(all, nowMs, 10_000);
      return all.map(({ effectiveWeight }) => effectiveWeight);
    };
    for (const endpoint of all) endpoint.readySinceMs = 0;
    expect(sharesAt(2000)).toEqual([1, 1, 1, 1, 1, 4]);
    all[5].readySinceMs = 5000;
    expect(sharesAt(5000)).toEqual([1, 1, 1, 1, 1, 0.8]);
    expect(sharesAt(10_000)).toEqual([1, 1, 1, 1, 1, 2]);
    expect(sharesAt(15_000)).toEqual([1, 1, 1, 1, 1, 4]);
    // Four of six newly restarted: the two that stayed cannot carry them.
    for (const endpoint of all.slice(2)) endpoint.readySinceMs = 100_000;
    expect(sharesAt(101_000)).toEqual([1, 1, 1, 1, 1, 4]);
  });
});
