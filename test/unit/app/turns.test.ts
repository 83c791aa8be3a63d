import { describe, expect, it } from 'vitest';
import { Turns } from '../../../src/app/turns.ts';

describe('Turns', () => {
  it('runs one act at a time, in order, and goes on after one that failed', async () => {
    const turns = new Turns();
    const seen: string[] = [];
    const act =
      (name: string, fails = false) =>
      async () => {
        seen.push(`${name} begins`);
        await new Promise(setImmediate);
        seen.push(`${name} ends`);
        if (fails) throw new Error(name);
        return name;
      };
    const results = await Promise.allSettled([turns.take(act('a')), turns.take(act('b', true)), turns.take(act('c'))]);
    expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });
});
