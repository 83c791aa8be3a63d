import { readFileSync } from 'node:fs';

/** What a core has done since the machine started, in clock ticks. */
export interface CoreTicks {
  readonly busy: number;
  readonly all: number;
}

/** As /proc/stat says it (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal. Strangers on the same core count. */
export function coreTicks(core: number, stat = readFileSync('/proc/stat', 'utf8')): CoreTicks {
  const fields = new RegExp(`^cpu${core} (.*)$`, 'm').exec(stat)?.[1].split(' ').slice(0, 8).map(Number) ?? [];
  const all = fields.reduce((sum, ticks) => sum + ticks, 0);
  return { all, busy: all - fields[3] - fields[4] };
}

/** The share of the time between that a core was busy, 0…1; NaN where nothing is known of it. */
export function busyShare(before: CoreTicks, after: CoreTicks): number {
  return (after.busy - before.busy) / (after.all - before.all);
}
