import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { OperationError } from '../../../src/base/errors.ts';
import { ServiceFeed } from '../../../src/discovery/feed.ts';
import { MergedFeed, type MergePolicy } from '../../../src/discovery/merged-feed.ts';
import type { Registry, RegistryEndpoint, RegistrySink } from '../../../src/discovery/registry.ts';
import { registryEndpoint } from '../../helpers/registry-endpoint.ts';

const away = new OperationError('registry-unreachable', 'it refuses connections', { retryable: true });

/** A registry by hand. */
class HandRegistry implements Registry {
  sink!: RegistrySink;
  async start(): Promise<void> {}
  async close(): Promise<void> {}
  subscribe(_service: unknown, sink: RegistrySink) {
    this.sink = sink;
    return { close() {} };
  }
  tell(...endpoints: RegistryEndpoint[]): void {
    this.sink.replace({ endpoints, suspicion: null });
  }
}

describe('MergedFeed', () => {
  const stack: (() => void)[] = [];
  afterEach(() => {
    for (const close of stack.splice(0)) close();
  });

  function merged(policy: MergePolicy, count = 2) {
    const registries = Array.from({ length: count }, () => new HandRegistry());
    const sets: (readonly RegistryEndpoint[])[] = [];
    const clock = new ManualClock();
    const feed = new MergedFeed({
      policy,
      feeds: registries.map(
        (registry, i) => (onSet, onState) =>
          new ServiceFeed({
            registry,
            registryName: `r${i}`,
            service: { name: 'web', tags: [] },
            lastGood: null,
            clock,
            log: () => {},
            onSet,
            onState,
          }),
      ),
      onSet: (set) => void sets.push(set),
    });
    stack.push(() => feed.close());
    feed.start();
    let isSynced = false;
    void feed.synced.then(() => {
      isSynced = true;
    });
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    const shown = () => sets.map((set) => set.map(({ port }) => port).join(' '));
    return { registries, sets, shown, settle, synced: () => isSynced };
  }

  const at = registryEndpoint;

  it('passes the sets of a single registry on as they are', async () => {
    const { registries, sets, shown, settle } = merged('union', 1);
    const set = [at(1)];
    registries[0].sink.replace({ endpoints: set, suspicion: null });
    registries[0].sink.replace({ endpoints: set, suspicion: null });
    await settle();
    expect(shown()).toEqual(['1']);
    registries[0].tell();
    expect(sets).toHaveLength(2);
  });

  it('is the union of all; of an address told twice the earlier entry counts, with the tags of both', () => {
    const { registries, sets, shown } = merged('union');
    registries[1].tell(at(1, { weight: 5, tags: ['b'], status: 'down' }), at(2));
    registries[0].tell(at(1, { weight: 2, tags: ['a'] }), at(3));
    expect(shown()).toEqual(['1 2', '1 2 3']);
    expect(sets[1][0]).toMatchObject({ weight: 2, tags: ['a', 'b'], status: 'up' });
    // One registry says the same of other things: nothing is told.
    registries[1].tell(at(1, { weight: 9, tags: ['b'] }), at(2));
    expect(sets).toHaveLength(2);
  });

  it('keeps in a union what each registry told last while it is away, and believes another of it that is not', () => {
    const { registries, sets, shown } = merged('union');
    registries[0].tell(at(1), at(2));
    registries[1].tell(at(2, { weight: 7 }), at(3));
    registries[0].sink.unavailable(away);
    expect(shown().at(-1)).toBe('1 2 3');
    expect(sets.at(-1)![1].weight).toBe(7);
    registries[0].tell(at(1), at(2));
    expect(sets.at(-1)![1].weight).toBe(1);
  });

  it('loses nothing when services move from one registry to another', () => {
    const { registries, shown } = merged('union');
    registries[0].tell(at(1), at(2), at(3));
    registries[1].tell();
    for (const ports of [[1], [1, 2], [1, 2, 3]]) {
      registries[1].tell(...ports.map((port) => at(port)));
      registries[0].tell(...[1, 2, 3].filter((port) => !ports.includes(port)).map((port) => at(port)));
    }
    expect(shown().every((one) => one === '1 2 3')).toBe(true);
  });

  it('is the first that has any that are fit, and waits for an earlier one that has said nothing yet', () => {
    const { registries, shown } = merged('first', 3);
    registries[1].tell(at(2));
    expect(shown()).toEqual([]);
    registries[0].tell();
    expect(shown()).toEqual(['2']);
    registries[0].tell(at(1, { status: 'down' }));
    expect(shown()).toEqual(['2']);
    registries[0].tell(at(1));
    expect(shown()).toEqual(['2', '1']);
    registries[2].tell(at(3));
    registries[1].tell(at(2), at(4));
    expect(shown()).toEqual(['2', '1']);
  });

  it('goes on to the next when the first cannot be asked and nothing is known of it, and stays with what is known of it', () => {
    const { registries, shown } = merged('first');
    registries[1].tell(at(2));
    registries[0].sink.unavailable(away);
    expect(shown()).toEqual(['2']);
    registries[0].tell(at(1));
    registries[0].sink.unavailable(new OperationError('registry-timeout', 'it does not answer', { retryable: true }));
    expect(shown()).toEqual(['2', '1']);
  });

  it('shows what is not fit when nobody has any that are', () => {
    const { registries, shown } = merged('first');
    registries[0].tell();
    registries[1].tell(at(2, { status: 'down' }));
    expect(shown().at(-1)).toBe('2');
  });

  it('is synced when each has answered or failed, and one has answered', async () => {
    const { registries, settle, synced } = merged('union');
    registries[0].sink.unavailable(away);
    await settle();
    expect(synced()).toBe(false);
    registries[1].tell(at(1));
    await settle();
    expect(synced()).toBe(true);
    const other = merged('union');
    other.registries[0].tell(at(1));
    await other.settle();
    expect(other.synced()).toBe(false);
    other.registries[1].sink.unavailable(away);
    await other.settle();
    expect(other.synced()).toBe(true);
  });
});
