import { describe, expect, it } from 'vitest';
import { cleanSet, fingerprint, isRefusedAddress, MAX_ENDPOINTS } from '../../../src/discovery/clean-set.ts';
import { registryEndpoint } from '../../helpers/registry-endpoint.ts';

const ids = (set: ReturnType<typeof cleanSet>) => set.endpoints.map(({ host, port }) => `${host} ${port}`);

describe('cleanSet', () => {
  it('leaves bad records out one by one and counts them', () => {
    const set = cleanSet([
      registryEndpoint(80),
      registryEndpoint(0),
      registryEndpoint(65_536),
      registryEndpoint(1.5),
      registryEndpoint(81, { host: '' }),
      registryEndpoint(81, { host: 'a b' }),
      registryEndpoint(81, { host: 'http://x' }),
      registryEndpoint(81, { host: '-x' }),
      registryEndpoint(81, { host: '1.2.3.4:5' }),
      registryEndpoint(82, { metadata: { big: 'x'.repeat(70_000) } }),
      registryEndpoint(83, { host: 'Web-1.Example.com' }),
    ]);
    expect(ids(set)).toEqual(['10.0.0.1 80', 'web-1.example.com 83']);
    expect(set.dropped).toBe(9);
    expect(set.firstFault).toContain('has the port 0');
  });

  it.each(['169.254.169.254', 'fe80::1', 'FE80::1', 'febf::1', '::ffff:169.254.1.1', 'fe80::1%eth0', '0.0.0.0', '::'])(
    'refuses %s',
    (host) => {
      const set = cleanSet([registryEndpoint(80, { host })]);
      expect(set.endpoints).toEqual([]);
      expect(set.firstFault).toContain(host);
    },
  );

  it.each(['127.0.0.1', '::1', '10.1.2.3', 'fec0::1', '169.253.0.1', 'localhost', 'a_b.c'])('takes %s', (host) => {
    expect(cleanSet([registryEndpoint(80, { host })]).endpoints).toHaveLength(1);
    expect(isRefusedAddress(host === 'localhost' || host === 'a_b.c' ? '127.0.0.1' : host)).toBe(false);
  });

  it('makes one endpoint of an address told twice: the fitter, then the younger', () => {
    const set = cleanSet([
      registryEndpoint(80, { status: 'down', generation: 'c', weight: 3 }),
      registryEndpoint(80, { generation: 'a', weight: 1 }),
      registryEndpoint(80, { generation: 'b', weight: 2 }),
    ]);
    expect(set.endpoints).toEqual([registryEndpoint(80, { generation: 'b', weight: 2 })]);
    expect(set.dropped).toBe(0);
  });

  it('clamps weights to 0…65535 with two decimals', () => {
    const weights = [-1, 0, 0.005, 1.239, 1e9, Number.NaN, Number.POSITIVE_INFINITY];
    const set = cleanSet(weights.map((weight, i) => registryEndpoint(100 + i, { weight })));
    expect(set.endpoints.map(({ weight }) => weight)).toEqual([0, 0, 0.01, 1.24, 65_535, 1, 1]);
  });

  it('sorts, so that the order of the registry makes no difference', () => {
    const endpoints = [5, 3, 9, 1].map((port) => registryEndpoint(port));
    const one = cleanSet(endpoints).endpoints;
    const other = cleanSet([...endpoints].reverse()).endpoints;
    expect(fingerprint(one)).toBe(fingerprint(other));
    expect(fingerprint(cleanSet(endpoints.slice(1)).endpoints)).not.toBe(fingerprint(one));
  });

  it('takes 10 000 endpoints and drops the rest', () => {
    const records = Array.from({ length: MAX_ENDPOINTS + 3 }, (_, i) => registryEndpoint(1 + i));
    const set = cleanSet(records);
    expect(set.endpoints).toHaveLength(MAX_ENDPOINTS);
    expect(set.dropped).toBe(3);
  });
});
