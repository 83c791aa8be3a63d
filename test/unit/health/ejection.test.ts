import { Worker } from 'node:worker_threads';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { Down } from '../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { PoolWords } from '../../../src/endpoint/pool-words.ts';
import { Trial } from '../../../src/endpoint/trial.ts';
import { Ejection } from '../../../src/health/ejection.ts';
import { ejectionOptions } from '../../../src/health/ejection-options.ts';
import { EjectionRestorer } from '../../../src/health/ejection-restorer.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

describe('ejection', () => {
  let clock: ManualClock;
  let words: PoolWords;
  let factory: EndpointFactory;
  let log: { id: string; cause: string; lengthMs: number }[];
  let restored: string[];
  let reported: string[];

  beforeEach(() => {
    clock = new ManualClock();
    words = new PoolWords(2);
    factory = new EndpointFactory();
    log = [];
    restored = [];
    reported = [];
  });

  function make(members: readonly Endpoint[], settings: object = {}) {
    const options = ejectionOptions.parse(settings);
    const ejection = new Ejection(options, {
      clock,
      random: seededRandom(8),
      words,
      onEjected: (endpoint, cause, untilMs) => log.push({ id: endpoint.id, cause, lengthMs: untilMs - clock.now() }),
      onReported: ({ id }, cause) => reported.push(`${id} ${cause}`),
    });
    ejection.update(members);
    const restorer = new EjectionRestorer(options, {
      clock,
      random: seededRandom(9),
      words,
      onRestored: (endpoint) => restored.push(endpoint.id),
      onEjected: (endpoint, cause, untilMs) => log.push({ id: endpoint.id, cause, lengthMs: untilMs - clock.now() }),
    });
    return { ejection, restorer };
  }

  function fail(ejection: Ejection, endpoint: Endpoint, times = 5): void {
    for (let i = 0; i < times; i++) ejection.onAnswer(endpoint, Outcome.SERVER_ERROR);
  }

  /** A request finds the endpoint well, once its time is over. */
  function pass(restorer: EjectionRestorer, members: readonly Endpoint[], endpoint: Endpoint): void {
    restorer.sweep(members);
    expect(endpoint.trial).toBe(Trial.OPEN);
    expect(endpoint.tryTakeTrial()).toBe(true);
    endpoint.endTrial(Trial.PASSED);
    restorer.sweep(members);
    expect(endpoint.down).toBe(0);
  }

  /** Lets another thread act once while an ejection is between its check and its bit: it looks at the clock there. */
  function meanwhile(act: () => void): void {
    const now = clock.now();
    let asked = 0;
    clock.now = () => {
      if (++asked === 1) act();
      return now;
    };
  }

  it('has the defaults of the contract', () => {
    expect(ejectionOptions.parse({})).toEqual({
      consecutiveFailures: 5,
      successRate: 0.8,
      latency: null,
      window: 30_000,
      volume: 20,
      report: [],
      base: 10_000,
      max: 300_000,
      maxEjected: 0.5,
    });
    expect(ejectionOptions.parse({ successRate: 'off', maxEjected: '20%' })).toMatchObject({
      successRate: null,
      maxEjected: 0.2,
    });
    for (const [name, option] of Object.entries(ejectionOptions.shape)) expect(option.description, name).toBeTruthy();
  });

  it('ejects at the fifth failure in a row, tells, and lets the workers filter anew', () => {
    const members = factory.many(4);
    const { ejection } = make(members);
    const generation = words.generation;
    fail(ejection, members[1], 4);
    expect(members[1].down).toBe(0);
    fail(ejection, members[1], 1);
    expect(members[1].down).toBe(Down.EJECTED);
    expect(words.ejected).toBe(1);
    expect(words.generation).not.toBe(generation);
    expect(log).toMatchObject([{ id: members[1].id, cause: 'consecutive-failures' }]);
    expect(log[0].lengthMs).toBeGreaterThanOrEqual(9_000);
    expect(log[0].lengthMs).toBeLessThanOrEqual(11_000);
  });

  it('starts counting anew at every success, and does not count clients that left', () => {
    const members = factory.many(4);
    const { ejection } = make(members, { successRate: 'off' });
    for (let i = 0; i < 20; i++) {
      fail(ejection, members[0], 4);
      ejection.onAnswer(members[0], i % 2 === 0 ? Outcome.OK : Outcome.CLIENT_GONE);
      if (i % 2 === 1) {
        expect(members[0].failuresInRow).toBe(4);
        ejection.onAnswer(members[0], Outcome.OK);
      }
    }
    expect(log).toEqual([]);
  });

  it.each([
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 2],
    [10, 5],
  ])('of %i failing endpoints ejects %i', (count, expected) => {
    const members = factory.many(count);
    const { ejection } = make(members);
    for (const endpoint of members) fail(ejection, endpoint, 20);
    expect(members.filter((endpoint) => endpoint.down !== 0).length).toBe(expected);
    expect(words.ejected).toBe(expected);
  });

  it('never ejects the last available one, whatever the others are down for', () => {
    const members = factory.many(6);
    members[0].setDown(Down.PROBE);
    members[1].setDown(Down.REGISTRY);
    members[2].setDown(Down.DRAINING);
    members[3].setDown(Down.ADMIN);
    const { ejection } = make(members, { maxEjected: '100%' });
    fail(ejection, members[4], 20);
    fail(ejection, members[5], 20);
    expect(members[4].down).toBe(Down.EJECTED);
    expect(members[5].down).toBe(0);
    expect(words.ejected).toBe(1);
  });

  it('takes an ejection back when the endpoint leaves at the same moment', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members);
    fail(ejection, members[0], 4);
    meanwhile(() => restorer.remove(members[0]));
    fail(ejection, members[0], 1);
    expect(members[0].down).toBe(Down.LEAVING);
    expect(words.ejected).toBe(0);
    expect(log).toEqual([]);
  });

  it('takes an ejection back when the only other one goes down at the same moment', () => {
    const members = factory.many(2);
    const { ejection } = make(members);
    fail(ejection, members[0], 4);
    meanwhile(() => members[1].setDown(Down.PROBE));
    const generation = words.generation;
    fail(ejection, members[0], 1);
    expect(members[0].down).toBe(0);
    expect(words.ejected).toBe(0);
    expect(words.generation).not.toBe(generation);
    expect(log).toEqual([]);
  });

  it('does not make the workers filter anew when it refuses to eject', () => {
    const members = factory.many(1);
    const { ejection } = make(members);
    const generation = words.generation;
    fail(ejection, members[0], 20);
    expect(words.generation).toBe(generation);
  });

  it('does not eject who is down already, nor count those out by choice among the members', () => {
    const members = factory.many(10);
    for (const endpoint of members.slice(0, 6)) endpoint.setDown(Down.ADMIN);
    const { ejection } = make(members);
    for (const endpoint of members) fail(ejection, endpoint, 20);
    expect(words.ejected).toBe(2);
    expect(members[0].down).toBe(Down.ADMIN);
  });

  it('does nothing while frozen', () => {
    const members = factory.many(4);
    const { ejection } = make(members);
    words.frozen = true;
    fail(ejection, members[0], 50);
    expect(members[0].failuresInRow).toBe(0);
    words.frozen = false;
    fail(ejection, members[0], 4);
    expect(log).toEqual([]);
  });

  it('grows with every ejection up to the maximum, and shrinks with every clean interval', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members, { max: '35s' });
    for (const [i, lengthMs] of [10_000, 20_000, 30_000, 35_000, 35_000].entries()) {
      fail(ejection, members[0]);
      expect(log[i].lengthMs).toBeGreaterThanOrEqual(lengthMs * 0.9);
      expect(log[i].lengthMs).toBeLessThanOrEqual(Math.min(35_000, lengthMs * 1.1));
      clock.advance(log[i].lengthMs + 1);
      pass(restorer, members, members[0]);
    }
    expect(members[0].ejections).toBe(5);
    for (const left of [4, 3, 2, 1, 0, 0]) {
      clock.advance(10_000);
      restorer.sweep(members);
      expect(members[0].ejections).toBe(left);
    }
  });

  it('restores when the trial after its time passed, on probation: one further failure ejects again, one success does not', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members);
    fail(ejection, members[0]);
    members[0].setLatency(5000, clock.now());
    clock.advance(8_900);
    restorer.sweep(members);
    expect(members[0].down).toBe(Down.EJECTED);
    clock.advance(2_200);
    const generation = words.generation;
    restorer.sweep(members);
    expect(members[0].down).toBe(Down.EJECTED);
    pass(restorer, members, members[0]);
    restorer.sweep(members);
    expect(restored).toEqual([members[0].id]);
    expect(members[0].down).toBe(0);
    expect(words.ejected).toBe(0);
    expect(words.generation).not.toBe(generation);
    expect(members[0].latencyMs).toBeNaN();
    expect(members[0].readySinceMs).toBe(clock.now());
    fail(ejection, members[0], 1);
    expect(members[0].down).toBe(Down.EJECTED);
    clock.advance(30_000);
    pass(restorer, members, members[0]);
    ejection.onAnswer(members[0], Outcome.OK);
    fail(ejection, members[0], 4);
    expect(members[0].down).toBe(0);
  });

  it('ends an ejection at once when told to, and only if there is one', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members);
    expect(restorer.release(members[0])).toBe(false);
    expect(members[0].failuresInRow).toBe(0);
    fail(ejection, members[0]);
    expect(restorer.release(members[0])).toBe(true);
    expect(words.ejected).toBe(0);
  });

  it('gives the place back when an ejected endpoint leaves, and keeps a late worker from ejecting it again', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members);
    fail(ejection, members[0]);
    restorer.remove(members[0]);
    expect(words.ejected).toBe(0);
    fail(ejection, members[0], 50);
    expect(words.ejected).toBe(0);
    restorer.remove(members[1]);
    expect(words.ejected).toBe(0);
  });

  it('opens one trial when the time is over; a failed one lengthens the ejection, one without a result leaves it open', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members);
    fail(ejection, members[0]);
    restorer.sweep(members);
    expect(members[0].trial).toBe(Trial.NONE);
    clock.advance(log[0].lengthMs + 1);
    restorer.sweep(members);
    expect(members[0].tryTakeTrial()).toBe(true);
    expect(members[0].tryTakeTrial()).toBe(false);
    members[0].endTrial(Trial.OPEN);
    expect(members[0].tryTakeTrial()).toBe(true);
    members[0].endTrial(Trial.FAILED);
    const generation = words.generation;
    restorer.sweep(members);
    expect(log[1]).toMatchObject({ id: members[0].id, cause: 'trial' });
    expect(log[1].lengthMs).toBeGreaterThan(17_999);
    expect(members[0]).toMatchObject({ down: Down.EJECTED, trial: Trial.NONE, ejections: 2 });
    expect(words).toMatchObject({ ejected: 1 });
    expect(words.generation).not.toBe(generation);
  });

  it('opens a trial anew when the worker that held it died, and does not listen to it any more', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members);
    fail(ejection, members[0]);
    clock.advance(log[0].lengthMs + 1);
    restorer.sweep(members);
    expect(members[0].tryTakeTrial()).toBe(true);
    restorer.workerGone(0, members);
    expect(members[0].trial).not.toBe(Trial.OPEN);
    restorer.workerGone(1, members);
    expect(members[0].trial).toBe(Trial.OPEN);
    members[0].endTrial(Trial.PASSED);
    expect(members[0].trial).toBe(Trial.OPEN);
  });

  it('gives back the place of a worker that was killed before it set its bit, after two looks', () => {
    const members = factory.many(4);
    const { ejection, restorer } = make(members);
    fail(ejection, members[0]);
    expect(words.tryTakeEjection(2)).toBe(true);
    const looks = [words.ejected];
    restorer.workerGone(1, members);
    for (let i = 0; i < 3; i++) {
      clock.advance(1001);
      restorer.sweep(members);
      looks.push(words.ejected);
    }
    expect(looks).toEqual([2, 2, 1, 1]);
    expect(members[0].down).toBe(Down.EJECTED);
  });

  it('only tells of a cause that is to be reported, once per base', () => {
    const members = factory.many(4);
    const { ejection } = make(members, { report: ['consecutive-failures'] });
    fail(ejection, members[0], 50);
    expect(members[0].down).toBe(0);
    expect(log).toEqual([]);
    expect(reported).toEqual([`${members[0].id} consecutive-failures`]);
    clock.advance(10_001);
    fail(ejection, members[0], 1);
    expect(reported.length).toBe(2);
  });

  it('does not count timeouts within a second after its own loop came late, but everything else', () => {
    const members = factory.many(4);
    const { ejection } = make(members);
    const timeOut = (times: number) => {
      for (let i = 0; i < times; i++) ejection.onAnswer(members[0], Outcome.TIMED_OUT);
    };
    ejection.hold(clock.now());
    timeOut(50);
    expect(members[0]).toMatchObject({ down: 0, failuresInRow: 0 });
    fail(ejection, members[1], 5);
    expect(members[1].down).toBe(Down.EJECTED);
    clock.advance(1001);
    timeOut(5);
    expect(members[0].down).toBe(Down.EJECTED);
  });

  it('keeps the count of places exact while three threads eject and main restores and removes', async () => {
    const members = 6;
    const rounds = 500;
    const raceWords = new PoolWords(4);
    const race = new EndpointFactory(4, 0);
    const endpoints = race.many(members);
    const stop = new Int32Array(new SharedArrayBuffer(8));
    const options = ejectionOptions.parse({ base: '10ms', max: '10ms', successRate: 'off', consecutiveFailures: 1 });
    const workers = [1, 2, 3].map(
      (row) =>
        new Worker(new URL('./ejection-race-worker.ts', import.meta.url), {
          workerData: { row, members, options, stop, words: raceWords.buffer, chunk: race.table.chunks[0].buffer },
        }),
    );
    const done = workers.map(
      (worker) => new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject)),
    );
    const restorer = new EjectionRestorer(options, {
      clock,
      random: seededRandom(9),
      words: raceWords,
      onRestored: () => {},
      onEjected: () => {},
    });
    await new Promise<void>((resolve) => {
      const poll = () => (Atomics.load(stop, 1) === 3 ? resolve() : setTimeout(poll, 1));
      poll();
    });
    let most = 0;
    let ended = 0;
    const deadline = performance.now() + 20_000;
    for (let i = 0; ended < rounds && performance.now() < deadline; i++) {
      most = Math.max(most, raceWords.ejected);
      for (const endpoint of endpoints) if (restorer.release(endpoint)) ended++;
      const leaving = endpoints[i % members];
      restorer.remove(leaving);
      leaving.setDown(0, Down.LEAVING);
    }
    restorer.remove(endpoints[0]);
    Atomics.store(stop, 0, 1);
    await Promise.all(done);
    expect(ended).toBeGreaterThanOrEqual(rounds);
    expect(most).toBeLessThanOrEqual(3);
    expect(endpoints[0].down).toBe(Down.LEAVING);
    const bits = endpoints.filter((endpoint) => (endpoint.down & Down.EJECTED) !== 0).length;
    expect(raceWords.ejected).toBe(bits);
    expect(endpoints.some((endpoint) => endpoint.down === 0)).toBe(true);
  });
});
