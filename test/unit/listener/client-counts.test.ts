import { describe, expect, it } from 'vitest';
import { ClientCounts } from '../../../src/listener/client-counts.ts';

describe('the connections of each client', () => {
  it('are counted over all rows, and forgotten when they close', () => {
    const main = new ClientCounts(3, 1234);
    const worker = new ClientCounts(3, main.buffer);
    for (let i = 0; i < 3; i++) expect(main.opened(1, '192.0.2.1')).toBe(true);
    expect(worker.opened(2, '192.0.2.1')).toBe(true);
    expect(worker.of('192.0.2.1')).toBe(4);
    expect(worker.of('192.0.2.2')).toBe(0);
    worker.closed(2, '192.0.2.1');
    main.closed(1, '192.0.2.1');
    expect(main.of('192.0.2.1')).toBe(2);
    main.closed(1, '192.0.2.1');
    main.closed(1, '192.0.2.1');
    expect(new Int32Array(main.buffer).filter((word) => word !== 0).length).toBe(1);
  });

  it('of a worker that died are gone', () => {
    const counts = new ClientCounts(3, -5);
    counts.opened(1, 'a');
    counts.opened(2, 'a');
    counts.retire(1);
    expect(counts.of('a')).toBe(1);
  });

  it('are right for ten thousand addresses at once', () => {
    const counts = new ClientCounts(2, 99);
    const addresses = Array.from({ length: 10_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    addresses.forEach((address, i) => {
      for (let n = 0; n <= i % 3; n++) counts.opened(1, address);
    });
    expect(addresses.filter((address, i) => counts.of(address) !== (i % 3) + 1)).toEqual([]);
    addresses.forEach((address, i) => {
      for (let n = 0; n <= i % 3; n++) counts.closed(1, address);
    });
    expect(addresses.filter((address) => counts.of(address) !== 0)).toEqual([]);
  });

  it('lets in, and forgets, an address for which there is no room', () => {
    const counts = new ClientCounts(1, 7);
    let refused = '';
    for (let i = 0; refused === ''; i++) if (!counts.opened(0, `${i}`)) refused = `${i}`;
    expect(Number(refused)).toBeGreaterThan(20_000);
    expect(counts.of(refused)).toBe(0);
  });
});
