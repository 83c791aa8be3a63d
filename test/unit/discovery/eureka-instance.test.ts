import { describe, expect, it } from 'vitest';
import { type EurekaInstance, hashOf, readEurekaAnswer, toEndpoint } from '../../../src/discovery/eureka-instance.ts';

const choice = { prefer: 'ip', port: 'auto' } as const;

function read(more: Record<string, unknown>): EurekaInstance {
  const instance = {
    instanceId: 'i',
    hostName: 'h.example',
    ipAddr: '10.0.0.1',
    status: 'UP',
    port: { $: 80, '@enabled': 'true' },
    ...more,
  };
  // A single application and a single instance come as objects in place of lists.
  const body = { applications: { apps__hashcode: 'UP_1_', application: { name: 'web', instance } } };
  const { instances, hash } = readEurekaAnswer(body);
  expect([instances.length, hash]).toEqual([1, 'UP_1_']);
  return instances[0];
}

describe("Eureka's instances", () => {
  it('are read as Java servers and as JavaScript clients write them', () => {
    expect(read({})).toMatchObject({ app: 'WEB', id: 'i', port: 80, securePort: 0 });
    expect(read({ port: 8080, securePort: { $: '443', '@enabled': true } })).toMatchObject({
      port: 8080,
      securePort: 443,
    });
    expect(read({ port: { $: 80, '@enabled': 'false' } }).port).toBe(0);
    expect(read({ metadata: { '@class': 'java.util.Collections$EmptyMap' } }).metadata).toEqual({});
    const zone = { '@class': 'com.netflix.appinfo.AmazonInfo', metadata: { 'availability-zone': 'us-east-1c' } };
    expect(read({ dataCenterInfo: zone }).zone).toBe('us-east-1c');
    expect(read({ dataCenterInfo: zone, metadata: { zone: 'mine' } }).zone).toBe('mine');
  });

  it('that are none are left out and counted', () => {
    const application = [{ name: 'WEB', instance: [{ instanceId: 'a' }, 7, null] }];
    expect(readEurekaAnswer({ applications: { application } })).toMatchObject({ unreadable: 2, hash: '' });
    expect(() => readEurekaAnswer({ error: 'x' })).toThrow('no applications');
  });

  it('add up to the hash the server has', () => {
    const of = (status: string) => read({ status });
    expect(hashOf([of('UP'), of('OUT_OF_SERVICE'), of('UP'), of('DOWN')])).toBe('DOWN_1_OUT_OF_SERVICE_1_UP_2_');
    expect(hashOf([])).toBe('');
  });

  it('whose lease is long over are neither up nor down: the server preserves itself', () => {
    const leaseInfo = { durationInSecs: 90, registrationTimestamp: 1, lastRenewalTimestamp: 1_000_000 };
    const told = (status: string, now: number) => toEndpoint(read({ status, leaseInfo }), choice, now).status;
    expect(told('UP', 1_000_000 + 90_000 + 59_000)).toBe('up');
    expect(told('UP', 1_000_000 + 90_000 + 61_000)).toBe('unknown');
    expect(told('DOWN', 1_000_000 + 90_000 + 61_000)).toBe('down');
  });

  it('are reached by address or name, by the plain or the secure port', () => {
    const instance = read({ securePort: { $: 443, '@enabled': 'true' } });
    expect(toEndpoint(instance, choice, 0)).toMatchObject({ host: '10.0.0.1', port: 80 });
    expect(toEndpoint(instance, { prefer: 'name', port: 'secure' }, 0)).toMatchObject({ host: 'h.example', port: 443 });
  });

  it.each([
    ['3', 3],
    ['0', 0],
    ['', 1],
    ['much', 1],
    ['-1', 1],
  ])('with the weight "%s" weigh %d', (weight, expected) => {
    expect(toEndpoint(read({ metadata: { weight } }), choice, 0).weight).toBe(expected);
  });
});
