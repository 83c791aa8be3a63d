import { beforeAll, describe, expect, it } from 'vitest';
import { type ChaosReport, lossesOf, runChaos, tableOf } from '../chaos/run-chaos.ts';

/** The short form of `bench/chaos.ts`. */
describe('while everything changes at once', () => {
  let report: ChaosReport;

  const doneIn = (name: string, what: string) =>
    report.phases.find((phase) => phase.name === name)?.done.get(what) ?? 0;

  beforeAll(async () => {
    report = await runChaos({
      seconds: 7,
      workers: 2,
      rate: 60,
      downloadMiB: 10,
      kills: 1,
      stalls: false,
      upgrades: 6,
    });
  }, 120_000);

  it('reloads, worker restarts, upgrades, endpoint drains and endpoint restarts have happened', () => {
    for (const what of ['reloads', 'worker restarts', 'upgrades', 'endpoint drains', 'endpoint restarts'])
      expect(doneIn('changes', what), `${what}\n${tableOf(report)}`).toBeGreaterThan(0);
  });

  it('no request, no WebSocket and no download is lost', () => {
    expect(lossesOf(report), tableOf(report)).toEqual([]);
    for (const { tallies } of report.phases) for (const { begun } of tallies) expect(begun).toBeGreaterThan(0);
  });

  it('no worker dies of it', () => {
    expect(report.deaths).toBe(0);
  });

  it('a worker that is killed costs what it had in hand, and no more', () => {
    expect(doneIn('workers killed', 'worker kills')).toBeGreaterThan(0);
    const { done, tallies } = report.phases.at(-1)!;
    const perKill = 60;
    for (const tally of tallies) {
      expect(tally.losses, tableOf(report)).toBeLessThanOrEqual(perKill * done.get('worker kills')!);
      expect(tally.answered).toBeGreaterThan(0);
    }
  });
});
