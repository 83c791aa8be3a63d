import { ms } from './report.ts';
import type { Result, WindowReport } from './verdict.ts';

const COLUMNS = 3;
const PANEL = 550;
const NAMES = 196;
const AXIS = 200;
const ROW = 17;
const HEAD = 48;
const FOOT = 26;
const MARGIN = 24;
/** Ends of the axis in ms, and where it has lines. */
const LEAST = 1;
const MOST = 3000;
const LINES = [1, 3, 10, 30, 100, 300, 1000, 3000];

const INK = '#1f2933';
const FAINT = '#7b8794';
const GRID = '#e4e7eb';
const WRONG = '#c92a2a';

/** Each proxy has its colour; of evenkeel's algorithms the ones with targets stand out. */
function colourOf({ proxy, judged }: Result): string {
  if (proxy === 'nginx') return '#40916c';
  if (proxy === 'haproxy') return '#e8890c';
  if (judged === 'hedged') return '#5f3dc4';
  return judged === 'plain' ? '#1864ab' : '#a5c8e4';
}

/**
 * A panel for each window, a line for each proxy, on a logarithmic axis: a bar to p99, a whisker to p99.9, a notch at the median; errors in red. One SVG that
 * needs nothing else.
 */
export function chart(reports: readonly WindowReport[], notes: readonly string[]): string {
  const lanes = Math.max(...reports.map(({ results }) => results.length));
  const height = HEAD + lanes * ROW + FOOT;
  const top = 92 + 16 * notes.length;
  const columns = Math.min(COLUMNS, reports.length);
  const width = 2 * MARGIN + columns * PANEL;
  const panels = reports.map((report, i) => {
    const x = MARGIN + (i % columns) * PANEL;
    const y = top + Math.floor(i / columns) * height;
    return `<g transform="translate(${x} ${y})">${panel(report)}</g>`;
  });
  const total = top + Math.ceil(reports.length / columns) * height + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${total}" font-family="Inter, 'Helvetica Neue', Arial, sans-serif" font-size="11.5">
<rect width="100%" height="100%" fill="#ffffff"/>
${text(MARGIN, 38, 'What clients feel when endpoints go wrong', { size: 22, weight: 600 })}
${text(MARGIN, 60, 'Latency from the intended send time, logarithmic, shorter is better: bar to p99, whisker to p99.9, notch at the median', { size: 13, fill: FAINT })}
${notes.map((note, i) => text(MARGIN, 80 + 16 * i, note, { size: 11, fill: FAINT })).join('\n')}
${panels.join('\n')}
</svg>
`;
}

function panel({ window, results }: WindowReport): string {
  const bottom = HEAD + results.length * ROW;
  const grid = LINES.map((value) => {
    const at = NAMES + place(value);
    const label = value < 1000 ? String(value) : `${value / 1000} s`;
    return `<line x1="${at}" y1="${HEAD - 4}" x2="${at}" y2="${bottom}" stroke="${GRID}"/>${text(at, HEAD - 9, label, { anchor: 'middle', size: 9, fill: FAINT })}`;
  });
  const best = Math.min(...results.map(({ summary }) => summary.p99Ms));
  return [
    text(0, 20, window.title, { size: 14, weight: 600 }),
    ...grid,
    ...results.map((result, i) => lane(result, HEAD + i * ROW, result.summary.p99Ms <= best * 1.05)),
  ].join('\n');
}

function lane(result: Result, y: number, isBest: boolean): string {
  const { subject, judged, summary } = result;
  const { p50Ms, p99Ms, p999Ms, errors, isSound } = summary;
  const colour = colourOf(result);
  const middle = y + ROW / 2;
  const end = NAMES + place(p99Ms);
  const whisker = NAMES + place(p999Ms);
  const median = NAMES + place(p50Ms);
  const name = text(NAMES - 8, middle + 4, subject, {
    anchor: 'end',
    weight: judged === null ? 400 : 600,
    size: 10.5,
  });
  const figures = `${ms(p99Ms)} / ${ms(p999Ms)}${isSound ? '' : ' ?'}`;
  const figureAt = Math.max(whisker, end) + 6;
  const faults = errors === 0 ? '' : `<tspan fill="${WRONG}" font-weight="600"> ${errors} errors</tspan>`;
  return `${name}
<rect x="${NAMES}" y="${y + 3}" width="${(end - NAMES).toFixed(1)}" height="${ROW - 6}" rx="2" fill="${colour}"/>
<line x1="${end.toFixed(1)}" y1="${middle}" x2="${whisker.toFixed(1)}" y2="${middle}" stroke="${colour}" stroke-width="2"/>
<line x1="${whisker.toFixed(1)}" y1="${y + 4}" x2="${whisker.toFixed(1)}" y2="${y + ROW - 4}" stroke="${colour}" stroke-width="2"/>
<line x1="${median.toFixed(1)}" y1="${y + 3}" x2="${median.toFixed(1)}" y2="${y + ROW - 3}" stroke="#ffffff" stroke-width="1.5"/>
<text x="${figureAt.toFixed(1)}" y="${middle + 4}" font-size="10" fill="${INK}" font-weight="${isBest ? 700 : 400}">${figures}${faults}</text>`;
}

/** Pixels from the left end of the axis. What never came ends at its right end. */
function place(value: number): number {
  const inside = Math.min(MOST, Math.max(LEAST, Number.isNaN(value) ? LEAST : value));
  return (Math.log(inside / LEAST) / Math.log(MOST / LEAST)) * AXIS;
}

interface TextStyle {
  readonly size?: number;
  readonly weight?: number;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly fill?: string;
}

function text(x: number, y: number, words: string, style: TextStyle = {}): string {
  const { size = 11.5, weight = 400, anchor = 'start', fill = INK } = style;
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${size}" font-weight="${weight}" text-anchor="${anchor}" fill="${fill}">${escaped}</text>`;
}
