import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import type { RegistryEndpoint } from '../../../src/discovery/registry.ts';
import { applyDelta, type EndpointDelta } from '../../../src/endpoint/delta.ts';
import { Down } from '../../../src/endpoint/down.ts';
import type { Endpoint } from '../../../src/endpoint/endpoint.ts';
import { PoolWords } from '../../../src/endpoint/pool-words.ts';
import { SlotAllocator } from '../../../src/endpoint/slot-allocator.ts';
import { Trial } from '../../../src/endpoint/trial.ts';
import { ProbeGate } from '../../../src/health/probe-gate.ts';
import { Membership } from '../../../src/pool/membership.ts';
import { type TcpOrigin, tcpOrigin } from '../../helpers/echo.ts';
import { eventually } from '../../helpers/eventually.ts';
import { poolOptionsOf } from '../../helpers/pool-options.ts';

const ROWS = 3;
const TICK_MS = 50;

function spec(port: number, more: Partial<RegistryEndpoint> = {}): RegistryEndpoint {
  return {
    host: '127.0.0.1',
    port,
    weight: 1,
    zone: '',
    version: '',
    backup: false,
    status: 'up',
    tags: [],
    metadata: {},
    generation: '',
    ...more,
  };
}

const id = (port: number) => `127.0.0.1:${port}`;

describe('the members of a pool on main', () => {
  let clock: ManualClock;
  let slots: SlotAllocator;
  let words: PoolWords;
  let published: EndpointDelta[];
  let changes: unknown[];
  let events: unknown[];
  let rows: number[];
  let wheel: TimerWheel;
  let membership: Membership;
  /** What a worker makes of what is published. */
  let worker: Map<number, Endpoint>;

  beforeEach(() => {
    clock = new ManualClock();
    wheel = new TimerWheel(TICK_MS);
    slots = new SlotAllocator(ROWS, () => {});
    words = new PoolWords(ROWS);
    published = [];
    changes = [];
    events = [];
    rows = [1, 2];
    worker = new Map();
    membership = make();
  });

  function make(options: object = {}): Membership {
    return new Membership('web', poolOptionsOf(options), {
      clock,
      random: seededRandom(1),
      wheel,
      gate: new ProbeGate(),
      slots,
      words,
      publish: (delta) => {
        published.push(delta);
        applyDelta(structuredClone(delta), worker, slots.table, 1);
      },
      workerRows: () => rows,
      onEvent: (_, event) => events.push(event),
      onChanged: (_, added, removed, changed) => changes.push({ added, removed, changed }),
    });
  }

  /** Lets time pass until it is so: probes are due in it. */
  const until = (condition: () => boolean) =>
    eventually(() => {
      clock.advance(TICK_MS);
      wheel.tick();
      return condition();
    });
  const ids = () => [...worker.values()].map((endpoint) => endpoint.id).sort();
  const member = (port: number) => membership.members.get(id(port))!;
  const slotOf = (port: number) => member(port).endpoint.slot;

  it('tells the workers what joined, left and changed, and nothing when nothing did', () => {
    membership.replace([spec(1), spec(2), spec(2)]);
    expect(ids()).toEqual([id(1), id(2)]);
    const messages = published.length;
    membership.replace([spec(1), spec(2)]);
    expect(published.length).toBe(messages);
    membership.replace([spec(2, { weight: 5 }), spec(3)]);
    expect(ids()).toEqual([id(2), id(3)]);
    expect(worker.get(slotOf(2))!.weight).toBe(5);
    expect(changes).toEqual([
      { added: [id(1), id(2)], removed: [], changed: [] },
      { added: [id(3)], removed: [id(1)], changed: [id(2)] },
    ]);
    expect(published.map(({ version }) => version)).toEqual([1, 2]);
  });

  it('keeps the order of the set, on main and in the workers, wherever endpoints join and even when nothing else changes', () => {
    const orders = () =>
      [membership.members.keys(), Array.from(worker.values(), ({ id }) => id)].map((ids) => [...ids]);
    membership.replace([spec(3), spec(1)]);
    expect(orders()).toEqual(new Array(2).fill([id(3), id(1)]));
    expect(published.at(-1)!.order).toBeNull();
    membership.replace([spec(2), spec(1), spec(3)]);
    expect(orders()).toEqual(new Array(2).fill([id(2), id(1), id(3)]));
    const before = [...worker.values()];
    membership.replace([spec(3), spec(2), spec(1)]);
    expect(orders()).toEqual(new Array(2).fill([id(3), id(2), id(1)]));
    expect(new Set(worker.values())).toEqual(new Set(before));
    membership.replace([spec(3), spec(1)]);
    expect(published.at(-1)!.order).toBeNull();
    expect(orders()).toEqual(new Array(2).fill([id(3), id(1)]));
  });

  it('gives a new worker the same as the others have', () => {
    membership.replace([spec(1), spec(2), spec(3)]);
    membership.replace([spec(2), spec(3, { weight: 7, backup: true })]);
    const newcomer = new Map<number, Endpoint>();
    for (const delta of membership.whole()) applyDelta(structuredClone(delta), newcomer, slots.table, 2);
    const seen = (one: Map<number, Endpoint>) =>
      [...one.values()].map(({ slot, id, weight, spec }) => [slot, id, weight, spec.backup]).sort();
    expect(seen(newcomer)).toEqual(seen(worker));
    expect(newcomer.size).toBe(2);
  });

  it('gives a slot to another endpoint only when every worker has let go of it', () => {
    membership.replace([spec(1)]);
    const slot = slotOf(1);
    const { endpoint } = member(1);
    membership.replace([]);
    expect(endpoint.down & Down.LEAVING).not.toBe(0);
    membership.replace([spec(2)]);
    expect(slotOf(2)).not.toBe(slot);
    membership.acknowledge(slot, 1);
    membership.acknowledge(slot, 1);
    membership.replace([spec(2), spec(3)]);
    expect(slotOf(3)).not.toBe(slot);
    membership.acknowledge(slot, 2);
    membership.replace([spec(2), spec(3), spec(4)]);
    expect(slotOf(4)).toBe(slot);
  });

  it('does not wait for a worker that died', () => {
    membership.replace([spec(1)]);
    const slot = slotOf(1);
    membership.replace([]);
    membership.acknowledge(slot, 2);
    expect(membership.isGone).toBe(false);
    membership.workerGone(1);
    expect(membership.isGone).toBe(true);
    membership.replace([spec(2)]);
    expect(slotOf(2)).toBe(slot);
  });

  it('takes an endpoint back that returns, with a slot of its own', () => {
    membership.replace([spec(1)]);
    const slot = slotOf(1);
    membership.replace([]);
    membership.replace([spec(1)]);
    expect([slotOf(1) === slot, member(1).endpoint.down, ids()]).toEqual([false, 0, [id(1)]]);
  });

  it('follows what the registry says of an endpoint, in bits that the workers see', () => {
    membership.replace([spec(1), spec(2)]);
    const { generation } = words;
    membership.replace([spec(1, { status: 'down' }), spec(2, { status: 'draining' })]);
    expect([member(1).endpoint.down, member(2).endpoint.down]).toEqual([Down.REGISTRY, Down.DRAINING]);
    expect(words.generation).not.toBe(generation);
    expect(member(1).downReason).toBe('registry says down');
    clock.advance(500);
    membership.replace([spec(1, { status: 'draining' }), spec(2)]);
    expect([member(1).endpoint.down, member(2).endpoint.down]).toEqual([Down.DRAINING, 0]);
    expect([member(2).downReason, member(2).endpoint.readySinceMs]).toEqual(['', clock.now()]);
  });

  it('keeps what an operator set through pushes, leaving and coming back', () => {
    membership.replace([spec(1), spec(2)]);
    expect(membership.setAdmin('10.0.0.1:1', { state: 'drain' })).toBeNull();
    expect(membership.overrides).toEqual({});
    membership.foresee(id(3), { state: 'drain', weight: 4 });
    membership.replace([spec(1), spec(2), spec(3)]);
    expect([member(3).endpoint.down, member(3).endpoint.weight]).toEqual([Down.ADMIN, 4]);
    membership.replace([spec(1), spec(2)]);
    membership.setAdmin(id(1), { state: 'drain', weight: 9 });
    membership.replace([spec(1, { weight: 3 }), spec(2)]);
    expect([member(1).endpoint.down, member(1).endpoint.weight]).toEqual([Down.ADMIN, 9]);
    expect(worker.get(slotOf(1))!.weight).toBe(9);
    membership.replace([spec(2)]);
    membership.replace([spec(1), spec(2)]);
    expect([member(1).endpoint.down, worker.get(slotOf(1))!.weight]).toEqual([Down.ADMIN, 9]);
    membership.setAdmin(id(1), { state: 'ready', weight: null });
    expect([member(1).endpoint.down, worker.get(slotOf(1))!.weight, membership.override(id(1))]).toEqual([0, 1, null]);
  });

  it('takes an endpoint that becomes a backup for the same one, with its counters and its place', () => {
    membership.replace([spec(1), spec(2)]);
    const slot = slotOf(1);
    member(1).endpoint.ejections = 3;
    membership.replace([spec(1, { backup: true }), spec(2)]);
    expect([slotOf(1), member(1).endpoint.spec.backup, member(1).endpoint.ejections]).toEqual([slot, true, 3]);
    expect(worker.get(slot)!.spec.backup).toBe(true);
    expect(changes.length).toBe(1);
  });

  it('knows what it knew of an endpoint that becomes a backup or ceases to be one: its checks go on where they were', async () => {
    await using well = await tcpOrigin(() => {});
    await using other = await tcpOrigin(() => {});
    membership = make({ probe: { kind: 'tcp', interval: '1s', rise: 1, fall: 2 }, panic: 'off' });
    const told = (backup: boolean) => [well.port, other.port].map((port) => spec(port, { backup }));
    membership.replace(told(false));
    const isUp = ({ port }: TcpOrigin) => member(port).endpoint.down === 0;
    await until(() => well.sockets.length > 1 && other.sockets.length > 1);
    const kept = [member(well.port).endpoint, worker.get(slotOf(well.port))];
    membership.replace(told(true));
    expect([isUp(well), isUp(other)]).toEqual([true, true]);
    expect(member(well.port).endpoint).toBe(kept[0]);
    expect(worker.get(slotOf(well.port))).toBe(kept[1]);
    await other.close();
    await until(() => !isUp(other));
    membership.replace(told(false).slice(1));
    expect(isUp(other)).toBe(false);
    await using _again = await tcpOrigin(() => {}, { port: other.port });
    await until(() => isUp(other));
    expect(events.map((event) => (event as { kind: string }).kind)).toEqual(['unfit', 'fit']);
    membership.close();
  });

  it('holds nothing against another process at the same address', () => {
    membership.replace([spec(1, { generation: 'a' }), spec(2, { generation: 'a' })]);
    for (const port of [1, 2]) {
      const { endpoint } = member(port);
      words.tryTakeEjection(2);
      endpoint.ejectedUntilMs = clock.now() + 10_000;
      endpoint.setDown(Down.EJECTED);
      endpoint.failuresInRow = 4;
      endpoint.setLatency(900, clock.now());
    }
    membership.replace([spec(1, { generation: 'b' }), spec(2, { generation: 'a' })]);
    expect([member(1).endpoint.down, member(2).endpoint.down, words.ejected]).toEqual([0, Down.EJECTED, 1]);
    expect([member(1).endpoint.failuresInRow, member(2).endpoint.failuresInRow]).toEqual([0, 4]);
    expect(member(1).endpoint.latencyMs).toBeNaN();
  });

  it('gives the place among the ejected back, by a trial, by leaving, or by ejection switched off', () => {
    membership.replace([spec(1), spec(2), spec(3)]);
    for (const port of [1, 2, 3]) {
      words.tryTakeEjection(3);
      member(port).endpoint.ejectedUntilMs = clock.now() + port * 1000;
      member(port).endpoint.setDown(Down.EJECTED);
    }
    clock.advance(1001);
    membership.sweep();
    const served = worker.get(slotOf(1))!;
    expect(served.tryTakeTrial()).toBe(true);
    served.endTrial(Trial.PASSED);
    membership.sweep();
    expect([words.ejected, member(1).endpoint.down, events]).toEqual([2, 0, [{ kind: 'restored', endpoint: id(1) }]]);
    membership.replace([spec(1), spec(2)]);
    expect(words.ejected).toBe(1);
    membership.configure(poolOptionsOf({ ejection: 'off' }));
    expect([words.ejected, member(2).endpoint.down]).toEqual([0, 0]);
  });

  it('lets nobody stay ejected once ejection is off, also whom a worker ejects before it has heard of it', () => {
    membership.replace([spec(1), spec(2), spec(3)]);
    const eject = (port: number) => {
      expect(words.tryTakeEjection(2)).toBe(true);
      member(port).endpoint.ejectedUntilMs = clock.now() + 10_000;
      member(port).endpoint.setDown(Down.EJECTED);
    };
    eject(1);
    membership.configure(poolOptionsOf({ ejection: 'off' }));
    expect([words.ejected, member(1).endpoint.down, member(1).endpoint.failuresInRow]).toEqual([0, 0, 0]);
    eject(1);
    eject(2);
    const { generation } = words;
    clock.advance(100);
    membership.sweep();
    expect([words.ejected, member(1).endpoint.down, member(2).endpoint.down]).toEqual([0, 0, 0]);
    expect(words.generation).not.toBe(generation);
    eject(2);
    membership.replace([spec(1)]);
    expect(words.ejected).toBe(0);
    membership.configure(poolOptionsOf());
    eject(1);
    clock.advance(100);
    membership.sweep();
    expect(member(1).endpoint.down).toBe(Down.EJECTED);
  });

  it('tells the workers of another zone or DNS name of an endpoint they know, and shows it', () => {
    membership.replace([spec(1), spec(2)]);
    const known = worker.get(slotOf(1))!;
    published.length = 0;
    membership.replace([spec(1, { zone: 'b', metadata: { name: 'one.internal', shelf: '7' }, tags: ['v2'] }), spec(2)]);
    expect(published.length).toBe(1);
    expect(worker.get(slotOf(1))).toBe(known);
    expect(known.spec).toMatchObject({ zone: 'b', metadata: { name: 'one.internal' } });
    expect(member(1).endpoint.spec).toMatchObject({ zone: 'b', tags: ['v2'], metadata: { shelf: '7' } });
    membership.replace([spec(1, { zone: 'b', metadata: { name: 'one.internal' }, tags: ['v3'] }), spec(2)]);
    expect(published.length).toBe(1);
    expect(member(1).endpoint.spec.tags).toEqual(['v3']);
  });

  it('holds an endpoint down that its registry takes out and brings back too often, unless nobody else is up', () => {
    membership = make({ damping: { changes: 3, hold: '30s' } });
    const flap = () => {
      membership.replace([spec(1, { status: 'down' }), spec(2)]);
      membership.replace([spec(1), spec(2)]);
    };
    flap();
    flap();
    expect(member(1).endpoint.down).toBe(0);
    flap();
    expect(member(1).endpoint.down).toBe(Down.REGISTRY);
    expect(member(1).downReason).toBe('registry: flapping, held down for a while');
    expect(events).toEqual([{ kind: 'flapping', endpoint: id(1), forMs: 30_000 }]);
    clock.advance(29_000);
    membership.sweep();
    expect(member(1).endpoint.down).toBe(Down.REGISTRY);
    clock.advance(2000);
    membership.sweep();
    expect([member(1).endpoint.down, member(1).downReason]).toEqual([0, '']);
    for (let i = 0; i < 3; i++) flap();
    expect(events.at(-1)).toMatchObject({ forMs: 60_000 });
    expect(member(1).endpoint.down).toBe(Down.REGISTRY);
    clock.advance(1001);
    member(2).endpoint.setDown(Down.PROBE);
    membership.sweep();
    expect(member(1).endpoint.down).toBe(0);
  });

  it('lets go of who is held down for flapping, by its probe or its registry, when damping is switched off', async () => {
    await using steady = await tcpOrigin(() => {});
    let flapping = await tcpOrigin(() => {});
    const { port } = flapping;
    const pool = { probe: { kind: 'tcp', interval: '100ms', rise: 1, fall: 1 }, damping: { changes: 2, hold: '30s' } };
    membership = make(pool);
    const told = (status: 'up' | 'down') => [spec(port), spec(steady.port), spec(steady.port, { host: '::1', status })];
    const registered = () => membership.members.get(`[::1]:${steady.port}`)!;
    membership.replace(told('up'));
    await until(() => member(port).endpoint.down === 0 && member(steady.port).endpoint.down === 0);
    for (let i = 0; i < 2; i++) {
      membership.replace(told('down'));
      membership.replace(told('up'));
      await flapping.close();
      await until(() => (member(port).endpoint.down & Down.PROBE) !== 0);
      flapping = await tcpOrigin(() => {}, { port });
      await until(() => member(port).endpoint.down === 0 || member(port).isHeld);
    }
    await using _last = flapping;
    expect([member(port).isHeld, registered().isHeld]).toEqual([true, true]);
    membership.configure(poolOptionsOf({ ...pool, damping: 'off' }));
    expect([member(port).endpoint.down, member(port).isHeld, member(port).downReason]).toEqual([0, false, '']);
    expect([registered().endpoint.down & Down.REGISTRY, registered().isHeld]).toEqual([0, false]);
    membership.close();
  });

  it('is gone when it was closed and every slot is free', () => {
    membership.replace([spec(1), spec(2)]);
    const taken = [slotOf(1), slotOf(2)];
    membership.close();
    expect([ids(), membership.isGone]).toEqual([[], false]);
    for (const slot of taken) for (const row of rows) membership.acknowledge(slot, row);
    expect(membership.isGone).toBe(true);
    rows = [];
    membership = make();
    membership.replace([spec(9)]);
    membership.close();
    expect(membership.isGone).toBe(true);
  });
});
