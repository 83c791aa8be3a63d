/** One sample of a Prometheus exposition. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;

/**
 * Reads the text format 0.0.4 strictly: throws at a malformed line, a family without HELP and TYPE or split in two, a series that is there
 * twice, a histogram whose buckets fall, lack +Inf or differ from the count, a counter below zero or not called _total.
 */
export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line has no line feed');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let help: { name: string; text: string } | null = null;
  let family: Family | null = null;
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const meta = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line);
    if (meta?.[1] === 'HELP') {
      help = { name: meta[2], text: meta[3] };
    } else if (meta !== null) {
      if (help?.name !== meta[2]) throw new Error(`TYPE without HELP: ${line}`);
      if (families.has(meta[2])) throw new Error(`family twice: ${meta[2]}`);
      family = { name: meta[2], type: meta[3], help: help.text, samples: [] };
      families.set(family.name, family);
    } else {
      if (family === null) throw new Error(`sample without a family: ${line}`);
      const sample = parseSample(line);
      if (seen.has(line.slice(0, line.lastIndexOf(' ')))) throw new Error(`series twice: ${line}`);
      seen.add(line.slice(0, line.lastIndexOf(' ')));
      if (!belongs(sample.name, family)) throw new Error(`${sample.name} within family ${family.name}`);
      family.samples.push(sample);
    }
  }
  for (const one of families.values()) checkFamily(one);
  return families;
}

/** The value of the one sample with these labels (others may be there); throws when there is none or more than one. */
export function sampleValue(families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number {
  const samples = [...families.values()]
    .flatMap((family) => family.samples)
    .filter(
      (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    );
  if (samples.length !== 1) throw new Error(`${samples.length} samples of ${name} ${JSON.stringify(labels)}`);
  return samples[0].value;
}

function parseSample(line: string): Sample {
  const match = /^([^\s{]+)(?:\{(.*)\})? (NaN|[+-]Inf|[+-]?[\d.]+(?:e[+-]?\d+)?)$/.exec(line);
  if (match === null || !NAME.test(match[1])) throw new Error(`malformed: ${line}`);
  const value = match[3].endsWith('Inf') ? Number(match[3].replace('Inf', 'Infinity')) : Number(match[3]);
  if (Number.isNaN(value) && match[3] !== 'NaN') throw new Error(`malformed number: ${line}`);
  return { name: match[1], labels: parseLabels(match[2], line), value };
}

function parseLabels(text: string | undefined, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  if (text === undefined) return labels;
  LABEL.lastIndex = 0;
  let end = 0;
  while (end < text.length) {
    const match = LABEL.exec(text);
    if (match === null) throw new Error(`malformed labels: ${line}`);
    if (match[1] in labels) throw new Error(`label twice: ${line}`);
    labels[match[1]] = match[2].replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    end = LABEL.lastIndex;
  }
  if (text.endsWith(',')) throw new Error(`trailing comma: ${line}`);
  return labels;
}

function belongs(name: string, { name: family, type }: Family): boolean {
  if (name === family && type !== 'histogram') return true;
  return (
    (type === 'histogram' || type === 'summary') &&
    [`${family}_bucket`, `${family}_sum`, `${family}_count`].includes(name)
  );
}

function checkFamily(family: Family): void {
  if (family.type === 'counter') {
    if (!family.name.endsWith('_total')) throw new Error(`counter ${family.name} is not called _total`);
    for (const { value } of family.samples) if (!(value >= 0)) throw new Error(`${family.name} is ${value}`);
  }
  if (family.type === 'histogram') checkHistograms(family);
}

function checkHistograms(family: Family): void {
  const series = new Map<string, Sample[]>();
  for (const sample of family.samples) {
    const { le: _, ...rest } = sample.labels;
    const key = JSON.stringify(rest);
    series.set(key, [...(series.get(key) ?? []), sample]);
  }
  for (const [key, samples] of series) {
    const buckets = samples.filter((sample) => sample.name.endsWith('_bucket'));
    const bounds = buckets.map(({ labels }) => (labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le)));
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) throw new Error(`${family.name} ${key}: no +Inf at the end`);
    for (let i = 1; i < buckets.length; i++) {
      if (!(bounds[i] > bounds[i - 1])) throw new Error(`${family.name} ${key}: bounds do not rise`);
      if (buckets[i].value < buckets[i - 1].value) throw new Error(`${family.name} ${key}: buckets fall`);
    }
    const count = samples.filter((sample) => sample.name === `${family.name}_count`);
    const sum = samples.filter((sample) => sample.name === `${family.name}_sum`);
    if (count.length !== 1 || sum.length !== 1) throw new Error(`${family.name} ${key}: _sum and _count once each`);
    if (count[0].value !== buckets.at(-1)?.value) throw new Error(`${family.name} ${key}: count differs from +Inf`);
  }
}
