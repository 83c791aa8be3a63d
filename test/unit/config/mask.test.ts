import { describe, expect, it } from 'vitest';
import { catalogs } from '../../../src/app/catalogs.ts';
import { documentJsonSchema } from '../../../src/app/document.ts';
import { substituteEnvironment } from '../../../src/config/environment.ts';
import { parseSource, plainData } from '../../../src/config/load.ts';
import { masked } from '../../../src/config/mask.ts';
import { isSecretKey } from '../../../src/config/secrets.ts';

const $ = '$';

function shown(text: string, environment: Record<string, string> = {}): unknown {
  const tree = parseSource(text, 'a.yaml');
  substituteEnvironment(tree, environment);
  return masked(plainData(tree), tree);
}

describe('masking', () => {
  it.each([
    ['admin: { token: hunter2 }', { admin: { token: '***' } }],
    ['a: { password: hunter2, user: u }', { a: { password: '***', user: 'u' } }],
    ['a: { clientSecret: [hunter2] }', { a: { clientSecret: ['***'] } }],
    ['h: { Authorization: "Bearer hunter2" }', { h: { Authorization: '***' } }],
    ['h: { x-api-key: hunter2 }', { h: { 'x-api-key': '***' } }],
    ['a: "https://me:hunter2@host/p"', { a: 'https://me:***@host/p' }],
    ['registries: { zk: { auth: "me:hunter2" } }', { registries: { zk: { auth: '***' } } }],
    ['a: "-----BEGIN RSA PRIVATE KEY-----\\nhunter2"', { a: '***' }],
    ['admin: { token: "" }', { admin: { token: '' } }],
    ['tls: { cert: a.pem, key: a.key }', { tls: { cert: 'a.pem', key: 'a.key' } }],
    ['pools: { token: { host: keep } }', { pools: { token: { host: 'keep' } } }],
  ])('shows %s without its secret', (text, expected) => {
    expect(shown(text)).toEqual(expected);
  });

  it('hides values of variables whose names smell of a secret, wherever they stand', () => {
    const text = `a: "x ${$}{DB_PASSWORD}"\nb: "${$}{HOST}"\nc: &c { d: "${$}{API_KEY}" }\ne: *c\n`;
    expect(shown(text, { DB_PASSWORD: 'hunter2', HOST: 'h', API_KEY: 'hunter2' })).toEqual({
      a: '***',
      b: 'h',
      c: { d: '***' },
      e: { d: '***' },
    });
  });

  it('knows every option that holds a password or a token by its name', () => {
    // A directory that holds a token is none, nor is an address where none is asked for.
    const speaking = optionsOf(documentJsonSchema(catalogs)).filter(
      ([key, text]) =>
        /password|token|authorization|secret|signs/i.test(text) && !['serviceAccount', 'bind'].includes(key),
    );
    expect(speaking.length).toBeGreaterThan(6);
    expect(speaking.filter(([key]) => !isSecretKey(key))).toEqual([]);
  });
});

/** Every option of text with its description. */
function optionsOf(schema: unknown): (readonly [string, string])[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { properties = {} } = schema as { properties?: Record<string, { type?: unknown; description?: string }> };
  const own = Object.entries(properties).flatMap(([key, { type, description }]) =>
    type === 'string' ? [[key, description ?? ''] as const] : [],
  );
  return [...own, ...Object.values(schema).flatMap(optionsOf)];
}
