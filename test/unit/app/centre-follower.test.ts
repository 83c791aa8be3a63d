import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CentreFollower, type Followed } from '../../../src/app/centre-follower.ts';
import type { Traffic } from '../../../src/app/traffic-tally.ts';
import { VersionCache } from '../../../src/app/version-cache.ts';
import { OperationError } from '../../../src/base/errors.ts';
import type { ConfigCentre } from '../../../src/centre/config-centre.ts';
import { directoryWorld, openTestCentre, type StoreWorld } from '../../helpers/config-stores.ts';
import { eventually } from '../../helpers/eventually.ts';

const REPORT_MS = 5000;
const JUDGE_MS = 100;

describe('a proxy that follows a config centre', () => {
  let world: StoreWorld;
  let centre: ConfigCentre;
  /** What the proxy has of it. */
  let followed: ConfigCentre;
  let follower: CentreFollower;
  /** What was put in force, one after the other: a version's number, and `+2@0.05` for one on trial. */
  let applied: string[];
  let traffic: Traffic;
  let nowMs: number;
  /** The process is draining: the proxy puts nothing in force any more. */
  let isEnding: boolean;
  /** So often what ran before a trial cannot be put in force again. */
  let stuck: number;
  /** How often the follower asked what time it is. */
  let looks: number;

  beforeEach(async () => {
    // Its timers alone: the store's are real.
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    world = await directoryWorld.start();
    centre = openTestCentre(world.address);
    followed = openTestCentre(world.address, 2);
    [applied, nowMs, looks, isEnding, stuck] = [[], Date.now(), 0, false, 0];
    traffic = { requests: 0, errors: 0, p99Ms: Number.NaN };
    await push('one');
    const version = await centre.find('head');
    follower = new CentreFollower({
      centre: followed,
      name: 'edge',
      cache: new VersionCache(`${world.address.slice('file://'.length)}/cache.json`),
      start: { version, refused: null, warnings: [] },
      wallClock: () => {
        looks++;
        return nowMs;
      },
    });
  });
  afterEach(async () => {
    await follower.close();
    await centre.store.close();
    await world.close();
    vi.useRealTimers();
  });

  const push = (document: string, more: object = {}) =>
    centre.push({ document, author: 'test', message: '', onto: null, trial: null, ...more });
  const follow = () => {
    const tally = { advance() {}, reset() {}, traffic: { requests: 1000, errors: 0, p99Ms: 10 } };
    const trialTally = {
      advance() {},
      get traffic() {
        return traffic;
      },
    };
    follower.follow({
      apply: async () => {
        if (isEnding) return { accepted: false, message: 'this process is shutting down', problems: [] };
        const { version, trial } = follower.wanted;
        if (trial === null && stuck-- > 0) return { accepted: false, message: 'a file is away', problems: [] };
        applied.push(`${version.number}${trial === null ? '' : `+${trial.version.number}@${trial.share}`}`);
        return { accepted: true, version: '', versionNumber: 1, isChanged: true };
      },
      tally: () => tally,
      trialTally: () => trialTally,
      publish() {},
      log: { warn() {}, error() {} },
    } as unknown as Followed);
  };
  const pass = (ms: number) => {
    nowMs += ms;
    vi.advanceTimersByTime(ms);
  };
  /** Makes a method of the proxy's store fail so many times. */
  const failing = (method: 'get' | 'put', key: string, times: number) => {
    const { store } = followed;
    const right = store[method].bind(store) as (...args: unknown[]) => Promise<never>;
    let left = times;
    vi.spyOn(store, method).mockImplementation((...args: unknown[]) => {
      if (!(args[0] as string).startsWith(key) || left <= 0) return right(...args);
      left--;
      return Promise.reject(new OperationError('store-unreachable', 'away for a moment', { retryable: true }));
    });
    return () => left;
  };

  it('asks again for a version that could not be had', async () => {
    follow();
    const left = failing('get', 'versions/2', 1);
    await push('two');
    await eventually(() => left() === 0);
    expect(applied).toEqual([]);
    await eventually(() => {
      pass(REPORT_MS);
      return applied.includes('2');
    });
    expect(follower.running.number).toBe(2);
  });

  it('ends a trial that fails at once here, and tells the centre until it has heard it', async () => {
    follow();
    await eventually(async () => (await centre.living()).length === 1);
    await push('two', { trial: { proxies: { count: 1 }, trialMs: 30_000 } });
    await eventually(() => applied.at(-1) === '1+2@0.05');
    const left = failing('put', 'head', 2);
    traffic = { requests: 10, errors: 5, p99Ms: 10 };
    await eventually(() => {
      pass(100);
      return applied.at(-1) === '1';
    });
    expect((await centre.current())?.head.stage).not.toBeNull();
    await eventually(async () => {
      pass(500);
      return (await centre.current())?.head.withdrawn ?? null;
    });
    expect(left()).toBe(0);
    expect((await centre.current())?.head).toMatchObject({ number: 1, stage: null });
    expect(applied.filter((one) => one.includes('+'))).toEqual(['1+2@0.05']);
  });

  it('goes back from a trial that failed as soon as that can be done', async () => {
    follow();
    await eventually(async () => (await centre.living()).length === 1);
    await push('two', { trial: { proxies: { count: 1 }, trialMs: 30_000 } });
    await eventually(() => applied.at(-1) === '1+2@0.05');
    stuck = 4;
    traffic = { requests: 10, errors: 5, p99Ms: 10 };
    await eventually(async () => {
      pass(100);
      return (await centre.current())?.head.withdrawn ?? null;
    });
    await eventually(() => {
      pass(REPORT_MS);
      return applied.at(-1) === '1';
    });
  });

  it('widens a trial that goes well, and has its version in force wholly before it finds it good', async () => {
    follow();
    await eventually(async () => (await centre.living()).length === 1);
    await push('two', { trial: { proxies: { count: 1 }, trialMs: 30_000 } });
    await eventually(() => applied.length === 1);
    await eventually(async () => {
      // One judgement a second, and the next second when it has begun: the store's time is real, and no step may be passed over.
      const before = looks;
      nowMs += 1000;
      vi.advanceTimersByTime(JUDGE_MS);
      await eventually(() => looks > before);
      return (await centre.current())?.head.number === 2;
    });
    expect(applied).toEqual(['1+2@0.05', '1+2@0.25', '1+2@1']);
    // The centre knows it first.
    await eventually(() => follower.wanted.trial === null);
    expect(follower.wanted.version.number).toBe(2);
  });

  it('has nothing against a version that comes as the proxy ends, and leaves the list all the same', async () => {
    follow();
    await eventually(async () => (await centre.living()).length === 1);
    isEnding = true;
    const { version } = followed;
    vi.spyOn(followed, 'version').mockImplementation(async (key) => {
      follower.rest();
      return version.call(followed, key);
    });
    await push('two', { trial: { proxies: { count: 1 }, trialMs: 30_000 } });
    await eventually(() => vi.mocked(followed.version).mock.calls.length > 0);
    await follower.close();
    const head = (await centre.current())?.head;
    expect([head?.withdrawn ?? null, head?.stage?.proxies]).toEqual([null, ['edge']]);
    expect(await centre.living()).toEqual([]);
  });

  it('writes one version after the other down, however long that takes', async () => {
    const { keep } = VersionCache.prototype;
    let writing = 0;
    const kept: string[] = [];
    const slow = vi.spyOn(VersionCache.prototype, 'keep').mockImplementation(async function (this: VersionCache, one) {
      kept.push(`${one.number}${writing++ === 0 ? '' : ' meanwhile'}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
      writing--;
      return keep.call(this, one);
    });
    follow();
    await push('two');
    await eventually(() => kept.length === 2);
    slow.mockRestore();
    expect(kept).toEqual(['1', '2']);
  });
});
