import { type BarGroup, barChart } from '../rig/bars.ts';
import { type CommonFigures, figuresOf, medianOf } from '../rig/figures.ts';
import { fixed } from '../rig/words.ts';
import type { L4Case } from './cases.ts';
import type { L4Sample, L4Samples } from './rounds.ts';

/** One row of the table: a peer in a case. */
export interface L4Row extends CommonFigures {
  readonly perSecond: number;
  readonly loadBusy: number;
}

export interface L4Report {
  readonly name: string;
  readonly title: string;
  readonly kind: L4Case['kind'];
  readonly unit: L4Case['unit'];
  /** What makes the load, and what answers it. */
  readonly load: string;
  readonly baseline: string;
  readonly target: number;
  /** Whether evenkeel keeps the target; null when it, or the baseline, did not take part. */
  readonly holds: boolean | null;
  readonly rows: readonly L4Row[];
  /** Peers that did not take part, with the reason. */
  readonly skipped: readonly string[];
}

/** From so busy a core on, load and origins may be what limits the figures per second; CPU time is that of the proxy all the same. */
const SATURATED = 0.95;

export function reportL4(one: L4Case, samples: L4Samples, load: string, skipped: readonly string[]): L4Report {
  const { name, title, kind, unit, baseline, target } = one;
  const rows = [...samples].map(([peer, own]) => row(peer, own, samples.get(baseline) ?? []));
  const evenkeel = rows.find(({ peer }) => peer === 'evenkeel');
  const figure = (kind === 'idle' ? evenkeel?.idleKib : evenkeel?.cpuRatio) ?? Number.NaN;
  const holds = Number.isNaN(figure) ? null : figure <= target;
  return { name, title, kind, unit, load, baseline, target, holds, rows, skipped };
}

function row(peer: string, own: readonly L4Sample[], baseline: readonly L4Sample[]): L4Row {
  return {
    ...figuresOf(peer, own, baseline),
    perSecond: medianOf(own, 'perSecond'),
    loadBusy: medianOf(own, 'loadBusy'),
  };
}

/** The report of one case as text. */
export function formatL4({ title, name, kind, unit, load, baseline, target, holds, rows, skipped }: L4Report): string {
  const lines = [`\n${title} (${name}; ${kind === 'idle' ? load : `${load}; ratios to ${baseline}, round by round`})`];
  if (kind === 'idle') {
    lines.push(line(['', `KiB/${unit}`, 'RSS MiB']));
    for (const { peer, idleKib, rssMib } of rows) lines.push(line([peer, fixed(idleKib, 1), fixed(rssMib, 0)]));
  } else {
    const words = ['ratio', 'quartiles', `${unit}s/s`, 'p50 ms', 'p99 ms', 'RSS MiB', 'load core', 'errors'];
    lines.push(line(['', `µs CPU/${unit}`, ...words]));
    for (const one of rows) lines.push(line(cells(one)));
  }
  const limited = rows.filter(({ loadBusy }) => loadBusy >= SATURATED).map(({ peer }) => peer);
  if (limited.length > 0) lines.push(`  the core of load and origins was saturated with ${limited.join(', ')}`);
  if (holds !== null) lines.push(`  at most ${target}${kind === 'idle' ? ' KiB' : ''}: ${holds ? 'holds' : 'MISSED'}`);
  for (const reason of skipped) lines.push(`  left out: ${reason}`);
  return lines.join('\n');
}

function cells(one: L4Row): string[] {
  const [low, high] = one.cpuRatioQuartiles;
  return [
    one.peer,
    fixed(one.cpuMicros, 1),
    fixed(one.cpuRatio, 2),
    `${fixed(low, 2)}–${fixed(high, 2)}`,
    fixed(one.perSecond, 0),
    fixed(one.p50Ms, 2),
    fixed(one.p99Ms, 2),
    fixed(one.rssMib, 0),
    `${fixed(one.loadBusy * 100, 0)} %`,
    String(one.errors),
  ];
}

/** CPU time by case and peer, and memory, as bars: all in terms of the baseline. */
export function chartL4(reports: readonly L4Report[], notes: readonly string[]): string {
  const groups = reports.map(({ title, kind, unit, baseline, target, rows }): BarGroup => {
    const idle = rows.find(({ peer }) => peer === baseline)?.idleKib ?? Number.NaN;
    const ratioOf = (one: L4Row) => (kind === 'idle' ? one.idleKib / idle : one.cpuRatio);
    const figureOf = (one: L4Row) =>
      kind === 'idle' ? `${one.idleKib.toFixed(1)} KiB` : `${one.cpuMicros.toFixed(1)} µs/${unit}`;
    return {
      title: `${title} — ${baseline} = 1; at most ${target}${kind === 'idle' ? ' KiB' : ''}`,
      bars: rows.map((one) => {
        const value = ratioOf(one);
        return { name: one.peer, value, figure: `${fixed(value, 2)}  (${figureOf(one)})` };
      }),
    };
  });
  return barChart('TCP and UDP: CPU time and memory (shorter is better)', notes, groups);
}

const line = (words: readonly string[]) =>
  `  ${words.map((word, i) => (i === 0 ? word.padEnd(11) : word.padStart(i === 1 ? 18 : 14))).join('')}`;
