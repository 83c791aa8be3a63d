import { median, quantile, ratios } from '../rig/statistics.ts';
import type { Case } from './cases.ts';
import type { Sample, Samples } from './rounds.ts';

/** One row of the table: a peer in a case, medians over the rounds. */
export interface Row {
  readonly peer: string;
  readonly rounds: number;
  readonly cpuMicros: number;
  /** To the baseline, round by round; median and quartiles. 1 for the baseline itself. */
  readonly cpuRatio: number;
  readonly cpuRatioQuartiles: readonly [number, number];
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p99Ratio: number;
  readonly errors: number;
  readonly rssMib: number;
  readonly idleKib: number;
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
  const all = (key: keyof Sample) => own.map((sample) => sample[key]);
  const cpu = ratiosOf('cpuMicros', own, baseline);
  return {
    peer,
    rounds: own.length,
    cpuMicros: median(all('cpuMicros')),
    cpuRatio: median(cpu),
    cpuRatioQuartiles: [quantile(cpu, 0.25), quantile(cpu, 0.75)],
    requestsPerSecond: median(all('requestsPerSecond')),
    p50Ms: median(all('p50Ms')),
    p99Ms: median(all('p99Ms')),
    p99Ratio: median(ratiosOf('p99Ms', own, baseline)),
    errors: all('errors').reduce((sum, errors) => sum + errors, 0),
    rssMib: median(all('rssMib')),
    idleKib: median(all('idleKib')),
  };
}

export function ratiosOf(key: keyof Sample, own: readonly Sample[], baseline: readonly Sample[]): number[] {
  return ratios(
    own.map((sample) => sample[key]),
    baseline.map((sample) => sample[key]),
  );
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

const fixed = (value: number, digits: number) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
