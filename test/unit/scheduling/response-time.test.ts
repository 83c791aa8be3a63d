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
  const scheduler = schedulers.create(schedulers.schema().parse('response-time'), {
    clock,
    random: seededRandom(4),
    worker: 0,
    workers: 1,
  });
  scheduler.update(setOf(members));
  return { scheduler, clock };
}

describe('response-time', () => {
  it('looks at all of three: the only fast one gets everything', () => {
    const clock = new ManualClock();
    const members = new EndpointFactory().many(3);
    for (const [i, latencyMs] of [80, 10, 90].entries()) members[i].setLatency(latencyMs, clock.now());
    const { scheduler } = make(members, clock);
    for (let i = 0; i < 200; i++) expect(scheduler.pick(0, none)).toBe(members[1]);
  });

  it('sounds out an idle slow endpoint about once a second, one request at a time, and no more than one pick in 200', () => {
    const clock = new ManualClock();
    const members = new EndpointFactory().many(3);
    const { scheduler } = make(members, clock);
    for (const endpoint of members) endpoint.setLatency(10, clock.now());
    members[2].setLatency(2500, clock.now());
    scheduler.update(setOf(members));
    let soundings = 0;
    let flying = 0;
    for (let ms = 0; ms < 60_000; ms++) {
      clock.advance(1);
      for (const fast of members.slice(0, 2)) fast.setLatency(10, clock.now());
      const endpoint = scheduler.pick(0, none) as Endpoint;
      if (endpoint !== members[2]) continue;
      expect(flying).toBe(0);
      soundings++;
      endpoint.begin(clock.now());
      flying++;
      endpoint.answered(clock.now());
      scheduler.onAnswer?.(endpoint, Outcome.OK, 2500);
      endpoint.end(Outcome.OK, 2500);
      flying--;
    }
    expect(soundings).toBeGreaterThan(40);
    expect(soundings).toBeLessThanOrEqual(60);
    const spent = make(members, clock).scheduler;
    let quick = 0;
    for (let i = 0; i < 2000; i++) {
      clock.advance(2000);
      for (const fast of members.slice(0, 2)) fast.setLatency(10, clock.now());
      members[2].setLatency(2500, clock.now() - 1500);
      if (spent.pick(0, none) === members[2]) quick++;
    }
    expect(quick).toBeLessThanOrEqual(2000 / 200 + 3);
  });

  it('leaves an endpoint alone that never answers, though each of its requests is hedged and given up soon', () => {
    const clock = new ManualClock();
    const members = new EndpointFactory().many(5);
    const { scheduler } = make(members, clock);
    const random = seededRandom(7);
    const due: { ms: number; endpoint: Endpoint; outcome: Outcome; tookMs: number }[] = [];
    let silent = 0;
    for (let ms = 0; ms < 20_000; ms++) {
      clock.advance(1);
      for (const one of due.filter((one) => one.ms <= ms)) {
        due.splice(due.indexOf(one), 1);
        one.endpoint.answered(clock.now() - one.tookMs);
        scheduler.onAnswer?.(one.endpoint, one.outcome, one.tookMs, clock.now());
        one.endpoint.end(one.outcome, one.tookMs);
      }
      const endpoint = scheduler.pick(0, none) as Endpoint;
      endpoint.begin(clock.now());
      const isSilent = endpoint === members[0];
      if (isSilent && ms > 1000) silent++;
      // Hedged after 12 ms, and answered by another 4 ms later.
      const tookMs = isSilent ? 16 : Math.ceil(-4 * Math.log(1 - random()));
      due.push({ ms: ms + tookMs, endpoint, outcome: isSilent ? Outcome.CLIENT_GONE : Outcome.OK, tookMs });
    }
    expect(silent / 19_000).toBeLessThan(0.006);
  });

  it('does not prefer an idle heavy endpoint to a light one, nor a light one to a heavy one with the same load per weight', () => {
    const members = new EndpointFactory().weighted([4, 1, 1, 1, 1]);
    const { scheduler, clock } = make(members);
    let heavy = 0;
    for (let i = 0; i < 8000; i++) if (scheduler.pick(0, none) === members[0]) heavy++;
    expect(heavy / 8000).toBeGreaterThan(0.47);
    expect(heavy / 8000).toBeLessThan(0.53);
    for (const endpoint of members) for (let i = 0; i < endpoint.weight * 3; i++) endpoint.begin(clock.now());
    heavy = 0;
    for (let i = 0; i < 8000; i++) if (scheduler.pick(0, none) === members[0]) heavy++;
    expect(heavy / 8000).toBeGreaterThan(0.47);
    expect(heavy / 8000).toBeLessThan(0.53);
  });

  it('scores by latency times load', () => {
    const members = new EndpointFactory().many(2);
    const { scheduler, clock } = make(members);
    members[0].setLatency(20, clock.now());
    members[0].begin(clock.now());
    members[0].begin(clock.now());
    expect(scheduler.score?.(members[0])).toBeCloseTo(60, 5);
  });

  it('takes the time it is handed instead of asking the clock', () => {
    const members = new EndpointFactory().many(4);
    let asked = 0;
    const clock = { now: () => ++asked && 1_000_000 };
    const scheduler = schedulers.create(schedulers.schema().parse('response-time'), {
      clock,
      random: seededRandom(1),
      worker: 0,
      workers: 1,
    });
    scheduler.update(setOf(members));
    const before = asked;
    scheduler.onAnswer?.(scheduler.pick(0, none, 1_000_000) as Endpoint, Outcome.OK, 3, 1_000_003);
    expect(asked).toBe(before);
  });
});
