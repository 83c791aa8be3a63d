import { readdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startOrigins } from '../helpers/balanced-origins.ts';
import { runProcess, startProcess } from '../helpers/processes.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const EXAMPLES = join(CHECKOUT, 'config/examples');
const SOURCE = join(CHECKOUT, 'src/embed/balancer.ts');

/** The example beside a `node_modules` as a user has one; `evenkeel` is the source. */
async function installed(name: string): Promise<TemporaryDirectory & { file: string }> {
  const place = await temporaryDirectory('example');
  await place.write('package.json', '{ "type": "module" }');
  await place.write('node_modules/evenkeel/package.json', '{ "type": "module", "exports": "./index.js" }');
  await place.write('node_modules/evenkeel/index.js', `export * from ${JSON.stringify(SOURCE)};\n`);
  await place.write('node_modules/@fastify/package.json', '{}');
  for (const used of ['express', 'fastify', '@fastify/middie'])
    await symlink(join(CHECKOUT, 'node_modules', used), join(place.path, 'node_modules', used));
  const file = await place.write(name, await readFile(join(EXAMPLES, name), 'utf8'));
  return Object.assign(place, { file });
}

describe('the examples', () => {
  it('are all told of here and in user-parts', async () => {
    const names = (await readdir(EXAMPLES)).filter((name) => !name.endsWith('.yaml')).toSorted();
    expect(names).toEqual([
      'api-key.ts',
      'express-app.js',
      'fastify-app.js',
      'fetch-client.js',
      'file-registry.ts',
      'same-zone.ts',
    ]);
  });

  it('a fetch client balances, and its process ends by itself', async () => {
    await using origins = await startOrigins(2);
    await using place = await installed('fetch-client.js');
    const env = { ENDPOINTS: origins.all.map(({ address }) => address).join(',') };
    const { code, stdout, stderr } = await runProcess(process.execPath, [place.file], { cwd: place.path, env });
    expect(code, stderr).toBe(0);
    const names = stdout.trim().split('\n');
    expect(names.length).toBe(20);
    expect(new Set(names)).toEqual(new Set(['a', 'b']));
  });

  it.each(['express-app.js', 'fastify-app.js'])(
    '%s serves its own code and the pool, and ends on SIGTERM',
    async (name) => {
      await using origins = await startOrigins(1);
      await using place = await installed(name);
      const env = { ENDPOINTS: origins[0].address, PORT: '0' };
      await using app = await startProcess(process.execPath, [place.file], {
        cwd: place.path,
        env,
        ready: /listens on (\d+)/,
      });
      const url = `http://127.0.0.1:${/listens on (\d+)/.exec(app.stdout)![1]}`;
      const headers = { 'x-user': 'alice', connection: 'close' };
      expect(await (await fetch(`${url}/orders/1`, { headers })).text()).toBe('a');
      const own = await fetch(`${url}/`, { headers: { connection: 'close' } });
      expect(name === 'express-app.js' ? own.status : await own.text()).toBe(
        name === 'express-app.js' ? 401 : 'my own page',
      );
      if (!own.bodyUsed) await own.body?.cancel();
      app.kill('SIGTERM');
      expect((await app.exited).code).toBe(0);
    },
  );
});
