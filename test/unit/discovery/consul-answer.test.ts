import { describe, expect, it } from 'vitest';
import { readConsulAnswer } from '../../../src/discovery/consul-answer.ts';

/** A record as Consul 1.8.7 sends it, cut to what matters and a few fields that do not. */
function entry({ service = {}, node = {}, checks = [] as unknown[] } = {}) {
  return {
    Node: {
      ID: 'c6',
      Node: 'n1',
      Address: '10.9.9.9',
      Datacenter: 'dc1',
      Meta: { 'consul-network-segment': '' },
      ...node,
    },
    Service: {
      ID: 'web-1',
      Service: 'web',
      Tags: ['v1'],
      Address: '10.0.0.1',
      Meta: null,
      Port: 8080,
      Weights: { Passing: 5, Warning: 2 },
      EnableTagOverride: false,
      Proxy: { MeshGateway: {} },
      CreateIndex: 14,
      ModifyIndex: 17,
      ...service,
    },
    Checks: [{ CheckID: 'serfHealth', Status: 'passing', Type: '' }, ...checks],
  };
}

const read = (...entries: unknown[]) => readConsulAnswer(entries);
const check = (Status: string, CheckID = 'service:web-1') => ({ CheckID, Status });

describe('readConsulAnswer', () => {
  it('reads a whole record', () => {
    expect(read(entry())).toEqual({
      unreadable: 0,
      endpoints: [
        {
          host: '10.0.0.1',
          port: 8080,
          weight: 5,
          zone: '',
          version: '',
          backup: false,
          status: 'up',
          tags: ['v1'],
          metadata: {},
          generation: 'n1/web-1/14',
        },
      ],
    });
  });

  it.each([
    ['up', []],
    ['up', [check('passing')]],
    ['warning', [check('passing'), check('warning', 'b')]],
    ['down', [check('critical'), check('warning', 'b')]],
    ['down', [check('something new')]],
    ['down', [check('critical', 'serfHealth')]],
    ['draining', [check('critical', '_service_maintenance:web-1'), check('critical')]],
    ['draining', [check('critical'), check('critical', '_node_maintenance')]],
  ])('makes %s of the worst check', (status, checks) => {
    expect(read(entry({ checks })).endpoints[0].status).toBe(status);
  });

  it.each([
    [5, {}, []],
    [2, {}, [check('warning')]],
    [0.5, { Meta: { weight: '0.5' } }, []],
    [0, { Meta: { weight: '0' } }, [check('warning')]],
    [2, { Meta: { weight: '9' } }, [check('warning')]],
    [5, { Meta: { weight: 'heavy' } }, []],
    [5, { Meta: { weight: '-3' } }, []],
    [5, { Meta: { weight: '' } }, []],
    [1, { Weights: null }, []],
  ])('takes the weight %d from %j', (weight, service, checks) => {
    expect(read(entry({ service, checks })).endpoints[0].weight).toBe(weight);
  });

  it.each([
    ['m', { Meta: { zone: 'm' }, Tags: ['zone=t'], Locality: { Zone: 'l' } }, {}],
    ['t', { Tags: ['a', 'zone=t'], Locality: { Zone: 'l' } }, {}],
    ['l', { Locality: { Region: 'r', Zone: 'l' } }, { Locality: { Zone: 'n' } }],
    ['n', {}, { Locality: { Zone: 'n' } }],
  ])('finds the zone %s', (zone, service, node) => {
    expect(read(entry({ service, node })).endpoints[0].zone).toBe(zone);
  });

  it("takes the node's address where the service has none", () => {
    expect(read(entry({ service: { Address: '' } })).endpoints[0].host).toBe('10.9.9.9');
  });

  it('leaves out what is no record and keeps the others', () => {
    const result = read(null, 7, {}, entry({ service: { Port: 'x' } }), entry());
    expect(result.unreadable).toBe(4);
    expect(result.endpoints).toHaveLength(1);
  });

  it('throws when the body is no list', () => {
    expect(() => readConsulAnswer({ error: 'x' })).toThrow('not a list');
  });
});
