import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { Down } from '../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Tried } from '../../../src/endpoint/endpoint-set.ts';
import type { Scheduler } from '../../../src/scheduling/scheduler.ts';
import { weightedRoundRobin } from '../../../src/scheduling/weighted-round-robin.ts';
import { EndpointFactory, setOf } from '../../helpers/endpoint-factory.ts';

/** nginx's ngx_http_upstream_get_peer, as its source has it: a scan with skipped peers, in hundredths. */
class NginxReference {
  readonly weights: number[];
  readonly current: number[];

  constructor(weights: readonly number[]) {
    this.weights = weights.map((weight) => Math.round(weight * 100));
    this.current = weights.map(() => 0);
  }

  pick(tried: ReadonlySet<number> = new Set()): number {
    let total = 0;
    let best = -1;
    for (let i = 0; i < this.weights.length; i++) {
      if (tried.has(i)) continue;
      this.current[i] += this.weights[i];
      total += this.weights[i];
      if (best < 0 || this.current[i] > this.current[best]) best = i;
    }
    if (best >= 0) this.current[best] -= total;
    return best;
  }
}

function make(worker = 0, workers = 1): Scheduler {
  return weightedRoundRobin.create({}, { clock: new ManualClock(), random: seededRandom(1), worker, workers });
}

const none = new Tried();

function letters(scheduler: Scheduler, members: readonly Endpoint[], picks: number): string {
  let sequence = '';
  for (let i = 0; i < picks; i++)
    sequence += String.fromCharCode(97 + members.indexOf(scheduler.pick(0, none) as Endpoint));
  return sequence;
}

function currentSum(scheduler: Scheduler, members: readonly Endpoint[]): number {
  return Math.abs(
    Math.round(members.reduce((sum, endpoint) => sum + (scheduler.score?.(endpoint) as number), 0) * 100),
  );
}

describe('weighted-round-robin', () => {
  it("has nginx's sequence for 5, 1, 1", () => {
    const members = new EndpointFactory().weighted([5, 1, 1]);
    const scheduler = make();
    scheduler.update(setOf(members));
    expect(letters(scheduler, members, 14)).toBe('aabacaaaabacaa');
  });

  it("is nginx's scan pick for pick, whatever the weights and whatever was tried", () => {
    const weight = fc.integer({ min: 1, max: 1200 }).map((hundredths) => hundredths / 100);
    const skips = fc.array(fc.array(fc.nat(40), { maxLength: 3 }), { maxLength: 300 });
    fc.assert(
      fc.property(fc.array(weight, { minLength: 1, maxLength: 40 }), skips, (weights, tries) => {
        const members = new EndpointFactory().weighted(weights);
        const scheduler = make();
        scheduler.update(setOf(members));
        const reference = new NginxReference(weights);
        for (const skip of tries) {
          const indices = new Set(skip.filter((index) => index < weights.length && weights.length > 3));
          const tried = new Tried();
          for (const index of indices) tried.add(members[index]);
          const picked = members.indexOf(scheduler.pick(0, tried) as Endpoint);
          expect(picked).toBe(reference.pick(indices));
          expect(currentSum(scheduler, members)).toBe(0);
        }
      }),
      { numRuns: 150, seed: 5 },
    );
  });

  it('stays exact over more than a million picks of 20 endpoints', () => {
    const random = seededRandom(9);
    const weights = Array.from({ length: 20 }, () => Math.ceil(random() * 900) / 100);
    const members = new EndpointFactory().weighted(weights);
    const scheduler = make();
    scheduler.update(setOf(members));
    const reference = new NginxReference(weights);
    for (let i = 0; i < 2 ** 20 - 500; i++) scheduler.pick(0, none);
    for (let i = 0; i < 20; i++) reference.current[i] = -Math.round((scheduler.score?.(members[i]) as number) * 100);
    for (let i = 0; i < 2000; i++) {
      const picked = members.indexOf(scheduler.pick(0, none) as Endpoint);
      expect(picked).toBe(reference.pick());
    }
  });

  it('chooses each endpoint exactly as often as its weight says in every period', () => {
    const weights = [7, 3, 2, 0.5, 1.25];
    const members = new EndpointFactory().weighted(weights);
    const scheduler = make();
    scheduler.update(setOf(members));
    for (let period = 0; period < 3; period++) {
      const counts = weights.map(() => 0);
      for (let i = 0; i < 55; i++) counts[members.indexOf(scheduler.pick(0, none) as Endpoint)]++;
      expect(counts).toEqual(weights.map((weight) => weight * 4));
    }
  });

  it('starts each worker elsewhere in the rotation', () => {
    const members = new EndpointFactory().weighted([5, 1, 1]);
    const sequences = [0, 1, 2].map((worker) => {
      const scheduler = make(worker, 3);
      scheduler.update(setOf([]));
      scheduler.update(setOf(members));
      return letters(scheduler, members, 7);
    });
    expect(sequences).toEqual(['aabacaa', 'bacaaaa', 'caaaaba']);
  });

  it('goes on where it was when a set changes nothing', () => {
    const members = new EndpointFactory().weighted([5, 1, 1]);
    const scheduler = make();
    scheduler.update(setOf(members));
    let sequence = '';
    for (let i = 0; i < 14; i++) {
      sequence += letters(scheduler, members, 1);
      scheduler.update(setOf(members));
    }
    expect(sequence).toBe('aabacaaaabacaa');
  });

  it('keeps everybody’s place when one joins: nobody has two turns before others had one', () => {
    const factory = new EndpointFactory();
    const members = factory.many(4);
    const scheduler = make();
    scheduler.update(setOf(members));
    expect(letters(scheduler, members, 6)).toBe('abcdab');
    const more = [...members, factory.make()];
    scheduler.update(setOf(more));
    expect([...letters(scheduler, more, 5)].sort().join('')).toBe('abcde');
    expect(currentSum(scheduler, more)).toBe(0);
  });

  it('gives back its place to who was down, and lets it make up for nothing', () => {
    const members = new EndpointFactory().many(4);
    const scheduler = make();
    scheduler.update(setOf(members));
    letters(scheduler, members, 5);
    members[3].setDown(Down.PROBE);
    scheduler.update(setOf(members, members.slice(0, 3)));
    expect(letters(scheduler, members, 300)).not.toContain('d');
    scheduler.update(setOf(members));
    const after = letters(scheduler, members, 40);
    expect(after.slice(0, 12).split('d').length - 1).toBeLessThanOrEqual(4);
    for (const letter of 'abcd') expect(after.split(letter).length - 1).toBeGreaterThanOrEqual(9);
  });

  it('keeps the sum of the current weights at 0 through joins, leaves and changes of weight', () => {
    const change = fc.tuple(fc.nat(2), fc.nat(9), fc.integer({ min: 1, max: 500 }), fc.nat(30));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const factory = new EndpointFactory();
        let members = factory.weighted([3, 1, 2]);
        const scheduler = make();
        scheduler.update(setOf(members));
        for (const [what, which, hundredths, picks] of changes) {
          if (what === 0) members = [...members, factory.make({ weight: hundredths / 100 })];
          else if (what === 1 && members.length > 1) members = members.filter((_, i) => i !== which % members.length);
          else members[which % members.length].effectiveWeight = hundredths / 100;
          scheduler.update(setOf(members));
          expect(currentSum(scheduler, members)).toBe(0);
          const total = members.reduce((sum, endpoint) => sum + endpoint.effectiveWeight, 0);
          for (let i = 0; i < picks; i++) scheduler.pick(0, none);
          for (const endpoint of members)
            expect(Math.abs(scheduler.score?.(endpoint) as number)).toBeLessThan(2 * total);
        }
      }),
      { numRuns: 100, seed: 3 },
    );
  });
});
