import { type CommonFigures, figuresOf, medianOf, ratiosOf } from '../rig/figures.ts';
import { median } from '../rig/statistics.ts';
import { fixed } from '../rig/words.ts';
import type { Case } from './cases.ts';
import type { Sample, Samples } from './rounds.ts';

/** One row of the table: a peer in a case. */
export interface Row extends CommonFigures {
  readonly requestsPerSecond: number;
  readonly p99Ratio: number;
}

export interface CaseReport {
  readonly name: string;
  readonly title: string;
  readonly kind: Case['kind'];
  /** The peer that ratios are taken to. */
  readonly baseline: string;
  readonly rows: readonly Row[];
  /** Peers that did not take part, with the reason. */
  readonly skipped: readonly string[];
}

/** Ratios are taken to nginx where it takes part, else to the first peer. */
export function reportCase(one: Case, samples: Samples, skipped: readonly string[]): CaseReport {
  const baseline = samples.has('nginx') ? 'nginx' : [...samples.keys()][0];
  const rows = [...samples].map(([peer, own]) => row(peer, own, samples.get(baseline) ?? own));
  return { name: one.name, title: one.title, kind: one.kind, baseline, rows, skipped };
}

function row(peer: string, own: readonly Sample[], baseline: readonly Sample[]): Row {
  return {
    ...figuresOf(peer, own, baseline),
    requestsPerSecond: medianOf(own, 'requestsPerSecond'),
    p99Ratio: median(ratiosOf<Sample>('p99Ms', own, baseline)),
  };
}

/** The report of one case as text. */
export function formatCase({ title, name, kind, baseline, rows, skipped }: CaseReport): string {
  const lines = [`\n${title} (${name}; ratios to ${baseline}, round by round)`];
  if (kind === 'idle') {
    lines.push(line(['', 'KiB/connection', 'RSS MiB']));
    for (const { peer, idleKib, rssMib } of rows) lines.push(line([peer, fixed(idleKib, 1), fixed(rssMib, 0)]));
  } else {
    lines.push(
      line(['', 'µs CPU/request', 'ratio', 'quartiles', 'requests/s', 'p50 ms', 'p99 ms', 'RSS MiB', 'errors']),
    );
    for (const one of rows) lines.push(line(cells(one)));
  }
  for (const reason of skipped) lines.push(`  left out: ${reason}`);
  return lines.join('\n');
}

function cells(one: Row): string[] {
  const [low, high] = one.cpuRatioQuartiles;
  return [
    one.peer,
    fixed(one.cpuMicros, 1),
    fixed(one.cpuRatio, 2),
    `${fixed(low, 2)}–${fixed(high, 2)}`,
    fixed(one.requestsPerSecond, 0),
    fixed(one.p50Ms, 2),
    fixed(one.p99Ms, 2),
    fixed(one.rssMib, 0),
    String(one.errors),
  ];
}

const line = (words: readonly string[]) =>
  `  ${words.map((word, i) => (i === 0 ? word.padEnd(14) : word.padStart(i === 1 ? 15 : 11))).join('')}`;
