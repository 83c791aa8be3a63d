import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { DELTA_ENDPOINTS, packDelta } from '../../../src/endpoint/delta.ts';
import { Down } from '../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { Tried } from '../../../src/endpoint/endpoint-set.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { HEDGE_OUTCOMES, PoolCounter, PoolWords, RETRY_COST } from '../../../src/endpoint/pool-words.ts';
import { Trial } from '../../../src/endpoint/trial.ts';
import { Pool, Refusal } from '../../../src/pool/pool.ts';
import { STALE_CONNECTION } from '../../../src/pool/retry.ts';
import { parseHashKey } from '../../../src/scheduling/hash-key.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';
import { poolOptionsOf } from '../../helpers/pool-options.ts';

const NONE = new Tried();

describe('a pool in a worker', () => {
  let clock: ManualClock;
  let factory: EndpointFactory;
  let words: PoolWords;
  let gone: string[];
  let ejected: string[];
  let version: number;

  beforeEach(() => {
    clock = new ManualClock();
    factory = new EndpointFactory(3, 1);
    words = new PoolWords(3);
    gone = [];
    ejected = [];
    version = 0;
  });

  function makePool(options: object = {}): Pool {
    return new Pool('web', poolOptionsOf({ scheduler: 'weighted-round-robin', ...options }), words, {
      clock,
      random: seededRandom(1),
      worker: 0,
      workers: 2,
      row: 1,
      table: factory.table,
      onEjected: (_, endpoint, cause) => ejected.push(`${endpoint.id} ${cause}`),
      onGone: (_, endpoint) => gone.push(endpoint.id),
    });
  }

  function change(pool: Pool, upserts: readonly Endpoint[], removed: readonly Endpoint[] = []): void {
    const slots = removed.map(({ slot }) => slot);
    for (const delta of packDelta('web', ++version, upserts, slots)) pool.apply(delta);
  }

  const acquire = (pool: Pool, tried = NONE) => pool.acquire(0, tried, clock.now());

  function finish(pool: Pool, endpoint: Endpoint, outcome: Outcome = Outcome.OK): void {
    pool.answered(endpoint, outcome, clock.now(), 1);
    pool.release(endpoint, outcome, 1);
  }

  it('has nobody before it hears of members, then all of them, and counts each attempt until it is released', () => {
    const pool = makePool();
    expect([acquire(pool), pool.refusal]).toEqual([null, Refusal.EMPTY]);
    const endpoints = factory.many(3);
    change(pool, endpoints);
    const picked = [acquire(pool)!, acquire(pool)!, acquire(pool)!];
    expect(new Set(picked.map(({ id }) => id))).toEqual(new Set(endpoints.map(({ id }) => id)));
    expect(picked.map(({ active, waiting }) => [active, waiting])).toEqual(new Array(3).fill([1, 1]));
    finish(pool, picked[0]);
    pool.cancel(picked[1], clock.now());
    finish(pool, picked[2], Outcome.RESET);
    expect(picked.map(({ active, waiting }) => [active, waiting])).toEqual(new Array(3).fill([0, 0]));
    expect([picked[0].outcomes(Outcome.OK), picked[1].outcomes(Outcome.OK), picked[2].outcomes(Outcome.RESET)]).toEqual(
      [1, 0, 1],
    );
  });

  it('sees a down bit at the next acquire, without a message', () => {
    const pool = makePool({ panic: 'off' });
    const [one, two] = factory.many(2);
    change(pool, [one, two]);
    one.setDown(Down.PROBE);
    words.bumpGeneration();
    for (let i = 0; i < 4; i++) expect(acquire(pool)!.id).toBe(two.id);
  });

  it('is full when every endpoint has its limit over all workers, and says so', () => {
    const pool = makePool({ limits: { active: 2 } });
    const [one] = factory.many(1);
    change(pool, [one]);
    factory.view(one.slot, {}, 2).begin(clock.now());
    expect(acquire(pool)).not.toBeNull();
    expect([acquire(pool), pool.refusal]).toEqual([null, Refusal.FULL]);
  });

  it('finds the one endpoint with room among many that are full', () => {
    const pool = makePool({ limits: { active: 1 } });
    const endpoints = factory.many(40);
    change(pool, endpoints);
    for (const endpoint of endpoints) if (endpoint !== endpoints[33]) endpoint.begin(clock.now());
    expect(acquire(pool)!.id).toBe(endpoints[33].id);
  });

  it('says what its scheduler hashes on, also after it was given another', () => {
    const pool = makePool();
    expect(pool.hashOn).toBeNull();
    pool.configure(poolOptionsOf({ scheduler: { kind: 'hash', on: 'path' } }));
    expect(pool.hashOn).toEqual(parseHashKey('path'));
    pool.configure(poolOptionsOf({ scheduler: 'first' }));
    expect(pool.hashOn).toBeNull();
  });

  it('gives a key whose endpoint is full to the next one of this key, not to the first of the list', () => {
    const pool = makePool({ scheduler: { kind: 'hash', on: 'path' }, limits: { active: 1 } });
    const endpoints = factory.many(8);
    change(pool, endpoints);
    for (let key = 1; key < 200; key++) {
      const own = pool.acquire(key, NONE, clock.now())!;
      const next = pool.acquire(key, NONE, clock.now())!;
      const tried = new Tried();
      tried.add(own);
      finish(pool, next);
      finish(pool, own);
      const wanted = pool.acquire(key, tried, clock.now())!;
      expect(next).toBe(wanted);
      finish(pool, wanted);
    }
  });

  it('serves who waits in turn, as places become free, and counts them', () => {
    const pool = makePool({ limits: { active: 1, pending: 3 } });
    change(pool, factory.many(1));
    const first = acquire(pool)!;
    const served: string[] = [];
    const taken: Endpoint[] = [];
    const waiter = (name: string) => ({
      onTurn: () => {
        const endpoint = acquire(pool);
        if (endpoint === null) return false;
        served.push(name);
        taken.push(endpoint);
        return true;
      },
    });
    pool.enqueue(waiter('a'));
    const left = pool.enqueue(waiter('b'))!;
    pool.enqueue(waiter('c'));
    expect(pool.enqueue(waiter('d'))).toBeNull();
    pool.leaveQueue(left);
    pool.leaveQueue(left);
    expect(words.counter(PoolCounter.PENDING)).toBe(2);
    finish(pool, first);
    expect([served, words.counter(PoolCounter.PENDING)]).toEqual([['a'], 1]);
    pool.cancel(taken[0], clock.now());
    expect([served, words.counter(PoolCounter.PENDING)]).toEqual([['a', 'c'], 0]);
    finish(pool, taken[1]);
    expect(first.active).toBe(0);
  });

  it('looks at every tick for a place that another worker gave back', () => {
    const pool = makePool({ limits: { active: 1 } });
    const [one] = factory.many(1);
    change(pool, [one]);
    const other = factory.view(one.slot, {}, 2);
    other.begin(clock.now());
    let turns = 0;
    pool.enqueue({ onTurn: () => acquire(pool) !== null && ++turns > 0 });
    pool.tick(clock.now());
    expect(turns).toBe(0);
    other.cancel(clock.now());
    pool.tick(clock.now());
    expect([turns, words.counter(PoolCounter.PENDING)]).toEqual([1, 0]);
  });

  it('gives an endpoint back when nothing is in flight on it, once, and not before the change is whole', () => {
    const pool = makePool();
    const [one, two] = factory.many(2);
    change(pool, [one, two]);
    let held = acquire(pool)!;
    while (held.id !== one.id) {
      finish(pool, held);
      held = acquire(pool)!;
    }
    change(pool, [], [one]);
    pool.tick(clock.now());
    expect([gone, pool.isEmpty]).toEqual([[], false]);
    finish(pool, held);
    pool.tick(clock.now());
    pool.tick(clock.now());
    expect(gone).toEqual([one.id]);

    const newcomers = factory.many(501);
    const parts = packDelta('web', ++version, newcomers, [two.slot]);
    expect(parts.length).toBe(2);
    pool.apply(parts[0]);
    pool.tick(clock.now());
    // The set is the old one until the last part: `two` may still be picked, so its slot is not free.
    expect([gone, acquire(pool)!.id]).toEqual([[one.id], two.id]);
    pool.apply(parts[1]);
    expect(pool.set.all.length).toBe(501);
  });

  it('has the same endpoint when it becomes a backup, with what is in flight on it, and not before the change is whole', () => {
    const pool = makePool();
    const endpoints = factory.many(DELTA_ENDPOINTS + 1);
    change(pool, endpoints);
    const busy = acquire(pool)!;
    const flipped = endpoints.map(({ slot }, i) => factory.view(slot, { backup: i < DELTA_ENDPOINTS }, 0));
    const [part, last] = packDelta('web', ++version, flipped, []);
    pool.apply(part);
    words.bumpGeneration();
    finish(pool, acquire(pool)!);
    expect(pool.set.available.length).toBe(DELTA_ENDPOINTS + 1);
    pool.apply(last);
    expect(pool.set.available.map(({ id }) => id)).toEqual([endpoints[DELTA_ENDPOINTS].id]);
    expect([pool.has(busy), busy.isBackup, gone]).toEqual([true, true, []]);
    change(pool, [], [busy]);
    pool.tick(clock.now());
    expect(gone).toEqual([]);
    finish(pool, busy);
    pool.tick(clock.now());
    expect(gone).toEqual([busy.id]);
  });

  it('keeps what a reload does not change, and takes what it changes', () => {
    const pool = makePool();
    change(pool, factory.many(2));
    const { scheduler } = pool;
    pool.configure(poolOptionsOf({ scheduler: 'weighted-round-robin', retry: { on: ['reset'] } }));
    expect(pool.scheduler).toBe(scheduler);
    pool.configure(poolOptionsOf({ scheduler: 'random', retry: 'off' }));
    expect(pool.scheduler).not.toBe(scheduler);
    expect([pool.retryOn, acquire(pool) === null]).toEqual([0, false]);
  });

  it('ejects what fails, tells main, and uses the others', () => {
    const pool = makePool({ ejection: { consecutiveFailures: 3, successRate: 'off' } });
    const [one, two] = factory.many(2);
    change(pool, [one, two]);
    for (let i = 0; i < 12; i++) {
      const endpoint = acquire(pool)!;
      finish(pool, endpoint, endpoint.id === one.id ? Outcome.SERVER_ERROR : Outcome.OK);
    }
    expect(ejected).toEqual([`${one.id} consecutive-failures`]);
    expect(one.down).toBe(Down.EJECTED);
    expect(one.outcomes(Outcome.SERVER_ERROR)).toBe(3);
  });

  it('takes a relayed connection for a trial that passed, however long its bytes take', () => {
    const pool = makePool();
    const endpoints = factory.many(2);
    change(pool, endpoints);
    endpoints[0].ejectedUntilMs = clock.now();
    endpoints[0].trial = Trial.OPEN;
    endpoints[0].setDown(Down.EJECTED);
    words.bumpGeneration();
    const startedMs = clock.now();
    const trial = acquire(pool)!;
    expect(trial.id).toBe(endpoints[0].id);
    clock.advance(3);
    pool.connected(trial, startedMs);
    expect(endpoints[0].trial).toBe(Trial.PASSED);
    clock.advance(60_000);
    pool.asked(trial, clock.now());
    pool.answered(trial, Outcome.RESET, clock.now(), 1);
    pool.release(trial, Outcome.RESET, 1);
    expect([endpoints[0].trial, trial.active, trial.waiting]).toEqual([Trial.PASSED, 0, 0]);
  });

  it('has retries while there is budget; one for a dead connection needs none', () => {
    const pool = makePool();
    words.refillRetries(RETRY_COST, RETRY_COST);
    expect([pool.takeRetry(0), pool.takeRetry(0)]).toEqual([true, false]);
    pool.countRetry(STALE_CONNECTION);
    expect(words.counter(PoolCounter.RETRIES)).toBe(1);
    expect(words.counter(PoolCounter.RETRIES + STALE_CONNECTION)).toBe(1);
  });

  it('gives a hedge another endpoint with room, within the budget, and never in trouble', () => {
    const pool = makePool({ hedging: { after: '5ms', budget: '0%' }, limits: { active: 2 } });
    const [one, two] = factory.many(2);
    change(pool, [one]);
    const slow = acquire(pool)!;
    const hedge = () => pool.acquireHedge(slow, 0, NONE, clock.now());
    const counted = (outcome: (typeof HEDGE_OUTCOMES)[number]) =>
      words.counter(PoolCounter.HEDGES + HEDGE_OUTCOMES.indexOf(outcome));
    expect([hedge(), counted('no-endpoint')]).toEqual([null, 1]);
    change(pool, [two]);
    expect([hedge()?.id, hedge()?.id]).toEqual([two.id, two.id]);
    expect([hedge(), counted('no-endpoint')]).toEqual([null, 2]);
    const second = pool.set.all.find(({ id }) => id === two.id)!;
    pool.abandon(second, clock.now(), clock.now() + 7);
    expect([second.active, second.waiting, second.outcomes(Outcome.CLIENT_GONE)]).toEqual([1, 1, 0]);
    const place = pool.enqueue({ onTurn: () => false })!;
    expect([hedge(), counted('no-endpoint')]).toEqual([null, 3]);
    pool.leaveQueue(place);
    for (let i = 0; i < 8; i++) pool.abandon(hedge()!, clock.now(), clock.now() + 7);
    expect([hedge(), counted('over-budget')]).toEqual([null, 1]);
  });

  it('asks nobody twice and loses nobody when an attempt ends within its own turn', () => {
    const pool = makePool({ limits: { active: 1 } });
    change(pool, factory.many(1));
    const first = acquire(pool)!;
    const turns: string[] = [];
    const waiter = (name: string, failsAtOnce: boolean) => ({
      onTurn: () => {
        const endpoint = acquire(pool);
        if (endpoint === null) return false;
        turns.push(name);
        if (failsAtOnce) finish(pool, endpoint, Outcome.CLIENT_GONE);
        return true;
      },
    });
    pool.enqueue(waiter('a', true));
    pool.enqueue(waiter('b', true));
    pool.enqueue(waiter('c', false));
    finish(pool, first);
    expect(turns).toEqual(['a', 'b', 'c']);
    expect([first.active, pool.isQueued, words.counter(PoolCounter.PENDING)]).toEqual([1, false, 0]);
  });

  it('lets nobody behind a retry wait for the endpoint that only the retry needs', () => {
    const pool = makePool({ limits: { active: 1 } });
    const [one, two] = factory.many(2);
    change(pool, [one, two]);
    const taken = [acquire(pool)!, acquire(pool)!];
    const tried = new Tried();
    tried.add(taken[0]);
    const served: string[] = [];
    const waiter = (name: string, tries: Tried) => ({
      onTurn: () => {
        if (acquire(pool, tries) === null) return false;
        served.push(name);
        return true;
      },
    });
    pool.enqueue(waiter('retry', tried), true);
    pool.enqueue(waiter('fresh', NONE));
    finish(pool, taken[0]);
    expect(served).toEqual(['fresh']);
    finish(pool, taken[1]);
    expect([served, pool.isQueued, words.counter(PoolCounter.PENDING)]).toEqual([['fresh', 'retry'], false, 0]);
  });

  it('lets a newcomer grow to its share when others can carry the rest', () => {
    const pool = makePool({ slowStart: '10s' });
    clock.advance(100_000);
    const [old, older, young] = factory.many(3);
    young.readySinceMs = clock.now();
    change(pool, [old, older, young]);
    const weight = () => pool.set.all.find(({ id }) => id === young.id)!.effectiveWeight;
    expect(weight()).toBeLessThan(0.5);
    clock.advance(5000);
    pool.tick(clock.now());
    const half = weight();
    clock.advance(6000);
    pool.tick(clock.now());
    expect(half).toBeGreaterThan(0.1);
    expect(half).toBeLessThan(1);
    expect(weight()).toBe(1);
  });
});
