import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { catalogs } from '../../src/app/catalogs.ts';
import { documentJsonSchema, loadDocument, readDocument } from '../../src/app/document.ts';
import { tryBuild } from '../../src/app/try-build.ts';
import { createBalancer } from '../../src/embed/balancer.ts';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { eventually } from '../helpers/eventually.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { ask, rawClient } from '../helpers/raw-client.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

const EXAMPLES = join(import.meta.dirname, '../../config/examples');
const ZOD = join(import.meta.dirname, '../../node_modules/zod/index.js');

/** A middleware that answers with a word of its own. */
const answering = (word: string) => `import { z } from ${JSON.stringify(ZOD)};
export const part = { kind: 'answering', summary: 'answers', options: z.object({ status: z.int().default(200) }),
  create: ({ status }) => ({ onRequest: (exchange) => exchange.answer(status, ${JSON.stringify(word)}) }) };
`;

describe('parts of a user', () => {
  it("the examples' scheduler, registry and middleware work together, in every worker", async () => {
    await using origins = await startOrigins(2);
    const pool = {
      discover: { registry: 'file', service: 'orders' },
      scheduler: { kind: join(EXAMPLES, 'same-zone.ts'), zone: 'b' },
    };
    await using files = await temporaryDirectory('services');
    const services = await files.write('services.json', JSON.stringify({ orders: [origins[0].address] }));
    await using proxy: RunningProxy = await startProxy({
      runtime: { workers: 2 },
      registries: { file: { kind: join(EXAMPLES, 'file-registry.ts'), path: services, everyMs: 50 } },
      listeners: [
        {
          name: 'web',
          bind: '127.0.0.1:0',
          routes: [{ pool: 'orders', middleware: [{ kind: join(EXAMPLES, 'api-key.ts'), keys: { s3cret: 'alice' } }] }],
        },
      ],
      pools: { orders: pool },
    });
    expect((await ask(proxy.port(), 'GET', '/')).status).toBe(401);
    for (let i = 0; i < 6; i++) expect((await ask(proxy.port(), 'GET', '/', ['x-api-key: s3cret'])).text).toBe('a');
    expect(origins[0].requests[0].fields.get('x-user')).toBe('alice');
    await writeFile(services, JSON.stringify({ orders: origins.all.map(({ address }) => address) }));
    await eventually(async () => (await ask(proxy.port(), 'GET', '/', ['x-api-key: s3cret'])).text === 'b');
    expect(proxy.events('worker-died')).toEqual([]);
  });

  it('who connects while a worker that takes the place of a dead one imports them is served', async () => {
    await using origins = await startOrigins(1);
    await using files = await temporaryDirectory('slow-part');
    const slowly = 'await new Promise((resolve) => setTimeout(resolve, 300));';
    const kind = await files.write('slow.ts', `${slowly}\n${answering('served')}`);
    await using proxy: RunningProxy = await startProxy(
      {
        runtime: { workers: 1 },
        listeners: [{ name: 'web', bind: '127.0.0.1:0', routes: [{ pool: 'orders', middleware: [{ kind }] }] }],
        pools: { orders: { endpoints: origins.settings } },
      },
      { faults: true },
    );
    const served = async () => (await ask(proxy.port(), 'GET', '/')).text;
    expect(await served()).toBe('served');
    proxy.fault('die', 0);
    await eventually(() => proxy.events('worker-died').length === 1);
    // Main listens again at once; the thread behind it is not there yet.
    await eventually(async () => (await rawClient(proxy.port()).catch(() => null)) !== null);
    const asked: Promise<string>[] = [];
    for (let i = 0; i < 40; i++) {
      asked.push(served());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['served']));
  });

  it('who connects while a reload takes the only other worker away is served', async () => {
    await using origins = await startOrigins(1);
    await using files = await temporaryDirectory('slow-part');
    const slowly = 'await new Promise((resolve) => setTimeout(resolve, 2000));';
    const kind = await files.write('slow.ts', `${slowly}\n${answering('served')}`);
    const document = (workers: number) => ({
      runtime: { workers },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', routes: [{ pool: 'orders', middleware: [{ kind }] }] }],
      pools: { orders: { endpoints: origins.settings } },
    });
    await using proxy: RunningProxy = await startProxy(document(2), { faults: true });
    await proxy.write(document(1));
    proxy.fault('die', 0);
    await eventually(() => proxy.events('worker-died').length === 1);
    const reloaded = proxy.reload();
    const asked: Promise<string>[] = [];
    for (let i = 0; i < 100; i++) {
      asked.push(ask(proxy.port(), 'GET', '/').then(({ text }) => text, String));
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['served']));
    expect(await reloaded).toBe('reloaded');
  });

  it('a reload takes a part whose file changed, relative to the document', async () => {
    await using files = await temporaryDirectory('parts');
    await using origins = await startOrigins(1);
    const part = await files.write('part.js', answering('one'));
    await using proxy = await startProxy({
      listeners: [{ name: 'web', bind: '127.0.0.1:0', routes: [{ pool: 'web', middleware: [part] }] }],
      pools: { web: { endpoints: origins.settings } },
    });
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('one');
    await files.write('part.js', answering('two'));
    expect(await proxy.reload()).toBe('reloaded');
    await eventually(async () => (await ask(proxy.port(), 'GET', '/')).text === 'two');
    await files.write('part.js', 'this is no code');
    expect(await proxy.reload()).toBe('reload-refused');
    expect((await ask(proxy.port(), 'GET', '/')).text).toBe('two');
  });

  it('every fault has its place in the document: no file, no kind, wrong options, a part of another sort', async () => {
    await using files = await temporaryDirectory('parts');
    await files.write('answering.js', answering('x'));
    await files.write('nothing.js', 'export const nothing = 1;');
    const file = await files.write(
      'evenkeel.yaml',
      `listeners:
  - name: web
    bind: 127.0.0.1:0
    routes:
      - pool: web
        middleware:
          - ./missing.js
          - { kind: ./answering.js, statsu: 201 }
          - ./nothing.js
pools:
  web: { endpoints: [{ address: "127.0.0.1:1" }] }
`,
    );
    const error = await loadDocument(file, {}, catalogs).catch((fault: Error) => fault.message);
    expect(error).toMatch(
      /evenkeel\.yaml:7:13 {2}listeners\[0\]\.routes\[0\]\.middleware\[0\] {2}cannot be loaded: ENOENT/,
    );
    expect(error).toMatch(/evenkeel\.yaml:8:\d+ {2}\S*middleware\[1\]\.statsu {2}unknown key/);
    expect(error).toMatch(
      /evenkeel\.yaml:9:13 {2}\S*middleware\[2\] {2}cannot be loaded: .*nothing\.js exports 0 kinds/,
    );
    const wrongSort = await files.write(
      'sort.yaml',
      `listeners: [{ name: web, bind: "127.0.0.1:0", pool: web }]
pools:
  web: { scheduler: ./answering.js, endpoints: [{ address: "127.0.0.1:1" }] }
`,
    );
    const loaded = await loadDocument(wrongSort, {}, catalogs);
    expect(() => tryBuild(loaded)).toThrow(
      /sort\.yaml:3:\d+ {2}pools\.web\.scheduler .*answering is no scheduler: it has no update, pick/,
    );
  });

  it("the examples' document is good", async () => {
    tryBuild(await loadDocument(join(EXAMPLES, 'user-parts.yaml'), {}, catalogs));
  });

  it('a document that is no local file chooses no code', () => {
    const text =
      'listeners: [{ name: web, bind: "127.0.0.1:0", pool: web }]\npools:\n  web: { scheduler: ./a.ts, endpoints: [{ address: "127.0.0.1:1" }] }\n';
    expect(() => readDocument(text, 'centre@3', {}, catalogs)).toThrow(
      /^centre@3:3:\d+ {2}pools\.web\.scheduler {2}\.\/a\.ts names code, which only a document in a local file may do$/,
    );
  });

  it('editors accept a path where a kind stands', () => {
    expect(JSON.stringify(documentJsonSchema(catalogs))).toContain('file that exports a scheduler');
  });

  it('a host program gives a kind as it is, or by its path', async () => {
    await using origins = await startOrigins(2);
    const { sameZone } = await import(join(EXAMPLES, 'same-zone.ts'));
    const endpoints = origins.settings.map((one, i) => ({ ...one, zone: 'ab'[i] }));
    const options = { pools: { orders: { endpoints, scheduler: { kind: sameZone, zone: 'b' } } } };
    await using balancer = await createBalancer(options);
    const dispatcher = balancer.dispatcher('orders');
    const answer = async () => (await fetch('http://orders/', { dispatcher } as never)).text();
    expect([await answer(), await answer()]).toEqual(['b', 'b']);
    const byPath = { kind: './same-zone.ts', zone: 'a' };
    await using other = await createBalancer(
      { pools: { orders: { endpoints, scheduler: byPath } } },
      { directory: EXAMPLES },
    );
    expect(await (await fetch('http://orders/', { dispatcher: other.dispatcher() } as never)).text()).toBe('a');
    const wrong = createBalancer({ pools: { orders: { endpoints, scheduler: { kind: sameZone, zoen: 'b' } } } });
    await expect(wrong).rejects.toThrow(/pools\.orders\.scheduler\.zoen {2}unknown key/);
  });
});
