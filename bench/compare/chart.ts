import { barChart } from '../rig/bars.ts';
import type { CaseReport } from './report.ts';

/** CPU per request by case and peer as bars. */
export function chart(reports: readonly CaseReport[], notes: readonly string[]): string {
  const groups = reports
    .filter(({ kind }) => kind !== 'idle')
    .map(({ title, baseline, rows }) => ({
      title: `${title} — ${baseline} = 1`,
      bars: rows.map(({ peer, cpuRatio, cpuMicros }) => ({
        name: peer,
        value: cpuRatio,
        figure: `${cpuRatio.toFixed(2)}  (${cpuMicros.toFixed(1)} µs)`,
      })),
    }));
  return barChart('CPU time per request (shorter is better)', notes, groups);
}
