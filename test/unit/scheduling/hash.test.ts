import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { hashText, keyOfHash } from '../../../src/base/hash.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { Down } from '../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Tried } from '../../../src/endpoint/endpoint-set.ts';
import { selectAvailable } from '../../../src/health/availability.ts';
import { schedulers } from '../../../src/scheduling/catalog.ts';
import { parseHashKey } from '../../../src/scheduling/hash-key.ts';
import { fillTable, SLOTS } from '../../../src/scheduling/maglev-table.ts';
import type { Scheduler } from '../../../src/scheduling/scheduler.ts';
import { EndpointFactory, setOf } from '../../helpers/endpoint-factory.ts';

const NONE = new Tried();
const keys = Array.from({ length: 20_000 }, (_, i) => keyOfHash(hashText(`/items/${i}`)));

function make(options: object = {}): Scheduler {
  const context = { clock: new ManualClock(), random: seededRandom(3), worker: 0, workers: 1 };
  return schedulers.create(schedulers.schema().parse({ kind: 'hash', ...options }), context);
}

describe('what the hash scheduler hashes on', () => {
  it.each([
    ['header:X-User', 'x-user'],
    ['cookie:Sid', 'Sid'],
    ['query:a:b', 'a:b'],
    ['path', ''],
    ['client', ''],
  ])('is %s', (on, name) => {
    expect(make({ on }).hashOn).toEqual(parseHashKey(on));
    expect(parseHashKey(on)).toMatchObject({ name, nameBytes: new TextEncoder().encode(name) });
  });

  it.each(['', 'user', 'header:', 'header', 'header:a b', 'cookie:a=b', 'Path', 'path:', 'constructor:a', ':a'])(
    'cannot be "%s"',
    (on) => {
      const { error } = schedulers.schema().safeParse({ kind: 'hash', on });
      expect(JSON.stringify(error)).toContain('write header:NAME, cookie:NAME, query:NAME, path or client');
    },
  );

  it('is the client unless it is said', () => {
    expect(make().hashOn).toEqual(parseHashKey('client'));
  });
});

describe.each(['rendezvous', 'maglev'])('hash by %s', (table) => {
  it.each([[[1, 1, 1, 1]], [[1, 2, 3, 4]], [[0.5, 100, 10]]])('divides keys by the weights %j', (weights) => {
    const scheduler = make({ table });
    const members = new EndpointFactory().weighted(weights);
    scheduler.update(setOf(members));
    const total = weights.reduce((sum, weight) => sum + weight);
    const owners = keys.map((key) => scheduler.pick(key, NONE));
    members.forEach((endpoint, i) => {
      const share = owners.filter((owner) => owner === endpoint).length / keys.length;
      expect(Math.abs(share - weights[i] / total)).toBeLessThan(0.012);
    });
  });

  it('keeps every endpoint within its bound of the requests in flight, however hot one key is', () => {
    const scheduler = make({ table, bound: 1.25 });
    const factory = new EndpointFactory(3);
    const members = factory.weighted([1, 1, 2, 1]);
    scheduler.update(setOf(members));
    const hot = keys[0];
    const own = scheduler.pick(hot, NONE) as Endpoint;
    for (let i = 0; i < 400; i++) (scheduler.pick(hot, NONE) as Endpoint).begin(0);
    for (const endpoint of members)
      expect(endpoint.active).toBeLessThanOrEqual(Math.ceil((1.25 * 400 * endpoint.weight) / 5));
    expect(own.active).toBe(Math.ceil((1.25 * 400 * own.weight) / 5));
    // Another worker's load counts as well.
    for (let i = 0; i < 100; i++) factory.view(own.slot, { weight: own.weight }, 2).begin(0);
    expect(scheduler.pick(hot, NONE)).not.toBe(own);
  });

  it('goes over the bound rather than to an endpoint that was tried', () => {
    const scheduler = make({ table, bound: 1.25 });
    const [one, two] = new EndpointFactory().many(2);
    scheduler.update(setOf([one, two]));
    for (let i = 0; i < 10; i++) one.begin(0);
    const tried = new Tried();
    tried.add(two);
    for (const key of keys.slice(0, 100)) expect(scheduler.pick(key, tried)).toBe(one);
  });

  it('uses backups only in place of primaries, by key as well', () => {
    const scheduler = make({ table });
    const factory = new EndpointFactory();
    const primaries = factory.many(3);
    const backups = [factory.make({ backup: true }), factory.make({ backup: true })];
    const all = [...primaries, ...backups];
    const update = () => scheduler.update(setOf(all, selectAvailable(all, { panicThreshold: 0 }).available));
    const owners = () => keys.slice(0, 500).map((key) => scheduler.pick(key, NONE) as Endpoint);
    update();
    const before = owners();
    expect(new Set(before)).toEqual(new Set(primaries));
    for (const endpoint of primaries) endpoint.setDown(Down.PROBE);
    update();
    expect(new Set(owners())).toEqual(new Set(backups));
    for (const endpoint of primaries) endpoint.setDown(0, Down.PROBE);
    update();
    expect(owners()).toEqual(before);
  });

  it('finds the one endpoint that is left of a hundred', () => {
    const scheduler = make({ table });
    const members = new EndpointFactory().many(100);
    for (const endpoint of members.slice(1)) endpoint.setDown(Down.PROBE);
    scheduler.update(setOf(members, [members[0]]));
    for (const key of keys.slice(0, 300)) expect(scheduler.pick(key, NONE)).toBe(members[0]);
  });
});

describe('a Maglev table', () => {
  it.each([
    ['equal', 500, () => 1],
    ['mixed', 500, (i: number) => 1 + (i % 10)],
    ['extreme', 300, (i: number) => (i === 7 ? 65_535 : 0.01)],
  ])('of %s weights is full, by weight, and has everybody in it', (_, count, weightOf) => {
    const seeds = Int32Array.from({ length: count }, (_, i) => hashText(`10.0.0.${i}:80`));
    const weights = Float64Array.from({ length: count }, (_, i) => weightOf(i));
    const total = weights.reduce((sum, weight) => sum + weight);
    const table = new Uint16Array(SLOTS);
    fillTable(table, seeds, weights);
    const counts = new Int32Array(count);
    for (const member of table) counts[member]++;
    counts.forEach((slots, member) => {
      expect(slots).toBeGreaterThan(0);
      // The last 400 slots choose for themselves.
      expect(Math.abs(slots - (SLOTS * weights[member]) / total)).toBeLessThan(_ === 'extreme' ? 700 : 12);
    });
  });
});
