import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommandLine } from '../../../src/cli/command-line.ts';
import { Exit } from '../../../src/cli/exit.ts';
import { runProcess, startProcess } from '../../helpers/processes.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

const checkout = join(import.meta.dirname, '../../..');
const main = join(checkout, 'src/cli/main.ts');
const bin = join(checkout, 'bin/evenkeel.js');
const good =
  'listeners: [{ name: web, bind: "127.0.0.1:8080", pool: web }]\npools: { web: { endpoints: [{ address: "127.0.0.1:9001" }] } }\n';

async function run(argv: string[], options: { environment?: Record<string, string>; directory?: string } = {}) {
  let out = '';
  let error = '';
  const status = await runCommandLine(argv, {
    out: (text) => {
      out += text;
    },
    error: (text) => {
      error += text;
    },
    environment: options.environment ?? {},
    directory: options.directory ?? '/',
  });
  return { status, out, error };
}

describe('evenkeel check', () => {
  it('says of a good document what it holds and exits 0', async () => {
    await using directory = await temporaryDirectory('cli');
    const file = await directory.write('a.yaml', good);
    const { status, out, error } = await run(['check', '-c', file]);
    expect({ status, error }).toEqual({ status: Exit.DONE, error: '' });
    expect(out).toMatch(new RegExp(`^${file} is good: 1 listener, 1 route, 1 pool; version [0-9a-f]{12}\\n$`));
  });

  it('prints every problem as FILE:LINE:COLUMN  path  message on stderr and exits 78', async () => {
    await using directory = await temporaryDirectory('cli');
    const file = await directory.write('a.yaml', `${good}runtime: { workers: none, drian: 5s }\n`);
    const { status, out, error } = await run(['check', '--config', file]);
    expect({ status, out }).toEqual({ status: Exit.CONFIG, out: '' });
    expect(error.split('\n')).toEqual([
      expect.stringMatching(new RegExp(`^${file}:3:21 {2}runtime\\.workers {2}\\S.*; write `)),
      expect.stringMatching(new RegExp(`^${file}:3:27 {2}runtime\\.drian {2}unknown key; did you mean "drain"\\?$`)),
      '',
    ]);
  });

  it('takes evenkeel.yaml, then config/evenkeel.yaml, of the working directory', async () => {
    await using directory = await temporaryDirectory('cli');
    const options = { directory: directory.path };
    const none = await run(['check'], options);
    expect(none.status).toBe(Exit.CONFIG);
    expect(none.error).toMatch(/\/evenkeel\.yaml:0:0 .*no such file; name one with -c FILE/);
    await directory.write('config/evenkeel.yaml', good);
    expect((await run(['check'], options)).out).toContain('/config/evenkeel.yaml is good');
    await directory.write('evenkeel.yaml', good);
    expect((await run(['check'], options)).out).toContain(`${directory.path}/evenkeel.yaml is good`);
  });

  it('reads variables from the environment', async () => {
    await using directory = await temporaryDirectory('cli');
    const file = await directory.write('a.yaml', `${good}admin:\n  token: \${EVENKEEL_TOKEN}\n`);
    expect((await run(['check', '-c', file])).error).toContain('the environment has no EVENKEEL_TOKEN');
    expect((await run(['check', '-c', file], { environment: { EVENKEEL_TOKEN: 't' } })).status).toBe(Exit.DONE);
  });
});

describe('evenkeel list', () => {
  it.each([
    ['schedulers', 'response-time', 'decay'],
    ['registries', 'consul', 'address'],
    ['probes', 'http', 'interval'],
    ['middleware', 'redirect', 'status'],
  ])('shows %s with their options and defaults', async (what, kind, option) => {
    const { status, out } = await run(['list', what]);
    expect(status).toBe(Exit.DONE);
    expect(out).toMatch(new RegExp(`^${kind}\\n {2}\\S.*\\n[^]*^ {4}${option} +\\S+ {2,}\\S`, 'm'));
  });

  it('marks an option that has no default and is needed', async () => {
    expect((await run(['list', 'middleware'])).out).toMatch(/^ {4}to +required {2}/m);
  });

  it('prints JSON with --json', async () => {
    const kinds = JSON.parse((await run(['list', 'schedulers', '--json'])).out);
    expect(kinds).toContainEqual(
      expect.objectContaining({
        kind: 'response-time',
        summary: expect.any(String),
        options: expect.objectContaining({ type: 'object' }),
      }),
    );
  });
});

describe('evenkeel schema', () => {
  it('prints a JSON Schema of the whole document', async () => {
    const { status, out } = await run(['schema']);
    expect(status).toBe(Exit.DONE);
    const schema = JSON.parse(out);
    expect(schema.$schema).toContain('json-schema.org');
    expect(Object.keys(schema.properties)).toEqual(['runtime', 'admin', 'log', 'registries', 'listeners', 'pools']);
  });
});

describe('usage', () => {
  it.each([
    [['bogus']],
    [[]],
    [['list']],
    [['list', 'nothing']],
    [['check', '-c']],
    [['check', '--bogus']],
    [['check', 'extra']],
    [['run', '--name', 'a/b']],
    [['run', '--name', '../head']],
    [['config', 'push', 'x', '-c', 'file:///none', '--onto', 'x']],
    [['config', 'push', 'x', '-c', 'file:///none', '--stage', '1st,..']],
    [['config', 'history', '-c', 'file:///none', '--limit', 'ten']],
  ])('%j is wrong and exits 2 with a word on stderr', async (argv) => {
    const { status, out, error } = await run(argv);
    expect({ status, out }).toEqual({ status: Exit.USAGE, out: '' });
    expect(error).not.toBe('');
  });

  it.each([[['--help']], [['help']], [['check', '--help']], [['--version']]])('%j exits 0', async (argv) => {
    const { status, out } = await run(argv);
    expect(status).toBe(Exit.DONE);
    expect(out).not.toBe('');
  });
});

describe('the program', () => {
  it('ends with the status of its command', async () => {
    await using directory = await temporaryDirectory('cli');
    const file = await directory.write('a.yaml', 'listeners: 5');
    const check = await runProcess(process.execPath, [main, 'check', '-c', file]);
    expect(check).toMatchObject({
      code: Exit.CONFIG,
      stderr: expect.stringContaining(`${file}:1:12  listeners  found 5; write a list`),
    });
    expect(await runProcess(process.execPath, [main, 'bogus'])).toMatchObject({ code: Exit.USAGE });
  });

  it('starts nothing on a bad document: run exits 78', async () => {
    await using directory = await temporaryDirectory('cli');
    const file = await directory.write('a.yaml', 'listeners: 5');
    expect(await runProcess(process.execPath, [main, 'run', '-c', file])).toMatchObject({
      code: Exit.CONFIG,
      stdout: '',
    });
  });

  it('does not mind a reader that goes away', async () => {
    const child = spawn(process.execPath, [main, 'schema'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let error = '';
    child.stderr.on('data', (data) => {
      error += data;
    });
    const [code] = await once(child, 'exit');
    expect({ code, error }).toEqual({ code: 0, error: '' });
  });

  it('runs by its bin, from the sources of a checkout that was not built', async () => {
    const { code, stdout } = await runProcess(process.execPath, [bin, '--version']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
  });

  it.each(['22.99.0', '26.9.9', '20.20.2'])('says in one line that Node %s is too old and exits 1', async (version) => {
    const pretend = `data:text/javascript,Object.defineProperty(process,'versions',{value:{node:'${version}'}})`;
    expect(await runProcess(process.execPath, ['--import', pretend, bin, 'check'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: `evenkeel needs Node 26.10 or newer; this is Node ${version}\n`,
    });
  });

  it('has a bin that every old Node can read', async () => {
    const { readFile } = await import('node:fs/promises');
    const text = (await readFile(bin, 'utf8')).replaceAll(/\/\*.*?\*\//gs, '');
    expect(text).not.toMatch(/=>|\b(const|let|await|async|class)\b|`|\?\?|\?\.|node:/);
  });
});

describe('evenkeel registry', () => {
  it('serves the registry alone until SIGTERM, then exits 0', async () => {
    const ready = /ready: (http:\/\/\S+)/;
    await using registry = await startProcess(
      process.execPath,
      [main, 'registry', '--bind', '127.0.0.1:0', '--no-data'],
      { ready },
    );
    const [, url] = ready.exec(registry.stdout)!;
    const asked = request(`${url}/v1/catalog/services`).end();
    const [response] = await once(asked, 'response');
    response.resume();
    expect(response.statusCode).toBe(200);
    registry.kill('SIGTERM');
    expect(await registry.exited).toEqual({ code: 0, signal: null });
  });

  it('exits 1 when the address cannot be had', async () => {
    const ready = /ready: http:\/\/(\S+)/;
    await using registry = await startProcess(
      process.execPath,
      [main, 'registry', '--bind', '127.0.0.1:0', '--no-data'],
      { ready },
    );
    const [, address] = ready.exec(registry.stdout)!;
    expect(await runProcess(process.execPath, [main, 'registry', '--bind', address, '--no-data'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`cannot listen on ${address}`),
    });
  });
});
