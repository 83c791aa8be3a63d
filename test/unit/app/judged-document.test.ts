import { describe, expect, it } from 'vitest';
import { catalogs } from '../../../src/app/catalogs.ts';
import { readDocument } from '../../../src/app/document.ts';
import { holdsReference, readToJudge } from '../../../src/app/judged-document.ts';

const $ = '$';
const environment = { TOKEN: 'hunter2', HOST: 'consul.internal', EMPTY_TOKEN: '', DRAIN: '7s', ELSE: 'hunter3' };
const running = readDocument(
  document({
    admin: { token: `${$}{EMPTY_TOKEN}` },
    registries: { consul: consul(`${$}{HOST}`, `${$}{TOKEN}`) },
    drain: `${$}{DRAIN}`,
  }),
  'a.json',
  environment,
  catalogs,
);

function consul(host: string, token: string): object {
  return { kind: 'consul', address: `http://${host}:8500`, token };
}

function document({
  admin = {},
  registries = {},
  drain = '1s',
  path = '/',
  name = 'web',
}: Record<string, unknown>): string {
  return JSON.stringify({
    runtime: { drain },
    admin,
    registries,
    listeners: [{ name, bind: '127.0.0.1:0', pool: 'web' }],
    pools: { web: { endpoints: [{ address: '127.0.0.1:1' }], probe: { kind: 'http', path } } },
  });
}

describe('a document that is only judged', () => {
  const read = (text: string) => readToJudge(text, 'b.json', environment, running.variables);

  it('knows which variables the document in force shows', () => {
    expect(Object.fromEntries(running.variables)).toEqual({ EMPTY_TOKEN: true, TOKEN: false, HOST: true, DRAIN: true });
  });

  it('gets values that are shown anyway, and for every other reference something that says so', () => {
    const { loaded } = read(running.text);
    expect(loaded?.document.runtime.drain).toBe(7000);
    expect(loaded?.document.registries.consul).toMatchObject({
      address: 'http://consul.internal:8500',
      token: 'value-not-read(TOKEN)',
    });
    expect(holdsReference(loaded?.document.registries.consul)).toBe(true);
    for (const name of ['TOKEN', 'ELSE', 'PATH']) {
      const moved = read(document({ path: `/${$}{${name}}` }));
      expect(moved.loaded?.document.pools.web.probe).toMatchObject({ path: `/value-not-read(${name})` });
    }
  });

  it('takes the default of a variable that it does not know', () => {
    expect(read(document({ drain: `${$}{ELSE:-3s}` })).loaded?.document.runtime.drain).toBe(3000);
    const { loaded } = read(document({ admin: { bind: '0.0.0.0:1', token: `${$}{ELSE:-}` } }));
    expect(loaded?.document.admin.token).toBe('value-not-read(ELSE)');
  });

  it('says which places it cannot judge, and finds every fault elsewhere', () => {
    const { loaded, problems, unjudged } = read(document({ drain: `${$}{ELSE}`, path: 'no' }));
    expect(loaded).toBeNull();
    expect(problems.map(({ path }) => path)).toEqual(['pools.web.probe.path']);
    expect(unjudged.map(({ path, message }) => [path, message])).toEqual([
      ['runtime.drain', 'its value is not read to judge a document'],
    ]);
  });

  it('has nothing of the files it names', () => {
    const { loaded } = read(document({ registries: { consul: consul('h', 'file:/etc/passwd') } }));
    expect(loaded?.document.registries.consul.token).toBe('file:/etc/passwd');
    expect(holdsReference(loaded?.document.registries)).toBe(true);
    expect(holdsReference({ list: ['x', { y: 1, z: null }] })).toBe(false);
  });

  it('is wrong in an answer, never by an error', () => {
    expect(read('{ "half": ').problems).toHaveLength(1);
    expect(read(document({ name: `${$}{` })).problems).not.toEqual([]);
    expect(read('"\\u0024{TOKEN}"').loaded).toBeNull();
  });
});
