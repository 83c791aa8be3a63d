import type { WindowReport } from './verdict.ts';

/** How everything was measured: the head of the table. */
export const METHOD = [
  'Latency in ms from the moment a request was meant to be sent, by Poisson arrivals at 1200/s (unless a scenario says otherwise), whatever happens to earlier ones.',
  'Endpoints serve in exponential times of 4 ms on average: without any proxy p99 is 18.4 and p99.9 27.6. Same arrivals and same service times for everybody.',
  'Each cell has new processes: 10 000 requests of warm-up to endpoints that answer at once, 2 s of the scenario in good health, then the window, which begins with the fault itself.',
  'One worker each, keep-alive both sides, no answer within 2 s is a failure, two retries on other endpoints. nginx with its max_fails=1, HAProxy with TCP checks every 2 s and redispatch, evenkeel with its defaults, no probes.',
  'Errors are requests without a good answer; they count in the latencies, but under overload. Share is the part of the attempts that reached the endpoints in question.',
];

/** All windows as one text in Markdown: an overview, then a table each. */
export function markdown(
  reports: readonly WindowReport[],
  head: readonly string[],
  verdict: readonly string[],
): string {
  const names = [...new Set(reports.flatMap(({ results }) => results.map(({ subject }) => subject)))];
  const lines = ['# Who is hurt by a bad endpoint', '', ...head.map((line) => `- ${line}`), ''];
  lines.push('p99 / p99.9 in ms, and errors where there were any:', '');
  lines.push(row(['', ...reports.map(({ window }) => window.title)]), row(['---', ...reports.map(() => '---')]));
  for (const name of names) lines.push(row([name, ...reports.map((report) => overview(report, name))]));
  for (const report of reports) lines.push('', ...table(report));
  lines.push('', '## Targets', '', ...(verdict.length === 0 ? ['All hold.'] : verdict.map((line) => `- ${line}`)), '');
  return lines.join('\n');
}

function overview({ results }: WindowReport, name: string): string {
  const found = results.find(({ subject }) => subject === name);
  if (found === undefined) return '–';
  const { p99Ms, p999Ms, errors, isSound } = found.summary;
  return `${ms(p99Ms)} / ${ms(p999Ms)}${errors > 0 ? `, ${errors} errors` : ''}${isSound ? '' : ' (?)'}`;
}

function table({ window, results, skipped }: WindowReport): string[] {
  const heads = ['', 'p50', 'p99', 'p99.9', 'over 1 s', 'errors', 'share', 'goodput', 'fair again'];
  const used = [
    true,
    true,
    true,
    true,
    true,
    true,
    window.marked.length > 0,
    window.capacity > 0,
    window.timesFairness,
  ];
  const shown = (cells: readonly string[]) => row(cells.filter((_, i) => used[i]));
  const lines = [`## ${window.title}`, '', shown(heads), shown(heads.map((_, i) => (i === 0 ? '---' : '--:')))];
  for (const { subject, summary } of results) {
    const kinds = Object.entries(summary.errorsBy).map(([word, count]) => `${count} × ${word}`);
    const errors = summary.errors === 0 ? '0' : kinds.join(', ');
    const figures = [summary.p50Ms, summary.p99Ms, summary.p999Ms].map(ms);
    const rest = [percent(summary.share), percent(summary.goodput), seconds(summary.fairAgainMs)];
    const name = summary.isSound ? subject : `${subject} (?)`;
    lines.push(shown([name, ...figures, String(summary.overSecond), errors, ...rest]));
  }
  for (const reason of skipped) lines.push('', `Left out: ${reason}.`);
  if (results.some(({ summary }) => !summary.isSound))
    lines.push('', '(?): the machine was busy and requests were sent late; the figures hold that lateness.');
  return lines;
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

export function ms(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return 'never';
  if (!Number.isFinite(value)) return '–';
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

const percent = (value: number) => (Number.isFinite(value) ? `${(value * 100).toFixed(value < 0.1 ? 2 : 1)} %` : '–');
const seconds = (value: number) => (Number.isFinite(value) ? `${(value / 1000).toFixed(1)} s` : 'never');
