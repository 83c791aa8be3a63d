import { expect, it } from 'vitest';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { nacosDoubleWorld } from '../helpers/config-stores.ts';
import { eventually } from '../helpers/eventually.ts';
import { startOrigin } from '../helpers/origin.ts';
import { startProxy } from '../helpers/proxy.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

it('runs from Nacos, follows what is pushed there, and the commands tell of it', async () => {
  await using blue = await startOrigin({ name: 'blue' });
  await using green = await startOrigin({ name: 'green' });
  const directory = await temporaryDirectory('nacos-centre');
  const world = await nacosDoubleWorld('Nacos').start();
  const document = (port: number) =>
    JSON.stringify({
      runtime: { workers: 1, drain: '1s', state: `${directory.path}/run` },
      admin: { bind: '127.0.0.1:0' },
      log: { access: 'off' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: `127.0.0.1:${port}` }] } },
    });
  let printed = '';
  const print = (text: string) => {
    printed += text;
  };
  const config = async (...words: string[]) => {
    printed = '';
    const terminal = { out: print, error: print, environment: {}, directory: directory.path };
    return runCommandLine(['config', ...words, '-c', world.address], terminal);
  };
  try {
    const push = async (port: number, message: string) =>
      config('push', await directory.write('next.json', document(port)), '-m', message, '--author', 'me');
    expect(await push(blue.port, 'first'), printed).toBe(0);
    await using proxy = await startProxy(
      {},
      { centre: { address: world.address, name: 'edge-1', state: `${directory.path}/state` } },
    );
    const answer = async () => (await fetch(proxy.url)).text();
    expect(await answer()).toContain('blue');
    expect(await push(green.port, 'second'), printed).toBe(0);
    await eventually(async () => expect(await answer()).toContain('green'), { timeoutMs: 3000 });
    expect(await config('history')).toBe(0);
    expect(printed).toMatch(/second[\s\S]*first/);
    await eventually(
      async () => {
        await config('status');
        return expect(printed).toMatch(/edge-1.*as it should/);
      },
      { timeoutMs: 8000, intervalMs: 200 },
    );
    expect(await config('rollback', '1', '-m', 'back'), printed).toBe(0);
    await eventually(async () => expect(await answer()).toContain('blue'), { timeoutMs: 3000 });
  } finally {
    await world.close();
    await directory.close();
  }
}, 40_000);
