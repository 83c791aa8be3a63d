import { median, quantile, ratios } from './statistics.ts';

/** What is measured of every peer in every round, whatever the case. Where a figure does not apply it is NaN. */
export interface CommonSample {
  readonly cpuMicros: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  readonly rssMib: number;
  readonly idleKib: number;
}

/** The same of a peer, over its rounds: medians, and the sum of errors. */
export interface CommonFigures extends CommonSample {
  readonly peer: string;
  readonly rounds: number;
  /** To the baseline, round by round; median and quartiles. 1 for the baseline itself. */
  readonly cpuRatio: number;
  readonly cpuRatioQuartiles: readonly [number, number];
}

/** `own` and `baseline` by round: the same index is the same round. */
export function figuresOf(
  peer: string,
  own: readonly CommonSample[],
  baseline: readonly CommonSample[],
): CommonFigures {
  const cpu = ratiosOf('cpuMicros', own, baseline);
  return {
    peer,
    rounds: own.length,
    cpuMicros: medianOf(own, 'cpuMicros'),
    cpuRatio: median(cpu),
    cpuRatioQuartiles: [quantile(cpu, 0.25), quantile(cpu, 0.75)],
    p50Ms: medianOf(own, 'p50Ms'),
    p99Ms: medianOf(own, 'p99Ms'),
    errors: own.reduce((sum, { errors }) => sum + errors, 0),
    rssMib: medianOf(own, 'rssMib'),
    idleKib: medianOf(own, 'idleKib'),
  };
}

/** Keys of a sample that hold a figure. */
type FigureOf<S> = { [Key in keyof S]: S[Key] extends number ? Key : never }[keyof S];

export function medianOf<S>(samples: readonly S[], key: FigureOf<S>): number {
  return median(samples.map((sample) => sample[key] as number));
}

export function ratiosOf<S>(key: FigureOf<S>, own: readonly S[], baseline: readonly S[]): number[] {
  return ratios(
    own.map((sample) => sample[key] as number),
    baseline.map((sample) => sample[key] as number),
  );
}
