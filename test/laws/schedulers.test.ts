import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Catalog, type Kind, type KindSettings } from '../../src/base/catalog.ts';
import { ManualClock } from '../../src/base/clock.ts';
import { hashText, keyOfHash } from '../../src/base/hash.ts';
import { seededRandom } from '../../src/base/random.ts';
import { Down } from '../../src/endpoint/down.ts';
import type { Endpoint } from '../../src/endpoint/endpoint.ts';
import { type EndpointSet, Tried } from '../../src/endpoint/endpoint-set.ts';
import { Outcome } from '../../src/endpoint/outcome.ts';
import { selectAvailable } from '../../src/health/availability.ts';
import { schedulers } from '../../src/scheduling/catalog.ts';
import type { Scheduler, SchedulerContext } from '../../src/scheduling/scheduler.ts';
import { EndpointFactory } from '../helpers/endpoint-factory.ts';

/** How far a share may be off: with few in flight, comparing whole requests cannot be exact for unequal weights. */
const TOLERANCE = 1 / 3;
/** Kinds that do not divide traffic by weight, by their nature. Everything else in the catalog must. */
const WITHOUT_SHARES: readonly string[] = ['first'];

/** Options that make another algorithm of a kind: the laws hold for each of them. */
const VARIANTS: readonly KindSettings[] = [
  { kind: 'hash', table: 'maglev' },
  { kind: 'hash', bound: 1.25 },
  { kind: 'hash', table: 'maglev', bound: 1.25 },
];

/** A scheduler as a user would add it: the laws must hold for it by its line alone. */
class Toy implements Scheduler {
  #slots: Endpoint[] = [];
  #next = 0;

  update(set: EndpointSet): void {
    this.#slots = set.available.flatMap((endpoint) => new Array(Math.round(endpoint.effectiveWeight)).fill(endpoint));
  }

  pick(_hash: number, tried: Tried): Endpoint | null {
    for (let i = 0; i < this.#slots.length; i++) {
      const endpoint = this.#slots[this.#next++ % this.#slots.length];
      if (!tried.has(endpoint)) return endpoint;
    }
    return this.#slots[0] ?? null;
  }
}
const toy: Kind<Scheduler, SchedulerContext> = {
  kind: 'toy',
  summary: 'for this test',
  options: z.object({}),
  create: () => new Toy(),
};
const all = new Catalog<Scheduler, SchedulerContext>('scheduler', [...schedulers.kinds.values(), toy]);

const every: readonly KindSettings[] = [...Array.from(all.kinds.keys(), (kind) => ({ kind })), ...VARIANTS];
const cases = every.map((settings): [string, KindSettings] => [Object.values(settings).join(' '), settings]);
const sharing = ({ kind }: KindSettings) => !WITHOUT_SHARES.includes(kind);

/** One scheduler under requests that each take 10 ms of virtual time. */
class Bench {
  readonly clock = new ManualClock();
  readonly random = seededRandom(42);
  readonly factory = new EndpointFactory();
  readonly tried = new Tried();
  readonly scheduler: Scheduler;

  constructor(settings: KindSettings, worker = 0) {
    const { clock, random } = this;
    this.scheduler = all.create(all.schema().parse(settings), { clock, random, worker, workers: 2 });
  }

  update(members: readonly Endpoint[]): void {
    this.scheduler.update({ version: 1, all: members, ...selectAvailable(members, { panicThreshold: 0.5 }) });
  }

  pick(): Endpoint | null {
    return this.scheduler.pick(Math.floor(this.random() * 2 ** 31), this.tried);
  }

  /** Serves requests with `concurrency` in flight; how many each endpoint got. */
  serve(requests: number, concurrency: number): Map<Endpoint, number> {
    const counts = new Map<Endpoint, number>();
    const flying: { endpoint: Endpoint; startedMs: number }[] = [];
    for (let i = 0; i < requests; i++) {
      if (flying.length === concurrency) this.#finish(flying.shift() as (typeof flying)[0]);
      this.clock.advance(10 / concurrency);
      const endpoint = this.pick();
      if (endpoint === null) continue;
      counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
      endpoint.begin(this.clock.now());
      this.scheduler.onAcquire?.(endpoint);
      flying.push({ endpoint, startedMs: this.clock.now() });
    }
    for (const one of flying) this.#finish(one);
    return counts;
  }

  #finish({ endpoint, startedMs }: { endpoint: Endpoint; startedMs: number }): void {
    endpoint.answered(startedMs);
    this.scheduler.onAnswer?.(endpoint, Outcome.OK, 10);
    endpoint.end(Outcome.OK, 10);
    this.scheduler.onRelease?.(endpoint, Outcome.OK, 10);
  }
}

function expectShares(bench: Bench, members: readonly Endpoint[], requests: number, concurrency: number): void {
  const counts = bench.serve(requests, concurrency);
  const total = members.reduce((sum, endpoint) => sum + endpoint.effectiveWeight, 0);
  for (const endpoint of members) {
    const got = ((counts.get(endpoint) ?? 0) / requests) * (total / endpoint.effectiveWeight);
    expect(got, `${endpoint.id} of weight ${endpoint.effectiveWeight}, ${concurrency} in flight`).toBeGreaterThan(
      1 - TOLERANCE,
    );
    expect(got, `${endpoint.id} of weight ${endpoint.effectiveWeight}, ${concurrency} in flight`).toBeLessThan(
      1 + TOLERANCE,
    );
  }
}

describe.each(cases)('law of schedulers: %s', (_, settings) => {
  it('gives null when there is nothing to pick from', () => {
    const bench = new Bench(settings);
    bench.update([]);
    expect(bench.pick()).toBeNull();
    const [only] = bench.factory.many(1);
    bench.update([only]);
    expect(bench.pick()).toBe(only);
    bench.update([]);
    expect(bench.pick()).toBeNull();
  });

  it.each([1, 2, 3, 4, 21, 500])('picks every one of %i endpoints and none from outside the available', (count) => {
    const bench = new Bench(settings);
    const members = bench.factory.many(count);
    const outside = bench.factory.many(3);
    bench.update(members);
    const counts = bench.serve(count * 40, 4);
    if (sharing(settings)) expect(counts.size).toBe(count);
    for (const endpoint of counts.keys()) expect(outside).not.toContain(endpoint);
  });

  it.each([2, 3, 8, 100])('never picks a down endpoint of %i', (count) => {
    const bench = new Bench(settings);
    const members = bench.factory.many(count);
    bench.update(members);
    bench.serve(200, 4);
    members[0].setDown(Down.PROBE);
    if (count > 3) members[count - 1].setDown(Down.EJECTED);
    bench.update(members);
    for (const endpoint of bench.serve(2000, 4).keys()) expect(endpoint.down).toBe(0);
  });

  it('never picks an endpoint of weight 0, draining or in maintenance, and backups only without primaries', () => {
    const bench = new Bench(settings);
    const [zero, draining, admin, backup, first, second] = [
      bench.factory.make({ weight: 0 }),
      bench.factory.make(),
      bench.factory.make(),
      bench.factory.make({ backup: true }),
      bench.factory.make(),
      bench.factory.make(),
    ];
    draining.setDown(Down.DRAINING);
    admin.setDown(Down.ADMIN);
    const members = [zero, draining, admin, backup, first, second];
    bench.update(members);
    for (const endpoint of bench.serve(2000, 4).keys()) expect([first, second]).toContain(endpoint);
    first.setDown(Down.PROBE);
    second.setDown(Down.PROBE);
    bench.update(members);
    expect([...bench.serve(100, 4).keys()]).toEqual([backup]);
  });

  it('gives nothing to an effective weight of 0 even when handed one', () => {
    const bench = new Bench(settings);
    const members = bench.factory.weighted([1, 0, 1]);
    bench.scheduler.update({ version: 1, all: members, available: members });
    expect([...bench.serve(500, 2).keys()]).not.toContain(members[1]);
  });

  it.each([2, 3, 5, 30])('never returns a tried endpoint while another of %i is up, then any', (count) => {
    const bench = new Bench(settings);
    const members = bench.factory.many(count);
    bench.update(members);
    for (let round = 0; round < 300; round++) {
      bench.tried.clear();
      for (let i = 0; i < count - 1; i++) {
        const endpoint = bench.pick() as Endpoint;
        expect(bench.tried.has(endpoint)).toBe(false);
        bench.tried.add(endpoint);
      }
      const last = members.find((endpoint) => !bench.tried.has(endpoint)) as Endpoint;
      expect(bench.pick()).toBe(last);
      bench.tried.add(last);
      expect(members).toContain(bench.pick());
    }
  });

  it('is not misled by tried endpoints that have left', () => {
    const bench = new Bench(settings);
    const members = bench.factory.many(3);
    bench.tried.add(bench.factory.make());
    bench.tried.add(members[0]);
    bench.tried.add(members[0]);
    bench.update(members);
    for (const endpoint of bench.serve(300, 2).keys()) expect(members.slice(1)).toContain(endpoint);
  });

  it.runIf(sharing(settings)).each([1, 4, 40])('shares by weight with %i in flight', (concurrency) => {
    for (const weights of [
      [1, 1],
      [1, 1, 1],
      [5, 1, 1],
      [4, 2, 1, 1],
      [10, ...new Array(15).fill(1)],
    ]) {
      const bench = new Bench(settings);
      const members = bench.factory.weighted(weights);
      bench.update(members);
      expectShares(bench, members, 20_000, concurrency);
    }
  });

  it.runIf(sharing(settings))('keeps the shares through joins, leaves and changes of weight', () => {
    const bench = new Bench(settings);
    let members = bench.factory.weighted([3, 1, 1, 2]);
    bench.update(members);
    bench.serve(1000, 8);
    members = [...members, ...bench.factory.weighted([1, 3])];
    bench.update(members);
    expectShares(bench, members, 10_000, 8);
    members = members.slice(2);
    bench.update(members);
    expectShares(bench, members, 10_000, 8);
    members[0].weight = 4;
    members[0].effectiveWeight = 4;
    bench.update(members);
    expectShares(bench, members, 10_000, 8);
    for (let i = 0; i < 200; i++) {
      members[i % 3].setDown(Down.PROBE);
      bench.update(members);
      bench.serve(3, 2);
      members[i % 3].setDown(0, Down.PROBE);
      bench.update(members);
    }
    expectShares(bench, members, 10_000, 8);
  });

  it('has options that are described and have defaults', () => {
    const { options } = all.kinds.get(settings.kind) as Kind<Scheduler, SchedulerContext>;
    expect(options.safeParse({}).success).toBe(true);
    for (const [name, option] of Object.entries(options.shape))
      expect((option as z.ZodType).description, name).toBeTruthy();
  });
});

const hashing = cases.filter(([, settings]) => new Bench(settings).scheduler.hashOn !== undefined);
const keys = Array.from({ length: 20_000 }, (_, i) => keyOfHash(hashText(`user-${i}`)));
const noneTried = new Tried();

/** Who serves each key when nothing is in flight. */
function ownersOf(bench: Bench, tried: Tried = noneTried): Endpoint[] {
  return keys.map((key) => bench.scheduler.pick(key, tried) as Endpoint);
}

function movedShare(before: readonly Endpoint[], after: readonly Endpoint[]): number {
  return before.filter((endpoint, i) => endpoint !== after[i]).length / keys.length;
}

describe.each(hashing)('law of schedulers that hash: %s', (_, settings) => {
  it('gives a key to the same endpoint on every worker, in whatever order the endpoints came', () => {
    const [one, other] = [new Bench(settings, 0), new Bench(settings, 1)];
    const members = one.factory.weighted([1, 3, 1, 2, 1, 1, 5]);
    one.update(members);
    other.update(members.slice(2, 4));
    other.serve(100, 3);
    other.update(members.toReversed());
    expect(movedShare(ownersOf(one), ownersOf(other))).toBe(0);
    expect(movedShare(ownersOf(one), ownersOf(one))).toBe(0);
  });

  it.each([2, 3, 10, 50])('moves few keys more than it must when one of %i leaves or joins', (count) => {
    const bench = new Bench(settings);
    const members = bench.factory.many(count);
    bench.update(members);
    const before = ownersOf(bench);
    for (const gone of [0, count >> 1, count - 1]) {
      bench.update(members.filter((_, i) => i !== gone));
      expect(movedShare(before, ownersOf(bench))).toBeLessThan(1 / count + 0.02);
      bench.update(members);
      expect(movedShare(before, ownersOf(bench))).toBe(0);
    }
  });

  it('moves the keys of a down endpoint alone, spreads them, and gives them back', () => {
    const bench = new Bench(settings);
    const members = bench.factory.weighted([1, 2, 1, 1, 1]);
    bench.update(members);
    const before = ownersOf(bench);
    members[1].setDown(Down.EJECTED);
    bench.update(members);
    const meanwhile = ownersOf(bench);
    expect(before.every((owner, i) => owner === members[1] || owner === meanwhile[i])).toBe(true);
    const heirs = meanwhile.filter((_, i) => before[i] === members[1]);
    for (const heir of members.toSpliced(1, 1)) {
      const share = heirs.filter((endpoint) => endpoint === heir).length / heirs.length;
      expect(share).toBeGreaterThan(0.2);
      expect(share).toBeLessThan(0.3);
    }
    members[1].setDown(0, Down.EJECTED);
    bench.update(members);
    expect(movedShare(before, ownersOf(bench))).toBe(0);
  });

  it('tries the endpoints in the order of the key: the next one is whose the key is when the first is down', () => {
    const bench = new Bench(settings);
    const members = bench.factory.many(6);
    bench.update(members);
    const before = ownersOf(bench);
    const tried = new Tried();
    tried.add(members[2]);
    const second = ownersOf(bench, tried);
    members[2].setDown(Down.PROBE);
    bench.update(members);
    expect(movedShare(second, ownersOf(bench))).toBe(0);
    expect(second.every((owner, i) => (before[i] === members[2] ? owner !== members[2] : owner === before[i]))).toBe(
      true,
    );
  });

  it('spreads requests without a key over all', () => {
    const bench = new Bench(settings);
    const members = bench.factory.weighted([1, 1, 2]);
    bench.update(members);
    const counts = members.map(() => 0);
    for (let i = 0; i < 8000; i++) counts[members.indexOf(bench.scheduler.pick(0, noneTried) as Endpoint)]++;
    [2000, 2000, 4000].forEach((share, i) => {
      expect(Math.abs(counts[i] - share)).toBeLessThan(250);
    });
  });

  it('gives an endpoint in slow start more and more of its own keys and none of others', () => {
    const bench = new Bench(settings);
    const members = bench.factory.many(4);
    bench.update(members);
    const before = ownersOf(bench);
    const own = before.filter((endpoint) => endpoint === members[0]).length;
    let last: Endpoint[] = [];
    for (const share of [0.1, 0.5, 0.9, 1]) {
      members[0].effectiveWeight = share;
      bench.update(members);
      const now = ownersOf(bench);
      expect(now.every((owner, i) => owner !== members[0] || before[i] === members[0])).toBe(true);
      expect(last.every((owner, i) => owner !== members[0] || now[i] === members[0])).toBe(true);
      const got = now.filter((endpoint) => endpoint === members[0]).length / own;
      expect(Math.abs(got - share)).toBeLessThan(0.2);
      last = now;
    }
    expect(movedShare(before, last)).toBe(0);
  });
});

describe('law of schedulers that hash', () => {
  it('is proved for hash at least', () => {
    expect(hashing.map(([name]) => name)).toContain('hash');
  });
});
