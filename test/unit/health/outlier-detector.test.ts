import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { Down } from '../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { PoolWords } from '../../../src/endpoint/pool-words.ts';
import { ejectionOptions } from '../../../src/health/ejection-options.ts';
import { OutlierDetector } from '../../../src/health/outlier-detector.ts';
import { ejectionStateOf } from '../../../src/pool/ejection-state.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

describe('outlier detector', () => {
  let clock: ManualClock;
  let words: PoolWords;
  let factory: EndpointFactory;
  let members: Endpoint[];
  let log: string[];

  beforeEach(() => {
    clock = new ManualClock();
    words = new PoolWords(3);
    factory = new EndpointFactory(3, 1);
    members = factory.many(4);
    log = [];
  });

  function make(settings: object = {}) {
    const options = ejectionOptions.parse(settings);
    const detector = new OutlierDetector(options, {
      clock,
      random: seededRandom(8),
      words,
      onEjected: ({ id }, cause) => log.push(`${id} ${cause}`),
      onReported: ({ id }, cause) => log.push(`${id} would ${cause}`),
    });
    detector.sweep(members);
    /** Lets time go on as main's sweep sees it. */
    const pass = (ms: number) => {
      for (const end = clock.now() + ms; clock.now() < end; ) {
        clock.advance(Math.min(100, end - clock.now()));
        detector.sweep(members);
      }
    };
    return { options, detector, pass };
  }

  /** Requests that end now; every other one on another worker's row. */
  function serve(endpoint: Endpoint, count: number, outcome: Outcome = Outcome.OK, latencyMs = 5): void {
    const other = factory.view(endpoint.slot, {}, 2);
    for (let i = 0; i < count; i++) {
      const one = i % 2 === 0 ? endpoint : other;
      one.begin(clock.now());
      one.answered(clock.now());
      one.end(outcome, latencyMs);
    }
  }

  it('ejects whose successes are too few, counted over all workers, from 20 requests on', () => {
    const { pass } = make();
    serve(members[0], 9);
    serve(members[0], 10, Outcome.SERVER_ERROR);
    pass(1100);
    expect(log).toEqual([]);
    serve(members[0], 1, Outcome.RESET);
    pass(1100);
    expect(log).toEqual([`${members[0].id} success-rate`]);
    expect(members[0].down).toBe(Down.EJECTED);
  });

  it('does not eject at the rate itself, nor for clients that left', () => {
    const { pass } = make();
    serve(members[0], 80);
    serve(members[0], 20, Outcome.TIMED_OUT);
    serve(members[0], 100, Outcome.CLIENT_GONE);
    pass(2000);
    expect(log).toEqual([]);
  });

  it('forgets what is older than the window, and what came before an ejection', () => {
    const { pass } = make();
    serve(members[0], 19, Outcome.SERVER_ERROR);
    pass(34_000);
    serve(members[0], 19, Outcome.SERVER_ERROR);
    pass(2000);
    expect(log).toEqual([]);
    serve(members[0], 1, Outcome.SERVER_ERROR);
    pass(2000);
    expect(log.length).toBe(1);
    members[0].setDown(0, Down.EJECTED);
    words.returnEjection();
    pass(2000);
    serve(members[0], 19, Outcome.SERVER_ERROR);
    pass(2000);
    expect(log.length).toBe(1);
  });

  it('leaves out what comes while frozen, and ejects nobody then', () => {
    const { pass } = make();
    words.frozen = true;
    serve(members[0], 500, Outcome.TIMED_OUT);
    pass(2000);
    words.frozen = false;
    pass(2000);
    expect(log).toEqual([]);
    serve(members[0], 20, Outcome.TIMED_OUT);
    pass(1100);
    expect(log.length).toBe(1);
  });

  it('ejects by latency only when told to: whose median is so many times that of the pool', () => {
    const off = make();
    const on = make({ latency: 3 });
    for (const endpoint of members) serve(endpoint, 40, Outcome.OK, endpoint === members[3] ? 80 : 8);
    off.pass(1100);
    expect(log).toEqual([]);
    on.pass(1100);
    expect(log).toEqual([`${members[3].id} latency`]);
  });

  it('judges no latency from few requests, from fewer than three endpoints, or by a handful of slow answers', () => {
    const { pass } = make({ latency: 3 });
    for (const endpoint of members) serve(endpoint, endpoint === members[3] ? 19 : 40, Outcome.OK, 8);
    serve(members[0], 15, Outcome.OK, 5000);
    pass(1100);
    expect(log).toEqual([]);
    members = members.slice(2);
    serve(members[1], 100, Outcome.OK, 800);
    pass(2100);
    expect(log).toEqual([]);
  });

  it('only tells of a cause that is to be reported', () => {
    const { pass } = make({ latency: 3, report: ['latency'] });
    for (const endpoint of members) serve(endpoint, 40, Outcome.OK, endpoint === members[3] ? 80 : 8);
    pass(9000);
    expect(log).toEqual([`${members[3].id} would latency`]);
    expect(members[3].down).toBe(0);
  });

  it('says how many it would eject and how many the cap allows', () => {
    const { options, detector, pass } = make({ maxEjected: '30%' });
    for (const endpoint of members.slice(0, 3)) serve(endpoint, 20, Outcome.SERVER_ERROR);
    pass(1100);
    expect(log.length).toBe(1);
    expect(ejectionStateOf(members, options, detector.wanted)).toEqual({
      ejected: 1,
      wanted: 3,
      cap: 1,
      note: 'would eject 3, the cap allows 1',
    });
    members[3].setDown(Down.PROBE);
    members[2].setDown(Down.PROBE);
    expect(ejectionStateOf(members, { ...options, maxEjected: 1 }, detector.wanted).note).toBe(
      'would eject 2, the last one that is left stays',
    );
  });
});
