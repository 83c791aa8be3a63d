import { existsSync, readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { catalogs } from '../../../src/app/catalogs.ts';
import { documentJsonSchema, loadDocument, readDocument } from '../../../src/app/document.ts';
import { ConfigError } from '../../../src/base/errors.ts';
import type { JsonSchema } from '../../../src/config/schema-json.ts';
import { documentAround, type YamlBlock, yamlBlocks } from '../../helpers/yaml-blocks.ts';

const checkout = join(import.meta.dirname, '../../..');
const samples = (await Array.fromAsync(glob('config/*.{yaml,yml,json}', { cwd: checkout }))).sort();
const pages = ['README.md', ...(await Array.fromAsync(glob('docs/**/*.md', { cwd: checkout })))].filter((page) =>
  existsSync(join(checkout, page)),
);
const blocks = pages.flatMap((page) =>
  yamlBlocks(readFileSync(join(checkout, page), 'utf8')).map((block) => [`${page}:${block.line}`, block] as const),
);

/** Pages show variables without saying what they hold: those without a default are set. */
function environmentOf(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => [name, 'example']));
}

function problemsOf(block: YamlBlock, file: string): string[] {
  try {
    readDocument(documentAround(block), file, environmentOf(block.text), catalogs);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // A fragment may name pools and registries that stand elsewhere.
    const isElsewhere = (message: string) => block.fragment !== null && /^there is no (pool|registry) /.test(message);
    return error.problems
      .filter(({ message }) => !isElsewhere(message))
      .map(({ path, message }) => `${path}  ${message}`);
  }
}

describe('every sample in config/', () => {
  it.each(samples)('%s passes evenkeel check', async (file) => {
    await expect(loadDocument(join(checkout, file), {}, catalogs)).resolves.toBeDefined();
  });

  it('is there: a small one, one for Consul, and one with everything', () => {
    expect(samples.map((file) => relative('config', file))).toEqual(
      expect.arrayContaining(['consul.yaml', 'evenkeel.yaml', 'full.yaml']),
    );
  });
});

describe('config/full.yaml', () => {
  const file = join(checkout, 'config/full.yaml');

  it('holds every key there is', () => {
    const text = readFileSync(file, 'utf8');
    const { properties } = documentJsonSchema(catalogs);
    // Registries and middleware have kinds with keys of their own: `evenkeel list` shows them.
    const { runtime, admin, log, listeners, pools } = properties!;
    const keys = [runtime, admin, log, listeners, pools].flatMap((schema) => keysOf(schema));
    expect(keys.length).toBeGreaterThan(60);
    expect(keys.filter((key) => !new RegExp(`\\b${key}:`).test(text))).toEqual([]);
  });

  it('says of every value that it is the default, and it is', async () => {
    const minimal =
      'listeners: [{ name: shop, bind: "127.0.0.1:8080", pool: web }]\npools: { web: { endpoints: [{ address: "127.0.0.1:9001" }] } }';
    const expected = readDocument(minimal, 'minimal', {}, catalogs).document;
    const { document } = await loadDocument(file, {}, catalogs);
    expect(document.runtime).toEqual(expected.runtime);
    expect(document.admin).toEqual(expected.admin);
    expect(document.log).toEqual(expected.log);
    expect(document.pools.web).toEqual(expected.pools.web);
    expect({ ...document.listeners[0], routes: [] }).toEqual({ ...expected.listeners[0], routes: [] });
  });
});

describe('every YAML block of the documentation', () => {
  it.skipIf(blocks.length === 0).each(blocks)('%s passes evenkeel check', (place, block) => {
    expect(problemsOf(block, place)).toEqual([]);
  });

  it('is found, whole or as a fragment, and judged', () => {
    const page = [
      'Text',
      '```yaml fragment=pools.web',
      'timeouts: { connect: 1s }',
      'endpoints: [{ address: "127.0.0.1:1" }]',
      '```',
      '- in a list:',
      '  ```yaml fragment',
      '  log: { level: loud }',
      '  ```',
      '```yaml fragment=pools',
      'a: { discover: { registry: elsewhere, service: a } }',
      '```',
      '```yaml',
      'listeners: []',
      '```',
    ].join('\n');
    const found = yamlBlocks(page);
    expect(found.map(({ line }) => line)).toEqual([3, 8, 11, 14]);
    expect(found.map((block) => problemsOf(block, 'page'))).toEqual([
      [],
      [expect.stringContaining('log.level')],
      [],
      [expect.stringContaining('listeners')],
    ]);
    expect(parse(documentAround(found[0])).pools.web.timeouts).toEqual({ connect: '1s' });
  });
});

/** Names of all options in a schema; the kinds of catalogs and free maps (names, headers) are not gone into. */
function keysOf(schema: JsonSchema): string[] {
  const inner = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), schema.items, mapValue(schema)].filter(
    (one): one is JsonSchema => one !== undefined,
  );
  if (schema.properties?.kind !== undefined) return [];
  return [
    ...inner.flatMap(keysOf),
    ...Object.entries(schema.properties ?? {}).flatMap(([key, option]) => [key, ...keysOf(option)]),
  ];
}

function mapValue({ additionalProperties }: JsonSchema): JsonSchema | undefined {
  return typeof additionalProperties === 'object' ? additionalProperties : undefined;
}
