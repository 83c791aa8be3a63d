import { describe, expect, it } from 'vitest';
import type { Traffic } from '../../../src/app/traffic-tally.ts';
import { Trial, type Verdict } from '../../../src/app/trial.ts';

const TRIAL_MS = 30_000;

/** A trial of a version that answers `traffic`; `at` judges it at a time. */
function tried(before: Partial<Traffic>, trialMs = TRIAL_MS) {
  const tally = { traffic: { requests: 0, errors: 0, p99Ms: Number.NaN }, advance() {} };
  const trial = new Trial({ requests: 1000, errors: 0, p99Ms: 10, ...before }, tally, 0, trialMs);
  const at = (nowMs: number, requests: number, errors: number, p99Ms = 10): Verdict['kind'] => {
    tally.traffic = { requests, errors, p99Ms };
    return trial.verdict(nowMs).kind;
  };
  return { trial, at };
}

describe('a trial', () => {
  it('begins with one connection in twenty and widens when that has shown enough, but not within a second', () => {
    const { trial, at } = tried({});
    expect(trial.share).toBe(0.05);
    expect([at(900, 500, 0), trial.share]).toEqual(['wait', 0.05]);
    expect([at(1000, 600, 0), trial.share]).toEqual(['more', 0.25]);
    expect([at(1900, 2000, 0), at(2000, 2000, 0), trial.share]).toEqual(['wait', 'more', 1]);
    expect([at(29_999, 9000, 0), at(30_000, 9000, 0)]).toEqual(['wait', 'good']);
  });

  it('widens without traffic too, so that everybody has it long before its time is over', () => {
    const { trial, at } = tried({});
    expect([at(3900, 0, 0), at(4000, 0, 0), at(7900, 0, 0), at(8000, 0, 0)]).toEqual(['wait', 'more', 'wait', 'more']);
    expect(trial.share).toBe(1);
    const short = tried({}, 1000);
    expect([short.at(200, 0, 0), short.at(400, 0, 0), short.at(1000, 0, 0)]).toEqual(['more', 'more', 'good']);
  });

  it('stays with the few who have it while errors came that are too few for a verdict, but not for ever', () => {
    const { trial, at } = tried({});
    expect([at(4000, 20, 4), at(7900, 40, 4), trial.share]).toEqual(['wait', 'wait', 0.05]);
    expect([at(8000, 40, 4), trial.share]).toEqual(['more', 0.25]);
    expect(at(9000, 300, 4)).toBe('more');
  });

  it('is bad from the fifth error on where there were none, however few the requests', () => {
    expect(tried({}).at(300, 8, 4)).toBe('wait');
    expect(tried({}).at(300, 9, 5)).toBe('bad');
    expect(tried({}).at(300, 260, 5)).toBe('wait');
  });

  it('does not take for worse what chance makes of errors that there were before', () => {
    const before = { requests: 1000, errors: 300 };
    expect(tried(before).at(300, 12, 6)).toBe('wait');
    expect(tried(before).at(300, 40, 26)).toBe('bad');
    expect(tried(before).at(300, 2000, 630)).toBe('wait');
  });

  it('is bad when the p99 has more than doubled and grown by 50 ms, judged from 200 requests on', () => {
    expect(tried({}).at(300, 199, 0, 500)).toBe('wait');
    expect(tried({}).at(300, 200, 0, 69)).toBe('wait');
    expect(tried({}).at(300, 200, 0, 71)).toBe('bad');
    expect(tried({ requests: 100 }).at(300, 200, 0, 500)).toBe('wait');
  });
});
