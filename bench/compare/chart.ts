import type { CaseReport } from './report.ts';

const LABEL = 110;
const BAR_MAX = 460;
const ROW = 18;
const HEAD = 30;
const COLOURS: Readonly<Record<string, string>> = { evenkeel: '#1c7ed6', documented: '#74c0fc', nginx: '#2b8a3e' };

/** CPU per request by case and peer as bars, in an SVG that needs nothing else. Bars longer than the chart are cut; the figure says how long they are. */
export function chart(reports: readonly CaseReport[], notes: readonly string[]): string {
  const shown = reports.filter(({ kind }) => kind !== 'idle');
  const longest = Math.min(6, Math.max(1, ...shown.flatMap(({ rows }) => rows.map(({ cpuRatio }) => cpuRatio || 0))));
  let y = 28 + 16 * notes.length;
  const parts: string[] = [];
  for (const { title, baseline, rows } of shown) {
    parts.push(text(10, y + 14, `${title} — ${baseline} = 1`, 'bold'));
    y += HEAD;
    for (const { peer, cpuRatio, cpuMicros } of rows) {
      const width = (Math.min(cpuRatio || 0, longest) / longest) * BAR_MAX;
      const figure = `${cpuRatio.toFixed(2)}  (${cpuMicros.toFixed(1)} µs)`;
      parts.push(text(LABEL - 6, y, peer, 'normal', 'end'));
      parts.push(
        `<rect x="${LABEL}" y="${y - 11}" width="${width.toFixed(1)}" height="13" fill="${COLOURS[peer] ?? '#868e96'}"/>`,
      );
      parts.push(text(LABEL + width + 6, y, figure));
      y += ROW;
    }
    y += 8;
  }
  const body = [
    text(10, 20, 'CPU time per request (shorter is better)', 'bold'),
    ...notes.map((note, i) => text(10, 36 + 16 * i, note)),
    ...parts,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="720" height="${y + 10}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
${body.join('\n')}
</svg>
`;
}

function text(x: number, y: number, words: string, weight = 'normal', anchor = 'start'): string {
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y}" font-weight="${weight}" text-anchor="${anchor}" fill="#212529">${escaped}</text>`;
}
