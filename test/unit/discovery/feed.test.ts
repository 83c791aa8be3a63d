import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { OperationError } from '../../../src/base/errors.ts';
import { type FeedOptions, type FeedState, ServiceFeed } from '../../../src/discovery/feed.ts';
import { LastGoodStore } from '../../../src/discovery/last-good.ts';
import type { Registry, RegistryEndpoint, RegistrySink, Suspicion } from '../../../src/discovery/registry.ts';
import { eventually } from '../../helpers/eventually.ts';
import { registryEndpoint } from '../../helpers/registry-endpoint.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../helpers/temporary-directory.ts';

const web = { name: 'web', tags: [] };
const away = new OperationError('registry-unreachable', 'it refuses connections', { retryable: true });

/** A registry by hand. */
class HandRegistry implements Registry {
  sink: RegistrySink | null = null;
  refreshed = 0;
  closed = 0;

  async start(): Promise<void> {}
  async close(): Promise<void> {}
  subscribe(_service: unknown, sink: RegistrySink) {
    this.sink = sink;
    return { close: () => void this.closed++, refresh: () => void this.refreshed++ };
  }

  tell(ports: readonly number[], suspicion: Suspicion | null = null): void {
    this.sink!.replace({ endpoints: ports.map((port) => registryEndpoint(port)), suspicion });
  }
}

describe('ServiceFeed', () => {
  let directory: TemporaryDirectory;
  let registry: HandRegistry;
  let clock: ManualClock;
  let sets: string[];
  let states: FeedState[];
  let log: string[];
  const stack: (() => Promise<void> | void)[] = [];

  beforeEach(async () => {
    directory = await temporaryDirectory('feed');
    registry = new HandRegistry();
    clock = new ManualClock();
    [sets, states, log] = [[], [], []];
  });
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
    await directory.close();
  });

  const shown = (set: readonly RegistryEndpoint[]) =>
    set.map(({ port, status }) => `${port}${status === 'unknown' ? '?' : ''}`).join(' ');

  function feed(more: Partial<FeedOptions> = {}): ServiceFeed {
    const made = new ServiceFeed({
      registry,
      registryName: 'consul',
      service: web,
      lastGood: null,
      clock,
      log: (level, message) => void log.push(`${level} ${message}`),
      onSet: (set, { state }) => void sets.push(`${state}: ${shown(set)}`),
      onState: (state) => void states.push(state),
      ...more,
    });
    stack.push(() => made.close());
    return made;
  }

  function store(): LastGoodStore {
    const made = new LastGoodStore({
      directory: directory.path,
      clock,
      log: (_level, message) => void log.push(message),
    });
    stack.push(() => made.close());
    return made;
  }

  it('subscribes and reads nothing before it starts', () => {
    const made = feed({ lastGood: store() });
    expect(registry.sink).toBeNull();
    expect(made.state.state).toBe('initial');
    expect(made.ageMs).toBeNull();
  });

  it('delivers the first set even when it is empty, then only sets that differ', async () => {
    const made = feed();
    made.start();
    registry.tell([]);
    await made.synced;
    registry.tell([]);
    registry.tell([1]);
    registry.tell([1]);
    registry.tell([1, 2]);
    expect(sets).toEqual(['live: ', 'live: 1', 'live: 1 2']);
    expect(states.map(({ state }) => state)).toEqual(['live']);
  });

  it('keeps the endpoints and tells their age while the registry is away', () => {
    const made = feed();
    made.start();
    registry.tell([1, 2]);
    clock.advance(100_000);
    expect(made.ageMs).toBe(0);
    registry.sink!.unavailable(away);
    expect(made.state).toMatchObject({ state: 'stale', error: 'it refuses connections', fromDisk: false });
    clock.advance(5000);
    expect(made.ageMs).toBe(105_000);
    expect(sets).toEqual(['live: 1 2']);
    registry.tell([1, 2], 'after-reconnect');
    expect(made.state).toMatchObject({ state: 'live', error: null });
    expect(made.ageMs).toBe(0);
    expect(sets).toHaveLength(1);
  });

  it('holds what a registry that came back leaves out, asks again, and accepts it in the end', async () => {
    const made = feed({ guard: { holdMs: 300, confirmMs: 40 }, clock: { now: () => performance.now() } });
    made.start();
    registry.tell([1, 2, 3]);
    registry.sink!.unavailable(away);
    registry.tell([2]);
    expect(sets.at(-1)).toBe('held: 1? 2 3?');
    expect(made.state.heldReason).toContain('2 of 3');
    await eventually(() => registry.refreshed > 0);
    registry.tell([2]);
    expect(sets).toHaveLength(2);
    await eventually(() => sets.at(-1) === 'live: 2');
    expect(made.state).toMatchObject({ state: 'live', heldReason: null });
    expect(log.filter((line) => line.includes('kept'))).toHaveLength(2);
  });

  it('starts from disk when the registry is away, and says so', async () => {
    const first = store();
    const before = feed({ lastGood: first });
    before.start();
    registry.tell([1, 2]);
    before.close();
    await first.close();
    sets.length = 0;

    registry = new HandRegistry();
    const made = feed({ lastGood: store() });
    made.start();
    expect(sets).toEqual(['stale: 1 2']);
    expect(made.state).toMatchObject({ state: 'stale', fromDisk: true });
    registry.sink!.unavailable(away);
    expect(made.state).toMatchObject({ state: 'stale', fromDisk: true, error: 'it refuses connections' });
    expect(made.ageMs).toBeLessThan(10_000);
    registry.tell([2], 'after-reconnect');
    expect(sets.at(-1)).toBe('held: 1? 2');
    expect(made.state.fromDisk).toBe(false);
    registry.tell([1, 2]);
    expect(sets.at(-1)).toBe('live: 1 2');
  });

  it('does not save what it holds', async () => {
    const lastGood = store();
    const made = feed({ lastGood });
    made.start();
    registry.tell([1, 2]);
    registry.tell([], 'after-reconnect');
    await lastGood.close();
    expect(
      store()
        .load('consul', web)
        ?.endpoints.map(({ port }) => port),
    ).toEqual([1, 2]);
  });

  it('is synced by the registry, not by the disk', async () => {
    const first = store();
    first.save('consul', web, [registryEndpoint(1)]);
    await first.close();
    const made = feed({ lastGood: store() });
    made.start();
    expect(sets).toEqual(['stale: 1']);
    expect(
      await Promise.race([made.synced.then(() => 'synced'), new Promise((done) => setImmediate(done, 'not yet'))]),
    ).toBe('not yet');
    registry.tell([1]);
    await made.synced;
  });

  it('calls nobody after close, and leaves no timer', async () => {
    const made = feed();
    made.start();
    registry.tell([1, 2]);
    registry.tell([], 'after-reconnect');
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const withTimer = timers();
    made.close();
    expect(timers()).toBe(withTimer - 1);
    expect(registry.closed).toBe(1);
    const { length } = sets;
    registry.tell([9]);
    registry.sink!.unavailable(away);
    expect(sets).toHaveLength(length);
    await made.synced;
  });
});
