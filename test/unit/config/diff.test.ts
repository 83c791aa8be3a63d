import { describe, expect, it } from 'vitest';
import { readDocument } from '../../../src/app/document.ts';
import { diffDocuments } from '../../../src/config/diff.ts';
import { placeholderCatalogs } from '../../helpers/placeholder-catalogs.ts';

const before = `
listeners:
  - name: shop
    bind: 127.0.0.1:8080
    routes:
      - { name: a, match: { path: /a }, pool: one }
      - { name: b, match: { path: /b }, pool: one }
pools:
  one: { endpoints: [{ address: "127.0.0.1:1" }], timeouts: { request: 60s } }
  two: { endpoints: [{ address: "127.0.0.1:2" }] }
`;

function diff(...edits: readonly (readonly [string | RegExp, string])[]) {
  const after = edits.reduce((text, [from, to]) => {
    const edited = text.replace(from, to);
    if (edited === text) throw new Error(`nothing to edit: ${from}`);
    return edited;
  }, before);
  const read = (text: string) => readDocument(text, 'a.yaml', {}, placeholderCatalogs).document;
  return diffDocuments(read(before), read(after));
}

const none = { added: [], removed: [], changed: [] };

describe('the difference of two documents', () => {
  it('is empty for another spelling of the same', () => {
    const found = diff(
      ['60s', '1m'],
      ['match: { path: /a }, pool: one', 'pool: one, match: { path: { prefix: /a/ } }'],
      [/$/, '\nlog: { level: info }\n# the end\n'],
    );
    expect(found).toMatchObject({ empty: true, sections: [], pools: none, listeners: none, routes: none });
  });

  it('names pools that came, went or changed', () => {
    const found = diff(['  two:', '  three:'], ['60s', '50s']);
    expect(found.pools).toEqual({ added: ['three'], removed: ['two'], changed: ['one'] });
    expect(found).toMatchObject({ empty: false, listeners: none, routes: none });
  });

  it('tells a change of a route from one of its listener', () => {
    expect(diff(['path: /b }, pool: one', 'path: /b }, pool: two'])).toMatchObject({
      routes: { changed: ['shop/b'] },
      listeners: none,
    });
    expect(diff(['127.0.0.1:8080', '127.0.0.1:8081'])).toMatchObject({
      routes: none,
      listeners: { changed: ['shop'] },
    });
  });

  it('tells a listener that goes by another name as one gone and one come', () => {
    expect(diff(['name: shop', 'name: mall'])).toMatchObject({
      listeners: { added: ['mall'], removed: ['shop'], changed: [] },
      routes: none,
    });
  });

  it('names routes that came, and listeners whose routes moved', () => {
    const added = diff(['      - { name: a', '      - { name: c, match: { path: /c }, pool: two }\n      - { name: a']);
    expect(added).toMatchObject({ routes: { added: ['shop/c'] }, reordered: [] });
    const moved = diff([/( +- \{ name: a.*\n)( +- \{ name: b.*\n)/, '$2$1']);
    expect(moved).toMatchObject({ routes: none, reordered: ['shop'], empty: false });
  });

  it('names the sections that changed, and registries', () => {
    const found = diff([/$/, '\nlog: { level: debug }\nregistries: { consul: { kind: consul } }\n']);
    expect(found).toMatchObject({ sections: ['log'], registries: { added: ['consul'] } });
  });
});
