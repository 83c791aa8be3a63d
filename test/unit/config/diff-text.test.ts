import { describe, expect, it } from 'vitest';
import { diffLines, diffText } from '../../../src/config/diff-text.ts';

/** A document in which one listener, one registry and one pool are given. */
function documentOf(listener: object, registry: object = {}, pool: object = {}) {
  return {
    runtime: {},
    admin: {},
    log: {},
    registries: { consul: { kind: 'consul', ...registry } },
    pools: { web: pool },
    listeners: [{ name: 'shop', routes: [], ...listener }],
  };
}

describe('the lines of a difference', () => {
  const pem = '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n';

  it('name what changed, with both values', () => {
    const before = documentOf({ bind: ['127.0.0.1:80'] }, {}, { retry: { attempts: 1 } });
    const after = documentOf({ bind: ['127.0.0.1:81'] }, {}, { retry: { attempts: 2 } });
    expect(diffLines(before, after)).toEqual([
      '~ pool web  retry.attempts: 1 → 2',
      '~ listener shop  bind - 127.0.0.1:80',
      '~ listener shop  bind + 127.0.0.1:81',
    ]);
  });

  it.each([
    ['a key in a whole object', { tls: { certificates: [{ cert: 'a', key: pem }] } }, { tls: null }],
    ['a key that was renewed', { tls: { key: pem } }, { tls: { key: `${pem}x` } }],
    ['a secret in a whole object', { affinity: { cookie: 'c', secret: 'hunter2' } }, { affinity: null }],
    ['a secret', { token: 'hunter2' }, { token: 'other' }],
    ['a secret deeper down', { secret: { value: 'hunter2' } }, { secret: { value: 'other' } }],
    ['items of a secret list', { tokens: ['hunter2'] }, { tokens: [] }],
    ['a password in an address', { address: 'http://me:hunter2@h/' }, { address: 'http://h/' }],
    ['a password in a list of addresses', { from: ['http://me:hunter2@h/'] }, { from: [] }],
    [
      'a password in the address that tells items apart',
      { from: [{ address: 'http://me:hunter2@h/', weight: 1 }] },
      { from: [{ address: 'http://me:hunter2@h/', weight: 2 }] },
    ],
    ['what ZooKeeper is told', { auth: 'me:hunter2' }, { auth: '' }],
  ])('hide %s', (_, having, without) => {
    for (const [one, other] of [
      [having, without],
      [without, having],
    ]) {
      const places = [
        diffText(documentOf(one), documentOf(other)),
        diffText(documentOf({}, one), documentOf({}, other)),
        diffText(documentOf({}, {}, one), documentOf({}, {}, other)),
      ];
      for (const text of places) {
        expect(text).toMatch(/^~ /);
        expect(text).not.toContain('hunter2');
      }
    }
  });
});
