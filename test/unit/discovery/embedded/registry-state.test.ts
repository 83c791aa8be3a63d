import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/base/clock.ts';
import { noJournal } from '../../../../src/discovery/embedded/journal.ts';
import type { CheckSpec, ServiceSpec } from '../../../../src/discovery/embedded/records.ts';
import { type NodeSpec, RegistryState } from '../../../../src/discovery/embedded/registry-state.ts';
import { topicOf } from '../../../../src/discovery/embedded/topics.ts';

const registrant: NodeSpec = {
  name: '10-0-0-5',
  id: 'id',
  address: '10.0.0.5',
  taggedAddresses: null,
  meta: null,
  ofRegistrant: true,
};
const service = (id: string, name = id): ServiceSpec => ({
  id,
  name,
  tags: [],
  meta: null,
  address: '',
  port: 1,
  taggedAddresses: null,
  weights: { Passing: 1, Warning: 1 },
  enableTagOverride: false,
});
const check = (id: string, serviceId: string, status = 'passing'): CheckSpec => ({
  id,
  name: id,
  notes: '',
  status,
  output: '',
  serviceId,
  type: 'ttl',
  definition: {},
  plan: null,
});

let state: RegistryState;
beforeEach(() => {
  state = new RegistryState(100, new ManualClock(), noJournal);
});

describe('the index', () => {
  it('is one for a registration with its node and checks', () => {
    const record = state.register(registrant, service('a'), [check('c', 'a')], false);
    expect(state.index).toBe(101);
    expect([record.createIndex, record.checks.get('c')?.createIndex, record.node.createIndex]).toEqual([101, 101, 101]);
  });

  it('does not move for an identical registration, a status that was and an output', () => {
    state.register(registrant, service('a'), [check('c', 'a')], false);
    const record = state.register(registrant, service('a'), [check('c', 'a')], false);
    state.setStatus(record.checks.get('c')!, 'passing', 'words');
    expect(state.index).toBe(101);
    expect(record.checks.get('c')?.output).toBe('words');
  });

  it("of a service moves with its own changes and its node's, not with those of others", () => {
    const a = state.register(registrant, service('a'), [check('c', 'a')], false);
    const before = state.serviceIndex('a');
    state.register({ ...registrant, name: 'other' }, service('b'), [], false);
    expect(state.serviceIndex('a')).toBe(before);
    state.setStatus(a.checks.get('c')!, 'critical', '');
    const after = state.serviceIndex('a');
    expect(after).toBeGreaterThan(before);
    state.putCheck(a.node, check('of the node', ''), false);
    expect(state.serviceIndex('a')).toBeGreaterThan(after);
  });

  it('of the list of services does not move with statuses', () => {
    const a = state.register(registrant, service('a'), [check('c', 'a')], false);
    const before = state.topics.indexOf(topicOf.services);
    state.setStatus(a.checks.get('c')!, 'critical', '');
    expect(state.topics.indexOf(topicOf.services)).toBe(before);
    expect(state.topics.indexOf(topicOf.checks)).toBeGreaterThan(before);
  });

  it("of a service that is not there is the registry's, and after an extinction that of the extinction", () => {
    const a = state.register(registrant, service('a'), [], false);
    expect(state.serviceIndex('nope')).toBe(101);
    state.register(registrant, service('b'), [], false);
    state.removeService(a);
    const extinct = state.serviceIndex('a');
    expect(extinct).toBe(state.index);
    state.register(registrant, service('c'), [], false);
    expect(state.serviceIndex('nope')).toBe(extinct);
  });

  it('of both names moves when a service is registered anew under another', () => {
    state.register(registrant, service('1', 'old'), [], false);
    const before = state.index;
    state.register(registrant, service('1', 'new'), [], false);
    expect(state.services.has('old')).toBe(false);
    expect(state.serviceIndex('old')).toBeGreaterThan(before);
    expect(state.serviceIndex('new')).toBeGreaterThan(before);
  });
});

describe('registering again', () => {
  it('keeps the status of a check whatever the request says', () => {
    const a = state.register(registrant, service('a'), [check('c', 'a')], false);
    state.setStatus(a.checks.get('c')!, 'critical', 'dead');
    state.register(registrant, service('a'), [check('c', 'a', 'passing')], true);
    expect(a.checks.get('c')).toMatchObject({ status: 'critical', output: 'dead' });
  });

  it('leaves checks that are not named in place, unless they are to be replaced', () => {
    const a = state.register(registrant, service('a'), [check('c', 'a'), check('d', 'a')], false);
    state.register(registrant, service('a'), [], false);
    expect([...a.checks.keys()]).toEqual(['c', 'd']);
    state.register(registrant, service('a'), [check('d', 'a')], true);
    expect([...a.checks.keys()]).toEqual(['d']);
  });

  it('gives a check whose ID another service takes to that one', () => {
    const a = state.register(registrant, service('a'), [check('c', 'a')], false);
    const b = state.register(registrant, service('b'), [check('c', 'b')], false);
    expect(a.checks.size).toBe(0);
    expect([...b.checks.keys()]).toEqual(['c']);
  });
});

describe("a registrant's node", () => {
  it('comes with a passing serfHealth and goes with its last service and check', () => {
    const a = state.register(registrant, service('a'), [], false);
    expect(a.node.ownChecks.get('serfHealth')?.status).toBe('passing');
    state.putCheck(a.node, check('of the node', ''), false);
    state.removeService(a);
    expect(state.nodes.size).toBe(1);
    state.removeCheck(a.node.checks.get('of the node')!);
    expect(state.nodes.size).toBe(0);
  });

  it('that the catalog API made stays without services', () => {
    const node = state.putNode({ ...registrant, ofRegistrant: false });
    state.removeService(state.putService(node, service('a')));
    expect(state.nodes.size).toBe(1);
    expect(node.checks.size).toBe(0);
  });
});

describe('topics', () => {
  it('wake their waiters once for all changes of a turn', async () => {
    let woken = 0;
    const topic = state.topics.get(topicOf.service('a'));
    topic.waiters.add({ wake: () => woken++ });
    const a = state.register(registrant, service('a'), [check('c', 'a')], false);
    state.setStatus(a.checks.get('c')!, 'critical', '');
    expect(woken).toBe(0);
    await new Promise(setImmediate);
    expect(woken).toBe(1);
  });

  it('of a service that is not there are forgotten with their last waiter', () => {
    const key = topicOf.service('nope');
    const topic = state.topics.get(key);
    const waiter = { wake() {} };
    topic.waiters.add(waiter);
    state.topics.leave(topic, waiter, false);
    expect(state.topics.get(key)).not.toBe(topic);
  });
});
