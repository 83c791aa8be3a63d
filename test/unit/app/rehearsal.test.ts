import { describe, expect, it } from 'vitest';
import { catalogs } from '../../../src/app/catalogs.ts';
import { type DocumentOptions, readDocument } from '../../../src/app/document.ts';
import { rehearsalOf } from '../../../src/app/rehearsal.ts';

const base = {
  registries: { local: { kind: 'static', services: { a: [{ address: '127.0.0.1:1' }] } } },
  listeners: [{ name: 'web', bind: '127.0.0.1:0', routes: [{ name: 'all', pool: 'a' }] }],
  pools: {
    a: { discover: { registry: 'local', service: 'a' } },
    b: { endpoints: [{ address: '127.0.0.1:2' }] },
  },
};
const read = (document: object) => readDocument(JSON.stringify(document), 'doc', {}, catalogs);
const rehearse = (next: object): DocumentOptions | undefined =>
  rehearsalOf(read(base), read({ ...base, ...next }), 7, 0.05)?.document;

describe('a rehearsal', () => {
  it('runs the other document’s routes beside those in force, for a share of the connections', () => {
    const routes = [{ name: 'new', match: { path: '/b' }, pool: 'b' }, { pool: 'a' }];
    const document = rehearse({ listeners: [{ ...base.listeners[0], routes }] });
    expect(document?.listeners).toEqual(read(base).document.listeners);
    expect(document?.rehearsal).toMatchObject({ share: 0.05, listeners: [{ name: 'web' }] });
    const tried = document?.rehearsal?.listeners[0].routes.map(({ name, pool }) => [name, pool]);
    expect(tried).toEqual([
      ['new@7', 'b'],
      ['/@7', 'a'],
    ]);
  });

  it('shares the pools that mean the same, and has the others under a name of their own', () => {
    const document = rehearse({ pools: { ...base.pools, a: { endpoints: [{ address: '127.0.0.1:3' }] } } });
    expect(Object.keys(document?.pools ?? {})).toEqual(['a', 'b', 'a@7']);
    expect(document?.pools['a@7'].endpoints).toMatchObject([{ port: 3 }]);
    expect(document?.pools.a).toEqual(read(base).document.pools.a);
    expect(document?.rehearsal?.listeners[0].routes[0].pool).toBe('a@7');
  });

  it('takes a registry that is another one for another source of its pools', () => {
    const document = rehearse({
      registries: { local: { kind: 'static', services: { a: [{ address: '127.0.0.1:9' }] } } },
    });
    expect(Object.keys(document?.registries ?? {})).toEqual(['local', 'local@7']);
    expect(document?.pools['a@7'].discover?.from[0].registry).toBe('local@7');
    expect(document?.pools.a.discover?.from[0].registry).toBe('local');
  });

  it('leaves out pools that no route on trial leads to', () => {
    const document = rehearse({ pools: { ...base.pools, b: { endpoints: [{ address: '127.0.0.1:3' }] } } });
    expect(Object.keys(document?.pools ?? {})).toEqual(['a', 'b']);
  });

  it('is not possible without an HTTP listener of both, nor with a registry that the process would have to serve', () => {
    expect(rehearse({ listeners: [{ name: 'other', bind: '127.0.0.1:0', pool: 'a' }] })).toBeUndefined();
    const served = { local: { kind: 'embedded', bind: '127.0.0.1:0', data: './data' } };
    expect(rehearse({ registries: served })).toBeUndefined();
  });
});
