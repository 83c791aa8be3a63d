import { execFile } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { cases } from '../../../bench/l4/cases.ts';
import { chartL4, formatL4, reportL4 } from '../../../bench/l4/report.ts';
import type { L4Sample } from '../../../bench/l4/rounds.ts';
import { busyShare, coreTicks } from '../../../bench/rig/core-ticks.ts';
import { takeTurns } from '../../../bench/rig/turns.ts';

const run = promisify(execFile);
const [exchange] = cases;
const idle = cases.find(({ kind }) => kind === 'idle')!;
const sample = (change: Partial<L4Sample>): L4Sample => ({
  ...{ cpuMicros: Number.NaN, perSecond: 1, p50Ms: 1, p99Ms: 1, errors: 0, loadBusy: 0.5, rssMib: 1 },
  ...{ idleKib: Number.NaN },
  ...change,
});
const busy = (cpuMicros: number, loadBusy = 0.5) => sample({ cpuMicros, loadBusy });

describe('bench:l4', () => {
  it('judges evenkeel by the median of the ratios within rounds', () => {
    const samples = (last: number) =>
      new Map([
        ['evenkeel', [11, 110, last].map((micros) => busy(micros))],
        ['haproxy', [10, 100, 10].map((micros) => busy(micros))],
      ]);
    const good = reportL4(exchange, samples(30), 'wrk', []);
    expect(good.rows.map(({ peer, cpuRatio }) => [peer, cpuRatio])).toEqual([
      ['evenkeel', 1.1],
      ['haproxy', 1],
    ]);
    expect([good.holds, formatL4(good).includes('at most 1.15: holds')]).toEqual([true, true]);
    const bad = reportL4({ ...exchange, target: 1.05 }, samples(30), 'wrk', []);
    expect([bad.holds, formatL4(bad).includes('at most 1.05: MISSED')]).toEqual([false, true]);
  });

  it('judges nothing without the peer that is the measure', () => {
    const report = reportL4(exchange, new Map([['evenkeel', [busy(10)]]]), 'wrk', ['haproxy is not installed']);
    expect(report.holds).toBeNull();
    expect(formatL4(report)).toContain('left out: haproxy is not installed');
  });

  it('judges idle relays by their memory, and draws them beside the others', () => {
    const memory = (idleKib: number) => [sample({ idleKib })];
    const report = reportL4(
      idle,
      new Map([
        ['evenkeel', memory(idle.target + 0.1)],
        ['haproxy', memory(10)],
      ]),
      'wrk',
      [],
    );
    expect(report.holds).toBe(false);
    const drawn = chartL4([report], ['a & b']);
    expect(drawn).toContain('12.1 KiB');
    expect(drawn).toContain('a &amp; b');
    expect(drawn).not.toMatch(/NaN|Infinity/);
  });

  it('says when the core of the load was saturated', () => {
    const samples = new Map([
      ['evenkeel', [busy(10, 0.99)]],
      ['haproxy', [busy(10, 0.6)]],
    ]);
    const text = formatL4(reportL4(exchange, samples, 'wrk', []));
    expect(text).toContain('saturated with evenkeel\n');
    const ticks = (text: string) =>
      coreTicks(1, `cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 ${text} 0 0\n`);
    expect(busyShare(ticks('10 0 10 100 20 0 5 0'), ticks('40 0 30 120 30 5 10 5'))).toBeCloseTo(65 / 95);
  });

  it('lets each entrant begin a round', async () => {
    const order: string[] = [];
    const found = await takeTurns([{ name: 'a' }, { name: 'b' }], 3, async ({ name }, round) => {
      order.push(name);
      return round;
    });
    expect(order.join('')).toBe('abbaab');
    expect([...found]).toEqual([
      ['a', [0, 1, 2]],
      ['b', [0, 1, 2]],
    ]);
  });

  it('counts what is answered by UDP, and what is not', async () => {
    let asked = 0;
    const server: Socket = createSocket('udp4', (bytes, from) => {
      asked++;
      // Its first datagram is lost to every client.
      if (asked > 2) server.send(bytes, from.port, from.address);
    });
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    try {
      const program = new URL('../../../bench/l4/udp-clients.ts', import.meta.url).pathname;
      const { stdout } = await run(process.execPath, [program, String(server.address().port), '1', '2']);
      const { requests, errors } = JSON.parse(stdout);
      expect(errors).toBe(2);
      expect(requests).toBeGreaterThan(100);
      // At the end one of each client may be on its way.
      expect(asked - 2 - requests).toBeGreaterThanOrEqual(0);
      expect(asked - 2 - requests).toBeLessThanOrEqual(2);
    } finally {
      server.close();
    }
  });
});
