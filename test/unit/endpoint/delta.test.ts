import { describe, expect, it } from 'vitest';
import { applyDelta, DELTA_ENDPOINTS, packDelta } from '../../../src/endpoint/delta.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

describe('a change of members', () => {
  const factory = new EndpointFactory();

  function applied(members: Map<number, Endpoint>, upserts: readonly Endpoint[], removed: readonly number[] = []) {
    // As it comes over a port.
    const parts = structuredClone(packDelta('web', 7, upserts, removed));
    return { parts, gone: parts.flatMap((part) => applyDelta(part, members, factory.table, 1)) };
  }

  it('arrives as it was, in parts of bounded size of which only the last takes effect', () => {
    const endpoints = factory.many(DELTA_ENDPOINTS * 2 + 1);
    const members = new Map<number, Endpoint>();
    const { parts } = applied(members, endpoints, [99_999]);
    expect(parts.map(({ numbers, last }) => [numbers.length / 4, last])).toEqual([
      [DELTA_ENDPOINTS, false],
      [DELTA_ENDPOINTS, false],
      [1, true],
    ]);
    expect(parts.map(({ removed }) => removed)).toEqual([[99_999], [], []]);
    expect([...members.values()].map(({ id }) => id)).toEqual(endpoints.map(({ id }) => id));
  });

  it('carries host, port, weight, zone and backup, and no zone can shift what follows it', () => {
    const endpoints = [
      factory.make({ zone: 'eu\n10.6.6.6\tevil', weight: 0.25 }),
      factory.make({ host: '::1', port: 443, zone: 'b', backup: true }),
    ];
    const members = new Map<number, Endpoint>();
    applied(members, endpoints);
    const found = [...members.values()].map(({ id, weight, spec }) => [id, weight, spec.backup, spec.zone]);
    expect(found[0].slice(0, 3)).toEqual([endpoints[0].id, 0.25, false]);
    expect(found[1]).toEqual(['[::1]:443', 1, true, 'b']);
  });

  it('gives a known endpoint another weight, or the other side of backups, and keeps the object', () => {
    const one = factory.make();
    const members = new Map<number, Endpoint>();
    applied(members, [one]);
    const known = members.get(one.slot)!;
    one.weight = 3;
    applied(members, [one]);
    expect(members.get(one.slot)).toBe(known);
    expect([known.weight, known.effectiveWeight]).toEqual([3, 3]);
    applied(members, [factory.view(one.slot, { backup: true }, 0)]);
    expect(members.get(one.slot)).toBe(known);
    expect(known.spec.backup).toBe(true);
  });

  it('returns what left, and takes no offence at what was never there', () => {
    const [one, two] = factory.many(2);
    const members = new Map<number, Endpoint>();
    applied(members, [one, two]);
    const { gone } = applied(members, [], [one.slot, 4711]);
    expect(gone.map(({ id }) => id)).toEqual([one.id]);
    expect([...members.keys()]).toEqual([two.slot]);
  });
});
