import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { cases } from '../../../bench/compare/cases.ts';
import { reportCase } from '../../../bench/compare/report.ts';
import type { Sample } from '../../../bench/compare/rounds.ts';
import { cpuSeconds, processTree } from '../../../bench/rig/process-tree.ts';
import { quantile } from '../../../bench/rig/statistics.ts';
import { eventually } from '../../helpers/eventually.ts';
import { startProcess } from '../../helpers/processes.ts';

const run = promisify(execFile);
const sample = (cpuMicros: number): Sample => ({
  cpuMicros,
  requestsPerSecond: 1,
  p50Ms: 1,
  p99Ms: 1,
  errors: 0,
  rssMib: 1,
  idleKib: Number.NaN,
});

describe('bench:compare', () => {
  it('takes ratios round by round, so that a round in which everything was slow says nothing', () => {
    const samples = new Map([
      ['nginx', [10, 100, 10].map(sample)],
      ['evenkeel', [12, 120, 13].map(sample)],
    ]);
    const report = reportCase(cases[0], samples, []);
    expect(report.rows.map(({ peer, cpuRatio }) => [peer, cpuRatio])).toEqual([
      ['nginx', 1],
      ['evenkeel', 1.2],
    ]);
  });

  it('interpolates quantiles and leaves out what was not measured', () => {
    expect(quantile([4, 1, Number.NaN, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([], 0.5)).toBeNaN();
  });

  it('counts the CPU time of the processes that a process started', async () => {
    const burn = "process.stdout.write('burning\\n'); for (;;);";
    const parent = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(burn)}], { stdio: 'inherit' })`;
    await using started = await startProcess(process.execPath, ['-e', parent], { ready: /burning/ });
    const tree = processTree(started.pid);
    expect(tree.length).toBe(2);
    const before = cpuSeconds(tree);
    await eventually(() => cpuSeconds(tree) - before >= 0.2, { timeoutMs: 10_000 });
  });

  it('counts latency from the moment a request was meant to be sent', async () => {
    let answered = 0;
    const server = createServer((_request, response) => {
      // One stall for everybody: whoever was due meanwhile waited, though it was sent only afterwards.
      if (++answered === 150) {
        const until = performance.now() + 400;
        while (performance.now() < until);
      }
      response.end('0123456789');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const client = new URL('../../../bench/compare/load/open-loop-client.ts', import.meta.url).pathname;
      const { port } = server.address() as AddressInfo;
      const { stdout } = await run(process.execPath, [client, String(port), '200', '2', '2', '/']);
      const result = JSON.parse(stdout);
      expect(result).toMatchObject({ requests: 400, errors: 0 });
      // 80 of the 320 counted requests were due during the stall; a client that waits for answers would have sent 2.
      expect(result.p99Ms).toBeGreaterThan(350);
      expect(result.p50Ms).toBeLessThan(200);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});
