import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startLoad } from '../helpers/load.ts';
import { type RunningProcess, startProcess } from '../helpers/processes.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';

const PROGRAM = fileURLToPath(new URL('../helpers/endpoint-program.ts', import.meta.url));

describe('one of three endpoints is killed under load', () => {
  const NAMES = ['red', 'green', 'blue'];
  const endpoints = new Map<string, { process: RunningProcess; port: number }>();
  let proxy: RunningProxy;

  async function start(name: string, port = 0): Promise<void> {
    const process = await startProcess(globalThis.process.execPath, [PROGRAM, name, String(port)], {
      ready: /listens on (\d+)/,
    });
    endpoints.set(name, { process, port: Number(/listens on (\d+)/.exec(process.stdout)![1]) });
  }

  beforeAll(async () => {
    await Promise.all(NAMES.map((name) => start(name)));
    proxy = await startProxy({
      runtime: { workers: 2 },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: {
        web: {
          endpoints: NAMES.map((name) => ({ address: `127.0.0.1:${endpoints.get(name)!.port}` })),
          scheduler: 'weighted-round-robin',
          ejection: { base: '1s', max: '2s' },
        },
      },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    for (const { process } of endpoints.values()) await process.stop(0);
  });

  it('no GET fails, it is ejected, and it serves again when it is back', async () => {
    const { process: victim, port } = endpoints.get('red')!;
    const id = `127.0.0.1:${port}`;
    const served = new Map(NAMES.map((name) => [name, 0]));
    await using load = startLoad(proxy.port(), {
      connections: 8,
      target: () => `/?delay=${load.answered % 5}`,
      onResponse: ({ text }) => served.set(text, (served.get(text) ?? 0) + 1),
    });
    await eventually(() => NAMES.every((name) => served.get(name)! > 30));
    victim.kill('SIGKILL');
    await victim.exited;
    await eventually(() => proxy.events('ejected').some(({ endpoint }) => endpoint === id));
    const before = load.answered;
    await eventually(() => load.answered > before + 200);
    await start('red', port);
    const atReturn = served.get('red')!;
    await eventually(async () => (await proxy.endpoint('web', id)).available && served.get('red')! > atReturn + 20);
    await load.stop();
    expect(load.lost).toEqual([]);
    expect([...load.statuses.keys()]).toEqual([200]);
    expect(load.refused).toBe(0);
  });
});
