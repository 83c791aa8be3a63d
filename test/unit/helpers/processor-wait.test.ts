import { describe, expect, it } from 'vitest';
import { eventually } from '../../helpers/eventually.ts';
import { findProgram, startProcess } from '../../helpers/processes.ts';
import { processorWait, stopwatch } from '../../helpers/processor-wait.ts';

const taskset = process.platform === 'linux' ? findProgram('taskset') : null;

describe('what a machine makes a process wait for a processor', () => {
  it.skipIf(taskset === null)('counts while two want the same one, and is no part of a time', async () => {
    const spin = ['-c', '0', 'sh', '-c', 'while :; do :; done'];
    await using one = await startProcess(taskset!, spin);
    await using _other = await startProcess(taskset!, spin);
    const started = performance.now();
    const [waited, ownMs] = [processorWait(one.pid), stopwatch(one.pid)];
    await eventually(() => waited() > 200);
    expect(ownMs()).toBeLessThan(performance.now() - started - 200);
  });

  it('is nothing of a process that is gone', () => {
    const [alone, withGone] = [processorWait(), processorWait(2 ** 30)];
    expect(withGone()).toBeLessThanOrEqual(alone() + 50);
  });
});
