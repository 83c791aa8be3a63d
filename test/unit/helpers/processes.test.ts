import { describe, expect, it } from 'vitest';
import { eventually } from '../../helpers/eventually.ts';
import { freePorts } from '../../helpers/ports.ts';
import { findProgram, runProcess, startProcess } from '../../helpers/processes.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

const node = process.execPath;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe('the process helper', () => {
  it('waits for the ready line', async () => {
    await using running = await startProcess('sh', ['-c', 'echo starting; echo listening on 8080 >&2; sleep 60'], {
      ready: /listening on \d+/,
    });
    expect(running.stdout).toBe('starting\n');
    expect((await running.waitFor(/on (\d+)/))[1]).toBe('8080');
  });

  it('says what a program wrote that ended before it was ready', async () => {
    const failed = startProcess('sh', ['-c', 'echo the port is busy >&2; exit 3'], { ready: 'ready' });
    await expect(failed).rejects.toThrow(/ended before.*\n(.*\n)*the port is busy/);
  });

  it('says so when a program is not ready in time, and ends it', async () => {
    await using directory = await temporaryDirectory();
    const script = `echo $$ > ${directory.path}/pid; exec sleep 60`;
    await expect(startProcess('sh', ['-c', script], { ready: 'ready', timeoutMs: 300 })).rejects.toThrow(
      /did not print/,
    );
    const { stdout } = await runProcess('cat', [`${directory.path}/pid`]);
    expect(isAlive(Number(stdout))).toBe(false);
  });

  it('rejects when there is no such program', async () => {
    await expect(startProcess('/nowhere/program', [])).rejects.toThrow('ENOENT');
  });

  it('ends a program and its children, also one that ignores SIGTERM', async () => {
    const running = await startProcess('sh', ['-c', `trap '' TERM; sleep 60 & echo child $!; wait; wait`]);
    const child = Number((await running.waitFor(/child (\d+)/))[1]);
    const exit = await running.stop(100);
    expect(exit.signal).toBe('SIGKILL');
    await eventually(() => !isAlive(child));
  });

  it('ends children that outlived their program', async () => {
    const running = await startProcess('sh', ['-c', 'sleep 60 >/dev/null 2>&1 & echo child $!']);
    await running.exited;
    const child = Number(/child (\d+)/.exec(running.stdout)?.[1]);
    expect(isAlive(child)).toBe(true);
    await running.stop();
    await eventually(() => !isAlive(child));
  });

  it('leaves nothing behind when the process that started it just exits', async () => {
    await using directory = await temporaryDirectory();
    const helper = new URL('../../helpers/processes.ts', import.meta.url);
    const script = await directory.write(
      'leak.ts',
      `import { startProcess } from '${helper}';
const running = await startProcess('sleep', ['60']);
console.log(running.pid);
process.exit(0);`,
    );
    const { stdout } = await runProcess(node, [script]);
    expect(Number(stdout)).toBeGreaterThan(1);
    await eventually(() => !isAlive(Number(stdout)));
  });

  it('runs a program to its end', async () => {
    const run = await runProcess('sh', ['-c', 'echo out; echo "$WORD" >&2; exit 7'], {
      env: { WORD: 'err', PATH: '/bin' },
    });
    expect(run).toEqual({ code: 7, signal: null, stdout: 'out\n', stderr: 'err\n' });
  });

  it('ends a program that runs too long', async () => {
    await expect(runProcess('sleep', ['60'], { timeoutMs: 100 })).rejects.toThrow(/did not end within 100 ms/);
  });

  it('finds programs', () => {
    expect(findProgram('sh')).toMatch(/^\/.*\/sh$/);
    expect(findProgram('no-such-program-anywhere')).toBeNull();
  });
});

describe('the port helper', () => {
  it('gives different ports', async () => {
    expect(new Set(await freePorts(20)).size).toBe(20);
  });
});
