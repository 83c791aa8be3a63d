import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { seededRandom } from '../../../src/base/random.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Tried } from '../../../src/endpoint/endpoint-set.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { schedulers } from '../../../src/scheduling/catalog.ts';
import { EndpointFactory, setOf } from '../../helpers/endpoint-factory.ts';

const none = new Tried();

function make(members: readonly Endpoint[], clock = new ManualClock()) {
  const settings = schedulers.schema().parse('least-time');
  const scheduler = schedulers.create(settings, { clock, random: seededRandom(4), worker: 0, workers: 1 });
  scheduler.update(setOf(members));
  const counts = (picks: number) => {
    const found = new Map<Endpoint, number>();
    for (let i = 0; i < picks; i++) {
      const endpoint = scheduler.pick(0, none) as Endpoint;
      found.set(endpoint, (found.get(endpoint) ?? 0) + 1);
    }
    return members.map((endpoint) => found.get(endpoint) ?? 0);
  };
  return { scheduler, clock, counts };
}

describe('least-time', () => {
  it('takes turns among those within the same 20 ms, and leaves out who is a step slower', () => {
    const clock = new ManualClock();
    const members = new EndpointFactory().many(3);
    for (const [i, ms] of [3, 19, 21].entries()) members[i].setLatency(ms, clock.now());
    const [first, second, slower] = make(members, clock).counts(900);
    expect(slower).toBe(0);
    expect(Math.abs(first - second)).toBeLessThan(90);
  });

  it('compares time × (active + 1): the slower one takes over when the faster has enough in flight', () => {
    const clock = new ManualClock();
    const [fast, slow] = new EndpointFactory().many(2);
    fast.setLatency(10, clock.now());
    slow.setLatency(70, clock.now());
    const { scheduler } = make([fast, slow], clock);
    for (let active = 0; active < 3; active++) {
      expect(scheduler.pick(0, none), `${active} in flight`).toBe(fast);
      fast.begin(clock.now());
    }
    fast.begin(clock.now());
    // 20 × 5 > 80 × 1
    expect(scheduler.pick(0, none)).toBe(slow);
  });

  it('sees a stall before anything returns', () => {
    const clock = new ManualClock();
    const members = new EndpointFactory().many(2);
    const { counts } = make(members, clock);
    members[0].begin(clock.now());
    members[1].begin(clock.now());
    members[1].answered(clock.now());
    clock.advance(500);
    expect(counts(20)).toEqual([0, 20]);
  });

  it('averages answers by a twentieth each, and failures not at all', () => {
    const clock = new ManualClock();
    const [endpoint] = new EndpointFactory().many(1);
    const { scheduler } = make([endpoint], clock);
    scheduler.onAnswer?.(endpoint, Outcome.OK, 100);
    scheduler.onAnswer?.(endpoint, Outcome.OK, 200);
    expect(endpoint.latencyMs).toBeCloseTo(105);
    scheduler.onAnswer?.(endpoint, Outcome.SERVER_ERROR, 1);
    scheduler.onAnswer?.(endpoint, Outcome.TIMED_OUT, 9000);
    expect(endpoint.latencyMs).toBeCloseTo(105);
  });

  it('takes a newcomer for the mean of the others, however slow its first answer is', () => {
    const clock = new ManualClock();
    const members = new EndpointFactory().many(3);
    const { scheduler } = make(members, clock);
    members[0].setLatency(4, clock.now());
    members[1].setLatency(8, clock.now());
    scheduler.onAnswer?.(members[2], Outcome.OK, 46);
    expect(members[2].latencyMs).toBeCloseTo(8);
  });

  it('halves the time of an idle endpoint every ten seconds, until it is tried again', () => {
    const clock = new ManualClock();
    const [fast, slow] = new EndpointFactory().many(2);
    slow.setLatency(70, clock.now());
    const { counts } = make([fast, slow], clock);
    const shares: number[] = [];
    for (let seconds = 0; seconds <= 20; seconds += 10) {
      fast.setLatency(5, clock.now());
      shares.push(counts(10)[1]);
      clock.advance(10_001);
    }
    // 70, 35, 17 ms
    expect(shares).toEqual([0, 0, 5]);
  });

  it('takes everything above five seconds for equally bad', () => {
    const clock = new ManualClock();
    const members = new EndpointFactory().many(2);
    members[0].setLatency(6000, clock.now());
    members[1].setLatency(60_000, clock.now());
    expect(make(members, clock).counts(10)).toEqual([5, 5]);
  });
});
