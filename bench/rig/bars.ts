const LABEL = 110;
const BAR_MAX = 460;
const ROW = 18;
const HEAD = 30;
const LONGEST = 6;
const COLOURS: Readonly<Record<string, string>> = { evenkeel: '#1c7ed6', documented: '#74c0fc', nginx: '#2b8a3e' };

export interface Bar {
  readonly name: string;
  /** How long it is; NaN is none. */
  readonly value: number;
  /** What stands behind it. */
  readonly figure: string;
}

export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
}

/** Groups of bars in an SVG that needs nothing else. Bars longer than the chart are cut; the figure says how long they are. */
export function barChart(heading: string, notes: readonly string[], groups: readonly BarGroup[]): string {
  const values = groups.flatMap(({ bars }) => bars.map(({ value }) => value || 0));
  const longest = Math.min(LONGEST, Math.max(1, ...values));
  let y = 28 + 16 * notes.length;
  const parts: string[] = [];
  for (const { title, bars } of groups) {
    parts.push(text(10, y + 14, title, 'bold'));
    y += HEAD;
    for (const { name, value, figure } of bars) {
      const width = (Math.min(value || 0, longest) / longest) * BAR_MAX;
      parts.push(text(LABEL - 6, y, name, 'normal', 'end'));
      parts.push(
        `<rect x="${LABEL}" y="${y - 11}" width="${width.toFixed(1)}" height="13" fill="${COLOURS[name] ?? '#868e96'}"/>`,
      );
      parts.push(text(LABEL + width + 6, y, figure));
      y += ROW;
    }
    y += 8;
  }
  const body = [text(10, 20, heading, 'bold'), ...notes.map((note, i) => text(10, 36 + 16 * i, note)), ...parts];
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
