import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SlotIndex } from '../../../src/scheduling/slot-index.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

describe('the index of endpoints by slot', () => {
  it('finds each in its place and nobody else, whatever their slots, nor another that has the slot now', () => {
    const factory = new EndpointFactory();
    const all = factory.many(2000);
    const places = fc.uniqueArray(fc.nat(1999), { maxLength: 300 });
    fc.assert(
      fc.property(places, fc.nat(15), (slots, step) => {
        // Slots a power of two apart all fall into one cell.
        const wanted = new Set(slots.map((slot) => (slot << step) % 2000));
        const members = [...wanted].map((slot) => all[slot]);
        const index = new SlotIndex(members);
        for (const endpoint of all) expect(index.of(endpoint)).toBe(members.indexOf(endpoint));
        for (const { slot } of members) expect(index.of(factory.view(slot, {}, 1))).toBe(-1);
      }),
      { numRuns: 20, seed: 3 },
    );
    expect(new SlotIndex([]).of(all[0])).toBe(-1);
  });
});
