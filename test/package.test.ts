import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from './helpers/ports.ts';
import { findProgram, type ProcessExit, runProcess, startProcess } from './helpers/processes.ts';
import { type TemporaryDirectory, temporaryDirectory } from './helpers/temporary-directory.ts';

/** The package as someone gets it: packed here, installed in an empty project elsewhere, run there. */
const checkout = join(import.meta.dirname, '..');
const pinnedNode = process.execPath;
/** PATH as it is outside the checkout's npm scripts. */
const outsidePath = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));

type Finished = ProcessExit & { stdout: string; stderr: string };

let place: TemporaryDirectory;
let consumer: string;
let unpacked: string;
let files: string[];
let path: string;

/** Runs in the consumer's project, by default with the Node evenkeel asks for. */
function runThere(command: string, args: string[], PATH = path): Promise<Finished> {
  return runProcess(command, args, { cwd: consumer, env: { PATH, NODE_OPTIONS: undefined }, timeoutMs: 240_000 });
}

async function expectDone(running: Promise<Finished>): Promise<Finished> {
  const finished = await running;
  expect(finished.code, finished.stdout + finished.stderr).toBe(0);
  return finished;
}

/** Compiles files of the consumer's, with the libraries' types checked, too. */
async function expectTypes(...files: string[]): Promise<void> {
  const options = [
    '--noEmit',
    '--strict',
    '--target',
    'es2024',
    '--module',
    'nodenext',
    '--lib',
    'es2024,esnext.disposable',
  ];
  const types = ['--typeRoots', join(checkout, 'node_modules/@types'), '--types', 'node'];
  await expectDone(
    runThere(pinnedNode, [join(checkout, 'node_modules/typescript/bin/tsc'), ...options, ...types, ...files]),
  );
}

async function manifest(): Promise<{
  version: string;
  bin: Record<string, string>;
  exports?: Record<string, unknown>;
}> {
  return JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8'));
}

/** A Node on PATH, outside the checkout, that is older than evenkeel asks for. */
async function findOldNode(): Promise<string | null> {
  for (const folder of outsidePath) {
    const node = join(folder, 'node');
    if (!existsSync(node)) continue;
    const [major, minor] = (await runProcess(node, ['-v'])).stdout.slice(1).split('.').map(Number);
    if (major < 26 || (major === 26 && minor < 10)) return node;
  }
  return null;
}

/** Packing builds, and the checkout must not keep that dist: its own bin would run it, however old. */
async function copyOfCheckout(): Promise<string> {
  const copy = join(place.path, 'source');
  for (const name of await readdir(checkout)) {
    if (['node_modules', 'dist', 'coverage', 'data'].includes(name) || name.startsWith('.')) continue;
    await cp(join(checkout, name), join(copy, name), { recursive: true });
  }
  await symlink(join(checkout, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

beforeAll(async () => {
  place = await temporaryDirectory('package');
  // The pinned Node alone: the checkout's other programs must not be found from the consumer's project.
  await mkdir(join(place.path, 'bin'));
  await symlink(pinnedNode, join(place.path, 'bin/node'));
  path = [join(place.path, 'bin'), ...outsidePath].join(delimiter);

  const source = await copyOfCheckout();
  const packed = await runProcess('npm', ['pack', '--pack-destination', place.path], {
    cwd: source,
    timeoutMs: 120_000,
  });
  expect(packed.code, packed.stdout + packed.stderr).toBe(0);
  const tarball = (await readdir(place.path)).find((name) => name.endsWith('.tgz')) as string;
  const listed = await runProcess('tar', ['-xzvf', tarball], { cwd: place.path });
  files = listed.stdout
    .trim()
    .split('\n')
    .map((name) => name.replace(/^package\//, ''));
  unpacked = join(place.path, 'package');

  await place.write('consumer/package.json', '{ "name": "consumer", "private": true, "type": "module" }');
  consumer = join(place.path, 'consumer');
  const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', join(place.path, tarball)];
  await expectDone(runThere('npm', install));
}, 600_000);

afterAll(() => place.close());

describe('the tarball', () => {
  it('holds the program, its types and its papers', () => {
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json', 'bin/evenkeel.js']));
    expect(files).toEqual(expect.arrayContaining(['dist/cli/main.js', 'dist/scheduling/scheduler.d.ts']));
  });

  it('holds nothing else', () => {
    const expected =
      /^(LICENSE|README\.md|package\.json|bin\/[\w-]+\.js|dist\/[\w./-]+\.(js|d\.ts|html|css|svg|json|ico|png))$/;
    expect(files.filter((name) => !expected.test(name))).toEqual([]);
    expect(files.filter((name) => /\.test\.|\.map$|node_modules|(^|\/)(test|tools)\//.test(name))).toEqual([]);
  });

  it('carries every file of src that is not TypeScript', async () => {
    const assets = (await readdir(join(checkout, 'src'), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name).replace(`${checkout}/src/`, 'dist/'));
    expect(files).toEqual(expect.arrayContaining(assets));
  });

  it('does not know the place it was built at', async () => {
    const found = await runProcess('grep', ['-rlF', '-e', checkout, '-e', place.path, unpacked]);
    expect(found.stdout).toBe('');
    expect((await runProcess('grep', ['-rl', 'sourceMappingURL', join(unpacked, 'dist')])).stdout).toBe('');
  });

  it('imports nothing that ends in .ts', async () => {
    const found = await runProcess('grep', [
      '-rnE',
      '--include=*.js',
      `(from|import\\() ?['"][^'"]+\\.ts['"]`,
      unpacked,
    ]);
    expect(found.stdout).toBe('');
  });

  it('is exported whole: every entry has its code and its types', async () => {
    const { exports = {} } = await manifest();
    const targets = Object.values(exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry as object),
    );
    expect(targets.length).toBeGreaterThan(0);
    for (const target of targets as string[]) expect(files).toContain(target.replace(/^\.\//, ''));
  });
});

describe('an installed copy', () => {
  it('says its version', async () => {
    const { stdout } = await expectDone(runThere('npx', ['evenkeel', '--version']));
    expect(stdout.trim()).toContain((await manifest()).version);
  });

  it('checks a good configuration', async () => {
    const file = await place.write(
      'consumer/evenkeel.yaml',
      `listeners:
  - { name: shop, bind: "127.0.0.1:8080", protocol: http, pool: web }
pools:
  web: { endpoints: [{ address: "127.0.0.1:9001", weight: 5 }] }
`,
    );
    await expectDone(runThere('npx', ['evenkeel', 'check', '-c', file]));
  });

  it('refuses a bad configuration with status 78 and its position', async () => {
    const file = await place.write('consumer/bad.yaml', 'pools:\n  web: { schedular: random }\n');
    const { code, stdout, stderr } = await runThere('npx', ['evenkeel', 'check', '-c', file]);
    expect(code).toBe(78);
    expect(stdout + stderr).toMatch(/bad\.yaml:2:\d+\s+pools\.web/);
  });

  it('serves with all its threads, shows its dashboard, and ends on SIGTERM', async () => {
    const origin = createServer((_, response) => response.end('from the endpoint'));
    await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
    const [port, adminPort] = await freePorts(2);
    const file = await place.write(
      'consumer/run.yaml',
      `runtime: { workers: 2, announce: 0s, drain: 2s }
admin: { bind: "127.0.0.1:${adminPort}" }
log: { access: off }
listeners:
  - { name: shop, bind: "127.0.0.1:${port}", protocol: http, pool: web }
pools:
  web: { endpoints: [{ address: "127.0.0.1:${(origin.address() as { port: number }).port}" }] }
`,
    );
    const bin = join(consumer, 'node_modules/.bin/evenkeel');
    await using running = await startProcess(bin, ['run', '-c', file], {
      cwd: consumer,
      env: { PATH: path },
      ready: /is ready/,
    });
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
    expect(await answer.text()).toBe('from the endpoint');
    const page = await fetch(`http://127.0.0.1:${adminPort}/`, { headers: { connection: 'close' } });
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    await page.body?.cancel();
    running.kill('SIGTERM');
    expect(await running.exited, running.stdout + running.stderr).toEqual({ code: 0, signal: null });
    origin.closeAllConnections();
    await new Promise((resolve) => origin.close(resolve));
  });

  it('can be imported by every exported name', async () => {
    const names = Object.keys((await manifest()).exports ?? {}).filter((name) => !name.endsWith('.json'));
    const imports = names.map((name) => `await import('evenkeel${name.slice(1)}');`).join('\n');
    const file = await place.write('consumer/imports.js', `${imports}\nconsole.log('imported');\n`);
    expect((await expectDone(runThere('node', [file]))).stdout.trim()).toBe('imported');
  });

  it('brings types that a strict consumer can check', async () => {
    const file = await place.write(
      'consumer/part.ts',
      `import type { Scheduler } from 'evenkeel/scheduler';
export const scheduler: Scheduler = { update() {}, pick: () => null };
// @ts-expect-error a scheduler that picks text is none: proves that the types are really there
export const wrong: Scheduler = { update() {}, pick: () => 'endpoint' };
`,
    );
    await expectTypes(file);
  });

  it('is a library for a plain JavaScript program, which ends by itself', async () => {
    const file = await place.write(
      'consumer/embedding.js',
      `import { createServer } from 'node:http';
import { createBalancer } from 'evenkeel';
const server = createServer((_, response) => response.end('from the endpoint'));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const endpoints = [{ address: '127.0.0.1:' + server.address().port }];
{
  await using balancer = await createBalancer({ pools: { orders: { endpoints } } });
  const answer = await fetch('http://orders/', { dispatcher: balancer.dispatcher() });
  console.log(await answer.text(), balancer.pools.orders.snapshot().endpoints[0].requests);
}
server.close();
server.closeAllConnections();
`,
    );
    expect((await expectDone(runThere('node', [file]))).stdout.trim()).toBe('from the endpoint 1');
  });

  it('is a library for a TypeScript program, with types that say what is wrong', async () => {
    const file = await place.write(
      'consumer/embedding.ts',
      `import { createBalancer } from 'evenkeel';
import { BalancerError } from 'evenkeel/error';
import type { Scheduler } from 'evenkeel/scheduler';
await using balancer = await createBalancer({ pools: { orders: { endpoints: [{ address: '127.0.0.1:1', weight: 2 }] } } });
balancer.on('ejected', ({ endpoint, forMs }) => console.log(endpoint.length + forMs));
// @ts-expect-error a restored endpoint carries no time
balancer.on('restored', ({ forMs }) => console.log(forMs));
// @ts-expect-error an address is text
void createBalancer({ pools: { orders: { endpoints: [{ address: 1 }] } } });
const requests: number = balancer.pools.orders.snapshot().endpoints[0].requests;
balancer.dispatcher('orders').dispatch({ path: '/', method: 'GET' }, {});
export const scheduler: Scheduler = { update() {}, pick: () => null };
export const known = (error: unknown) => error instanceof BalancerError && error.reason === 'reset' && requests;
`,
    );
    const examples: string[] = [];
    for (const name of ['same-zone', 'file-registry', 'api-key']) {
      const example = await readFile(join(checkout, `config/examples/${name}.ts`), 'utf8');
      examples.push(await place.write(`consumer/${name}.ts`, example));
    }
    await expectTypes(file, ...examples);
  });

  it('does not bring a Node', async () => {
    expect(existsSync(join(consumer, 'node_modules/.bin/node'))).toBe(false);
    expect(
      (await readdir(join(consumer, 'node_modules'))).filter((name) => /^(node|node-|evenkeel-)/.test(name)),
    ).toEqual([]);
    const outside = await expectDone(runThere('node', ['-v'], outsidePath.join(delimiter)));
    const inside = await expectDone(runThere('npm', ['exec', '-c', 'node -v'], outsidePath.join(delimiter)));
    expect(inside.stdout).toBe(outside.stdout);
  });

  it('tells an old Node in one line that it is too old', async ({ skip }) => {
    const old = await findOldNode();
    if (old === null) return skip('no Node older than 26.10 on PATH');
    const { code, stdout, stderr } = await runThere(old, ['node_modules/evenkeel/bin/evenkeel.js', 'check']);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^[^\n]*26\.10[^\n]*\n$/);
  });
});

describe('the checkout', () => {
  it('names no registry in its lock file', async () => {
    const lock: { packages: Record<string, { resolved?: string }> } = JSON.parse(
      await readFile(join(checkout, 'package-lock.json'), 'utf8'),
    );
    const resolved = Object.values(lock.packages).flatMap((entry) =>
      entry.resolved === undefined ? [] : [entry.resolved],
    );
    expect(resolved).toEqual(['tools/node']);
  });

  it('has a lock entry for every optional dependency, without which npm 11 refuses to install', async () => {
    const lock: { packages: Record<string, { optionalDependencies?: Record<string, string> }> } = JSON.parse(
      await readFile(join(checkout, 'package-lock.json'), 'utf8'),
    );
    const wanted = Object.values(lock.packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    const held = new Set(Object.keys(lock.packages).map((name) => name.replace(/^.*node_modules\//, '')));
    expect(wanted.length).toBeGreaterThan(0);
    expect(wanted.filter((name) => !held.has(name))).toEqual([]);
  });

  it.runIf(process.platform === 'linux' && process.arch === 'x64')('runs on the Node it pins', async () => {
    const pinned = JSON.parse(await readFile(join(checkout, 'tools/node/package.json'), 'utf8')) as { version: string };
    expect(process.version).toBe(`v${pinned.version}`);
    expect(findProgram('node')).toBe(join(checkout, 'node_modules/.bin/node'));
  });
});
