import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Ring } from '../../../src/base/ring.ts';

it('a ring is a queue, whatever is pushed and shifted in between', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (steps) => {
      const ring = new Ring<number>(2);
      const model: number[] = [];
      let next = 0;
      for (const isPush of steps) {
        if (isPush) {
          ring.push(next);
          model.push(next++);
        } else {
          expect(ring.shift()).toBe(model.shift());
        }
        expect(ring.length).toBe(model.length);
        expect(ring.peek()).toBe(model[0]);
      }
    }),
  );
});
