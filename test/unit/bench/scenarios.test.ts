import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { BIN_MS, type EndpointReport, healthy } from '../../../bench/scenarios/behaviour.ts';
import { chart } from '../../../bench/scenarios/chart.ts';
import { DueHeap } from '../../../bench/scenarios/due-heap.ts';
import { Endpoints } from '../../../bench/scenarios/endpoints.ts';
import { LOST, Records } from '../../../bench/scenarios/load-plan.ts';
import { markdown } from '../../../bench/scenarios/report.ts';
import { makeScenarios } from '../../../bench/scenarios/scenarios.ts';
import { type Summary, summarise } from '../../../bench/scenarios/summary.ts';
import { misses, type Result, type WindowReport } from '../../../bench/scenarios/verdict.ts';
import { seededRandom } from '../../../src/base/random.ts';
import { eventually } from '../../helpers/eventually.ts';

const execute = promisify(execFile);
const windows = makeScenarios(4000).flatMap((scenario) => scenario.windows);
const windowOf = (name: string) => windows.find((window) => window.name === name)!;
const quiet: EndpointReport = { sinceMs: 0, arrivals: [[], [], [], [], []], latenessP99Ms: 0.1 };

function recordsOf(rows: readonly (readonly [meantMs: number, latencyMs: number, status: number, lateMs?: number])[]) {
  const records = new Records(rows.length);
  for (const [meantMs, latencyMs, status, lateMs = 0] of rows)
    records.answered(records.add(meantMs, lateMs), latencyMs, status);
  return records;
}

const summary: Summary = {
  ...{ requests: 1000, p50Ms: 3, p99Ms: 20, p999Ms: 30, errors: 0, errorsBy: {}, share: 0.2, fairAgainMs: 1000 },
  ...{ goodput: 1, overSecond: 0, lateP99Ms: 0.2, lateP999Ms: 1, isSound: true },
};
const peer: Result = { subject: 'nginx least_conn', proxy: 'nginx', judged: null, summary };
const own = (change: Partial<Summary>): Result => ({
  ...{ subject: 'evenkeel response-time', proxy: 'evenkeel', judged: 'plain' },
  summary: { ...summary, ...change },
});
const reportOf = (name: string, ...results: Result[]): WindowReport => ({
  ...{ window: windowOf(name), results, skipped: [] },
});

describe('bench:scenarios', () => {
  it('counts a request where it was meant to be sent, and what had no answer as never', () => {
    const inside = Array.from({ length: 998 }, (_, i) => [2000 + i, 5, 200] as const);
    const rows = [[1999, 900, 200], ...inside, [3000, 70, 502], [3001, Infinity, LOST], [6000, 900, 200]] as const;
    const found = summarise(windowOf('silence'), 0, recordsOf(rows), quiet);
    expect(found).toMatchObject({ requests: 1000, errors: 2, errorsBy: { 502: 1, lost: 1 }, p50Ms: 5, p999Ms: 70 });
  });

  it('does not count the refused of an overload as slow or fast, but as not served', () => {
    const rows = Array.from({ length: 100 }, (_, i) => [2000 + i, i < 50 ? 1 : 80, i < 50 ? 503 : 200] as const);
    const found = summarise(windowOf('overload'), 0, recordsOf(rows), quiet);
    expect(found.p50Ms).toBe(80);
    expect(found.goodput).toBeCloseTo(50 / (1250 * 4), 6);
  });

  it('doubts what was measured while the sender or the endpoints were late', () => {
    const rows = (lateMs: number) => Array.from({ length: 100 }, (_, i) => [2000 + i, 5, 200, lateMs] as const);
    const healthyWindow = windowOf('healthy');
    expect(summarise(healthyWindow, 0, recordsOf(rows(0.3)), quiet).isSound).toBe(true);
    expect(summarise(healthyWindow, 0, recordsOf(rows(3)), quiet).isSound).toBe(false);
    expect(summarise(healthyWindow, 0, recordsOf(rows(0.3)), { ...quiet, latenessP99Ms: 4 }).isSound).toBe(false);
  });

  it('judges what was measured late by what holds all the same', () => {
    const slower = reportOf('slower', peer);
    expect(misses(slower, own({ isSound: false, p99Ms: 29 }))).toEqual([]);
    expect(misses(slower, own({ isSound: false, p99Ms: 31 }))[0]).toMatch(/p99 31 > 30 \(not judged/);
    const latePeer = { ...peer, summary: { ...summary, isSound: false } };
    expect(misses(reportOf('healthy', latePeer), own({}))[0]).toContain('not judged');
  });

  it('finds when an endpoint has its fair share again', () => {
    const window = windowOf('recovered');
    const arrivals = Array.from({ length: 5 }, (_, endpoint) =>
      Array.from({ length: 200 }, (_, bin) => (endpoint > 0 || bin * BIN_MS >= window.fromMs + 1500 ? 24 : 0)),
    );
    const report = { ...quiet, arrivals };
    // 75 % of a fifth over one second: 0.7 of a second at a full share after 1.5 s of nothing.
    expect(summarise(window, 0, recordsOf([[window.fromMs, 1, 200]]), report).fairAgainMs).toBe(2300);
  });

  it('names the target that does not hold, and compares with the best peer', () => {
    const slower = reportOf('slower', peer);
    expect(misses(slower, own({ p99Ms: 29, p999Ms: 119 }))).toEqual([]);
    expect(misses(slower, own({ p99Ms: 31, p999Ms: 119 }))).toEqual(['slower, evenkeel response-time: p99 31 > 30']);
    expect(misses(slower, peer)).toEqual([]);
    expect(misses(reportOf('healthy', peer), own({ p99Ms: 22 }))).toEqual([]);
    expect(misses(reportOf('healthy', peer), own({ p99Ms: 24 }))).toHaveLength(1);
    expect(misses(reportOf('recovered', peer), own({ fairAgainMs: Infinity }))[0]).toContain('fair again');
  });

  it('draws and tabulates every window, with what was never answered', () => {
    const reports = windows.map((window) => ({
      window,
      results: [peer, own({ p999Ms: Infinity, errors: 3 })],
      skipped: [],
    }));
    const drawn = chart(reports, ['a & b']);
    expect(drawn.match(/<g transform/g)).toHaveLength(windows.length);
    expect(drawn).not.toMatch(/NaN|Infinity/);
    expect(drawn).toContain('a &amp; b');
    const table = markdown(reports, [], ['a miss']);
    for (const { title } of windows) expect(table).toContain(`## ${title}`);
    expect(table).toContain('20 / never, 3 errors');
  });

  it('takes what is due in the order of time', () => {
    const heap = new DueHeap<number>();
    const random = seededRandom(3);
    const taken: number[] = [];
    for (let i = 0; i < 500; i++) {
      const due = random();
      heap.push(due, due);
      if (i % 3 === 2) expect(heap.nextMs).toBe(heap.pop());
    }
    while (heap.nextMs < Infinity) taken.push(heap.pop());
    expect(taken).toEqual(taken.toSorted((a, b) => a - b));
    expect(taken).toHaveLength(500 - 166);
  });

  it('has endpoints that fail, keep silent, die and come back on the same port', async () => {
    await using endpoints = await Endpoints.start(1, '127.0.0.1', 1);
    const url = `http://${endpoints.addresses[0]}/`;
    const status = (timeoutMs = 5000) =>
      fetch(url, { signal: AbortSignal.timeout(timeoutMs) }).then((response) => response.status);
    expect(await status()).toBe(200);
    await endpoints.tell({ act: 'behave', indexes: [0], behaviour: { ...healthy, meanMs: 1, answers: 'error' } });
    expect(await status()).toBe(500);
    await endpoints.tell({ act: 'behave', indexes: [0], behaviour: { ...healthy, answers: 'silence' } });
    await expect(status(300)).rejects.toThrow('timeout');
    await endpoints.tell({ act: 'become', indexes: [0], state: 'killed' });
    await expect(status()).rejects.toThrow('fetch failed');
    await endpoints.tell({ act: 'behave', indexes: [0], behaviour: healthy });
    await endpoints.tell({ act: 'become', indexes: [0], state: 'up' });
    await eventually(async () => (await status().catch(() => 0)) === 200);
    const { arrivals } = await endpoints.report();
    expect(arrivals[0].reduce((sum: number, count) => sum + (count ?? 0), 0)).toBe(4);
  });

  it('sends at Poisson times whatever becomes of earlier requests, and notes a lost one', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'evenkeel-load-'));
    // Hangs up on every request.
    const server = createServer((socket) => void socket.on('error', () => {}).on('data', () => socket.destroy()));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const file = join(directory, 'records');
      const { port } = server.address() as AddressInfo;
      const plan = {
        host: '127.0.0.1',
        port,
        warmUp: { rate: 100, seconds: 0.1 },
        rate: 400,
        seconds: 1,
        seed: 9,
        keys: 3,
        file,
      };
      const program = new URL('../../../bench/scenarios/load-program.ts', import.meta.url).pathname;
      await execute(process.execPath, [program, JSON.stringify(plan)]);
      const records = new Records(await readFile(file));
      expect(records.count).toBeGreaterThan(300);
      expect(records.count).toBeLessThan(500);
      const gaps = Array.from({ length: records.count - 1 }, (_, i) => records.meantMs(i + 1) - records.meantMs(i));
      const long = gaps.filter((gap) => gap > 2.5).length / gaps.length;
      // e^-1 of the gaps are longer than their mean.
      expect(long).toBeGreaterThan(0.28);
      expect(long).toBeLessThan(0.46);
      for (let i = 0; i < records.count; i++) expect(records.status(i)).toBe(LOST);
    } finally {
      server.close();
      await rm(directory, { recursive: true });
    }
  });
});
