import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GuardVerdict, SetGuard } from '../../../src/discovery/guard.ts';
import type { RegistryEndpoint, Suspicion } from '../../../src/discovery/registry.ts';
import { registryEndpoint } from '../../helpers/registry-endpoint.ts';

const HOLD = 60_000;
const CONFIRM = 10_000;

/** A guard and its clock; sets are written as words: `1` up, `1!` down, `1~` draining. */
class Bench {
  readonly guard = new SetGuard({ holdMs: HOLD, confirmMs: CONFIRM });
  now = 1000;

  told(words: string, suspicion: Suspicion | null = null): string {
    return shown(this.guard.offer({ endpoints: parsed(words), suspicion }, this.now));
  }

  after(ms: number): this {
    this.now += ms;
    return this;
  }

  get verdict(): string {
    return shown(this.guard.verdict(this.now));
  }
}

function parsed(words: string): RegistryEndpoint[] {
  return words
    .split(' ')
    .filter(Boolean)
    .map((word) => {
      const status = word.endsWith('!') ? 'down' : word.endsWith('~') ? 'draining' : 'up';
      return registryEndpoint(Number.parseInt(word, 10), { status });
    });
}

/** As above, with `1?` for unknown. */
function shown({ endpoints }: GuardVerdict): string {
  const marks = { up: '', warning: 'w', down: '!', draining: '~', unknown: '?' };
  return endpoints.map(({ port, status }) => `${port}${marks[status]}`).join(' ');
}

describe('SetGuard', () => {
  describe('without doubt', () => {
    it('believes additions, removals and states at once', () => {
      const bench = new Bench();
      expect(bench.told('1 2 3')).toBe('1 2 3');
      expect(bench.told('1 3! 4')).toBe('1 3! 4');
      expect(bench.told('1! 3! 4!')).toBe('1! 3! 4!');
      expect(bench.told('4~')).toBe('4~');
      expect(bench.guard.due(bench.now)).toBeNull();
    });

    it('believes a scale-in of nine in ten', () => {
      const bench = new Bench();
      bench.told('1 2 3 4 5 6 7 8 9 10');
      expect(bench.told('7')).toBe('7');
    });

    it('believes that the last endpoint is gone when it was alone', () => {
      const bench = new Bench();
      bench.told('1 2');
      bench.told('2');
      expect(bench.told('')).toBe('');
      expect(bench.guard.verdict(bench.now).heldReason).toBeNull();
    });

    it('believes an empty service from the start', () => {
      expect(new Bench().told('')).toBe('');
    });

    it('gives back the very same verdict for the very same list', () => {
      const bench = new Bench();
      const endpoints = parsed('1 2');
      const first = bench.guard.offer({ endpoints, suspicion: null }, bench.now);
      expect(bench.guard.offer({ endpoints, suspicion: null }, bench.now).endpoints).toBe(first.endpoints);
    });
  });

  describe('when several endpoints vanish at a stroke', () => {
    it('keeps them as unknown until answers apart agree and the hold is over', () => {
      const bench = new Bench();
      bench.told('1 2~ 3!');
      expect(bench.told('')).toBe('1? 2~ 3!');
      expect(bench.after(HOLD - 1).told('')).toBe('1? 2~ 3!');
      expect(bench.after(1).verdict).toBe('');
      expect(bench.guard.due(bench.now)).toBeNull();
    });

    it('does not end the hold without a second answer', () => {
      const bench = new Bench();
      bench.told('1 2');
      bench.told('');
      expect(bench.guard.due(bench.now)).toEqual({ atMs: bench.now + CONFIRM, ask: true });
      bench.after(CONFIRM - 1).told('');
      expect(bench.after(HOLD).verdict).toBe('1? 2?');
      expect(bench.guard.due(bench.now)).toEqual({ atMs: bench.now, ask: true });
      expect(bench.told('')).toBe('');
    });

    it('counts one time of doubt, however often the emptiness is told', () => {
      const bench = new Bench();
      bench.told('1 2');
      bench.told('', 'emptied');
      for (let i = 0; i < 5; i++) bench.after(HOLD / 5).told('', 'emptied');
      expect(bench.verdict).toBe('');
    });

    it('says why', () => {
      const bench = new Bench();
      bench.told('1 2');
      const verdict = bench.guard.offer({ endpoints: [], suspicion: null }, bench.now);
      expect(verdict.heldReason).toContain('2 of 2 endpoints not told of');
    });
  });

  describe('when the registry was lost and comes back empty', () => {
    it('keeps every endpoint while they register again one by one', () => {
      const bench = new Bench();
      bench.told('1 2 3');
      bench.guard.lost();
      expect(bench.after(60_000).verdict).toBe('1 2 3');
      expect(bench.told('', 'after-reconnect')).toBe('1? 2? 3?');
      expect(bench.after(1000).told('2')).toBe('1? 2 3?');
      expect(bench.after(1000).told('2 3')).toBe('1? 2 3');
      expect(bench.guard.verdict(bench.now).heldReason).toContain('the registry was lost and is back: 1 of 3');
      expect(bench.after(1000).told('1 2 3')).toBe('1 2 3');
      expect(bench.guard.verdict(bench.now).heldReason).toBeNull();
    });

    it('does so also when the registry does not say that it was lost', () => {
      const bench = new Bench();
      bench.told('1 2 3');
      bench.guard.lost();
      expect(bench.told('2')).toBe('1? 2 3?');
    });

    it('keeps a single endpoint too', () => {
      const bench = new Bench();
      bench.told('1');
      expect(bench.told('', 'after-reconnect')).toBe('1?');
    });

    it('takes new endpoints and operators’ drains at once meanwhile', () => {
      const bench = new Bench();
      bench.told('1 2 3');
      expect(bench.told('1~ 9', 'after-reconnect')).toBe('1~ 2? 3? 9');
    });

    it('believes what is told of again and then leaves', () => {
      const bench = new Bench();
      bench.told('1 2 3');
      bench.told('', 'after-reconnect');
      bench.after(1000).told('1 2');
      expect(bench.after(1000).told('1')).toBe('1 3?');
      expect(bench.after(CONFIRM).told('')).toBe('3?');
    });

    it('lets those that never come back go when the hold is over, and believes everything from then on', () => {
      const bench = new Bench();
      bench.told('1 2 3');
      bench.told('', 'after-reconnect');
      bench.after(20_000).told('2');
      expect(bench.after(40_000).verdict).toBe('2');
      expect(bench.told('2!')).toBe('2!');
      expect(bench.told('')).toBe('');
    });

    it('starts the hold anew when the registry is lost again, and ends none while it is away', () => {
      const bench = new Bench();
      bench.told('1 2');
      bench.told('', 'after-reconnect');
      bench.after(30_000).told('');
      bench.guard.lost();
      expect(bench.guard.due(bench.now)).toBeNull();
      expect(bench.after(300_000).verdict).toBe('1? 2?');
      expect(bench.told('', 'after-reconnect')).toBe('1? 2?');
      expect(bench.after(HOLD - 1).told('')).toBe('1? 2?');
      expect(bench.after(1).verdict).toBe('');
    });

    it('keeps the generation of a process that only the registry numbered anew', () => {
      const guard = new SetGuard({ holdMs: HOLD, confirmMs: CONFIRM });
      const generation = (set: readonly RegistryEndpoint[]) => set.map((endpoint) => endpoint.generation).join();
      const one = (name: string) => [registryEndpoint(1, { generation: name })];
      guard.offer({ endpoints: one('a'), suspicion: null }, 0);
      guard.offer({ endpoints: [], suspicion: 'after-reconnect' }, 1);
      expect(generation(guard.offer({ endpoints: one('b'), suspicion: null }, 2).endpoints)).toBe('a');
      expect(generation(guard.offer({ endpoints: one('b'), suspicion: null }, 200_000).endpoints)).toBe('a');
      expect(generation(guard.offer({ endpoints: one('c'), suspicion: null }, 200_001).endpoints)).toBe('c');
    });
  });

  describe('when the registry comes back with its data', () => {
    it('does not believe checks that turn critical before the registry came to itself', () => {
      const bench = new Bench();
      bench.told('1 2 3');
      expect(bench.told('1 2 3', 'after-reconnect')).toBe('1 2 3');
      expect(bench.after(200).told('1 2 3!')).toBe('1 2 3?');
      expect(bench.after(20).told('1! 2! 3!')).toBe('1? 2? 3?');
      expect(bench.after(3000).told('1 2! 3!')).toBe('1 2? 3?');
      expect(bench.after(3000).told('1 2 3')).toBe('1 2 3');
    });

    it('believes them when the hold is over', () => {
      const bench = new Bench();
      bench.told('1 2');
      bench.told('1! 2!', 'after-reconnect');
      bench.after(CONFIRM).told('1! 2!');
      expect(bench.verdict).toBe('1? 2?');
      expect(bench.after(HOLD - CONFIRM).verdict).toBe('1! 2!');
    });

    it('believes that an endpoint is down that was fit after the registry came to itself', () => {
      const bench = new Bench();
      bench.told('1 2 3');
      bench.told('1 2 3', 'after-reconnect');
      bench.after(CONFIRM).told('1 2 3');
      expect(bench.told('1 2 3!')).toBe('1 2 3!');
      expect(bench.told('1 2! 3!')).toBe('1 2? 3?');
    });

    it('never calls an endpoint fit that was down before', () => {
      const bench = new Bench();
      bench.told('1 2!');
      expect(bench.told('1 2!', 'after-reconnect')).toBe('1 2!');
      expect(bench.told('', 'after-reconnect')).toBe('1? 2!');
    });

    it('does not bring back what left early when others go down later', () => {
      const bench = new Bench();
      bench.told('1 2 3 4');
      bench.told('1 2 3 4', 'after-reconnect');
      expect(bench.after(500).told('2 3 4')).toBe('2 3 4');
      expect(bench.after(CONFIRM).told('2 3 4')).toBe('2 3 4');
      expect(bench.after(500).told('2! 3! 4')).toBe('2? 3? 4');
    });

    it('believes a deregistration at once, but not that of most', () => {
      const bench = new Bench();
      bench.told('1 2 3 4');
      bench.told('1 2 3 4', 'after-reconnect');
      expect(bench.after(500).told('2 3 4')).toBe('2 3 4');
      expect(bench.after(500).told('3 4')).toBe('3 4');
      expect(bench.after(500).told('4')).toBe('1? 2? 3? 4');
      expect(bench.after(500).told('3 4')).toBe('3 4');
    });
  });

  describe('with endpoints from disk', () => {
    it('believes the first answer of a registry that was not lost', () => {
      const bench = new Bench();
      bench.guard.seed(parsed('1 2 3'));
      expect(bench.verdict).toBe('1 2 3');
      expect(bench.told('2')).toBe('2');
    });

    it('does not believe that the last one is gone, since nobody watched it go', () => {
      const bench = new Bench();
      bench.guard.seed(parsed('1'));
      expect(bench.told('')).toBe('1?');
      expect(bench.after(HOLD).told('')).toBe('');
    });

    it('keeps them when the registry could not be asked at first', () => {
      const bench = new Bench();
      bench.guard.seed(parsed('1 2 3'));
      bench.guard.lost();
      expect(bench.told('2')).toBe('1? 2 3?');
    });
  });

  it('never shrinks on a suspicious answer, and says what is told once the doubt is over', () => {
    const statuses = fc.constantFrom('', '!', '~');
    const set = fc
      .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 6 }), statuses), { selector: ([port]) => port })
      .map((entries) => entries.sort(([a], [b]) => a - b).map(([port, mark]) => `${port}${mark}`));
    const suspicion = fc.constantFrom<Suspicion | null>(null, null, 'after-reconnect', 'index-reset', 'stale-server');
    const step = fc.record({ set, suspicion, ms: fc.constantFrom(0, 500, CONFIRM, HOLD), lost: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const bench = new Bench();
        let before: string[] = [];
        for (const { set, suspicion, ms, lost } of steps) {
          if (lost) bench.guard.lost();
          const words = bench.after(ms).told(set.join(' '), suspicion).split(' ').filter(Boolean);
          const ports = new Set(words.map((word) => Number.parseInt(word, 10)));
          // Whatever is told of is there.
          for (const word of set) expect(ports).toContain(Number.parseInt(word, 10));
          if (suspicion !== null || lost) for (const word of before) expect(ports).toContain(Number.parseInt(word, 10));
          before = words;
        }
        const last = steps.at(-1)?.set.join(' ') ?? '';
        bench.told(last);
        bench.after(CONFIRM).told(last);
        bench.after(HOLD).told(last);
        expect(bench.verdict).toBe(last);
      }),
      { numRuns: 500 },
    );
  });
});
