import { describe, expect, it } from 'vitest';
import { Addresses } from '../../../src/app/addresses.ts';
import { catalogs } from '../../../src/app/catalogs.ts';
import { readDocument } from '../../../src/app/document.ts';
import { ListenerSet } from '../../../src/app/listener-set.ts';
import { STATUS_LABELS } from '../../../src/routing/route-cells.ts';

/** As on 32 cores: what a route counts takes half a MiB. */
const ROWS = 65;
const OK = STATUS_LABELS.indexOf('200');

describe('ListenerSet', () => {
  const documentFor = (pool: string) =>
    readDocument(
      JSON.stringify({
        listeners: [{ name: 'shop', bind: '127.0.0.1:0', pool }],
        pools: { [pool]: { endpoints: [{ address: '127.0.0.1:1' }] } },
      }),
      'a.json',
      {},
      catalogs,
    ).document;

  it('goes on counting for a route that returns, and forgets those that have been away for many others', () => {
    const set = new ListenerSet(ROWS, new Addresses());
    const { listeners } = documentFor('orders');
    const configure = (pool: string) => {
      const [listener] = listeners;
      set.configure({ listeners: [{ ...listener, routes: [{ ...listener.routes[0], pool }] }] });
      return set.liveRoutes[0].cells;
    };
    const requests = (pool: string) => configure(pool).requests(0, OK);
    for (let release = 0; release < 200; release++) configure(`orders-v${release}`).count(1, 0, 200, 1);
    expect(requests('orders-v199')).toBe(1);
    expect(requests('orders-v150')).toBe(1);
    // The row of a thread that ends is given back in all that is kept.
    set.retire(1);
    expect(requests('orders-v198')).toBe(1);
    expect(requests('orders-v0')).toBe(0);
    expect(requests('orders-v50')).toBe(0);
  });

  it('tells routes on trial beside those in force; they leave with their counts', () => {
    const set = new ListenerSet(2, new Addresses());
    const [listeners, tried] = [documentFor('first').listeners, documentFor('next').listeners];
    set.configure({ listeners });
    expect(set.triedRoutes).toEqual(set.liveRoutes);
    set.configure({ listeners, rehearsal: { share: 0.05, listeners: tried } });
    expect(set.liveRoutes.map(({ pool }) => pool)).toEqual(['first', 'next']);
    expect(set.forWorkers()[0].rehearsal).toMatchObject({ share: 0.05, options: { name: 'shop' } });
    const [{ pool, cells }] = set.triedRoutes;
    expect(pool).toBe('next');
    set.configure({ listeners, rehearsal: { share: 0.25, listeners: tried } });
    expect(set.triedRoutes[0].cells).toBe(cells);
    set.configure({ listeners });
    expect(set.forWorkers()[0].rehearsal).toBeNull();
    set.configure({ listeners, rehearsal: { share: 0.05, listeners: tried } });
    expect(set.triedRoutes[0].cells).not.toBe(cells);
  });
});
