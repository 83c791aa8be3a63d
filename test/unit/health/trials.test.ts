import { beforeEach, describe, expect, it } from 'vitest';
import { Down } from '../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { Trial } from '../../../src/endpoint/trial.ts';
import { Trials } from '../../../src/health/trials.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

describe('trials of a worker', () => {
  let factory: EndpointFactory;
  let members: Endpoint[];
  let trials: Trials;

  beforeEach(() => {
    factory = new EndpointFactory(3, 1);
    members = factory.many(3);
    trials = new Trials();
    members[0].setDown(Down.EJECTED);
    members[0].ejectedUntilMs = 1000;
    members[0].trial = Trial.OPEN;
    trials.update(members);
  });

  it('are had by one request at a time, over all workers', () => {
    const other = new Trials();
    const theirs = factory.view(0, {}, 2);
    other.update([theirs]);
    expect(trials.take(1001, true)).toBe(members[0]);
    expect([trials.take(1002, true), other.take(1002, true)]).toEqual([null, null]);
    trials.end(members[0], Outcome.CLIENT_GONE, 1001);
    expect(other.take(1003, true)).toBe(theirs);
    other.end(theirs, Outcome.OK, 1003);
    expect(members[0].trial).toBe(Trial.PASSED);
  });

  it('are not decided by attempts from before the ejection', () => {
    trials.take(1001, true);
    trials.end(members[0], Outcome.OK, 400);
    trials.end(members[0], Outcome.TIMED_OUT, 500);
    expect(trials.isHeld).toBe(true);
    trials.end(members[0], Outcome.TIMED_OUT, 1001);
    expect([trials.isHeld, members[0].trial]).toEqual([false, Trial.FAILED]);
  });

  it('are left to requests that can be sent again, for five seconds', () => {
    expect(trials.take(5999, false)).toBeNull();
    expect(trials.take(6000, false)).toBe(members[0]);
  });

  it('are not of endpoints that something else speaks against', () => {
    members[0].setDown(Down.PROBE);
    expect(trials.take(1001, true)).toBeNull();
    trials.update(members);
    expect(trials.isOpen).toBe(false);
  });
});
