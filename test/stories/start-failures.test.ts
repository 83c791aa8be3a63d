import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { startOrigin } from '../helpers/origin.ts';
import { freePorts } from '../helpers/ports.ts';
import { runProcess } from '../helpers/processes.ts';
import { startProxy } from '../helpers/proxy.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

describe('what keeps it from starting is said in one clear line', () => {
  async function run(document: object | string) {
    await using directory = await temporaryDirectory('start');
    const text = typeof document === 'string' ? document : JSON.stringify({ runtime: { workers: 1 }, ...document });
    const file = await directory.write('evenkeel.yaml', text);
    const { code, stdout, stderr } = await runProcess(process.execPath, [MAIN, 'run', '-c', file], {
      cwd: directory.path,
      timeoutMs: 28_000,
    });
    return { code, stdout, words: stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{')) };
  }

  const admin = { bind: '127.0.0.1:0' };
  const pools = { web: { endpoints: [{ address: '127.0.0.1:9' }] } };

  it('a busy port: exit 1', async () => {
    await using origin = await startOrigin();
    const { code, stdout, words } = await run({
      admin,
      listeners: [{ name: 'web', bind: origin.address, pool: 'web' }],
      pools,
    });
    expect(code).toBe(1);
    expect(words.length).toBe(1);
    expect(words[0]).toContain(origin.address);
    expect(words[0]).toMatch(/in use/);
    expect(stdout).toBe('');
  });

  it('a busy port of the admin API: exit 1', async () => {
    await using origin = await startOrigin();
    const { code, words } = await run({
      admin: { bind: origin.address },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools,
    });
    expect(code).toBe(1);
    expect(words.length).toBe(1);
    expect(words[0]).toContain(origin.address);
  });

  it('a port of another evenkeel, although both could share it: exit 1', async () => {
    await using first = await startProxy({ listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }], pools });
    const { code, words } = await run({
      admin,
      listeners: [{ name: 'web', bind: `127.0.0.1:${first.port()}`, pool: 'web' }],
      pools,
    });
    expect(code).toBe(1);
    expect(words.join('\n')).toContain(String(first.port()));
  });

  it('a port that somebody takes while it waits for its registry: exit 1', async () => {
    const [port, place] = await freePorts(2);
    const running = run({
      runtime: { workers: 2, startTimeout: '4s' },
      admin: { bind: `127.0.0.1:${place}` },
      registries: { away: { kind: 'consul', address: 'http://127.0.0.1:9' } },
      listeners: [{ name: 'web', bind: `127.0.0.1:${port}`, pool: 'web' }],
      pools: { web: { discover: { registry: 'away', service: 'web' } } },
    });
    await eventually(
      () =>
        fetch(`http://127.0.0.1:${place}/healthz`).then(
          ({ ok }) => ok,
          () => false,
        ),
      { timeoutMs: 10_000 },
    );
    await using thief = await startOrigin({ port });
    const { code, words } = await running;
    expect(code).toBe(1);
    expect(words.join('\n')).toContain(`cannot listen on ${thief.address}`);
  });

  it('a document at fault: exit 78, every problem with its place, nothing started', async () => {
    const { code, stdout, words } = await run(
      'listeners:\n  - { name: web, bind: nowhere, pool: wbe }\npools:\n  web: { endpoints: [] }\n',
    );
    expect(code).toBe(78);
    expect(stdout).toBe('');
    expect(words.length).toBeGreaterThanOrEqual(3);
    for (const line of words) expect(line).toMatch(/evenkeel\.yaml:\d+:\d+ {2}\S/);
  });

  it('a document that is not there: exit 78 or 2, one line', async () => {
    const { code, stderr } = await runProcess(process.execPath, [MAIN, 'run', '-c', '/nowhere/evenkeel.yaml']);
    expect([2, 78]).toContain(code);
    expect(stderr).toContain('/nowhere/evenkeel.yaml');
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});
