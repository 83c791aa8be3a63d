import { h, setText, svg } from './dom.js';

/** Points of a chart: two minutes, one a second. */
export const POINTS = 120;
const HEIGHT = 100;

/** Axes, grid, cursor and tip around shapes in a coordinate system of POINTS - 1 by 100, stretched to the space there is. */
class Chart {
  constructor(title, formatValue) {
    this.formatValue = formatValue;
    this.title = h('span', {}, title);
    this.note = h('span');
    this.svg = svg('svg', {
      viewBox: `0 0 ${POINTS - 1} ${HEIGHT}`,
      preserveAspectRatio: 'none',
      role: 'img',
      'aria-label': title,
    });
    this.shapes = svg('g');
    this.svg.append(
      this.shapes,
      ...[0, 50].map((y) => svg('line', { class: 'grid', x1: 0, x2: POINTS - 1, y1: y, y2: y })),
    );
    this.scales = [0, 50].map((y) => {
      const scale = h('span', { class: y === 0 ? 'scale top' : 'scale' });
      scale.style.top = `${y}%`;
      return scale;
    });
    this.cursor = h('div', { class: 'cursor', hidden: '' });
    this.tip = h('div', { class: 'tip', hidden: '' });
    this.frame = h('div', { class: 'chart' }, this.svg, ...this.scales, this.cursor, this.tip);
    this.element = h(
      'figure',
      { class: 'figure' },
      h('div', { class: 'chart-title' }, this.title, this.note),
      this.frame,
      h('div', { class: 'chart-times' }, h('span', {}, '2 min ago'), h('span', {}, '1 min'), h('span', {}, 'now')),
    );
    this.element.style.margin = '0';
    this.hovered = -1;
    this.series = [];
    this.frame.addEventListener('pointermove', (event) => this.hover(event));
    this.frame.addEventListener('pointerdown', (event) => this.hover(event));
    this.frame.addEventListener('pointerleave', () => {
      this.hovered = -1;
      this.showTip();
    });
  }

  hover(event) {
    const { left, width } = this.frame.getBoundingClientRect();
    this.hovered = Math.max(0, Math.min(POINTS - 1, Math.round(((event.clientX - left) / width) * (POINTS - 1))));
    this.showTip();
  }

  /** `series`: `{ name, colour, values }`, values right-aligned: the last is now. */
  show(series, top) {
    this.series = series;
    setText(this.scales[0], this.formatValue(top));
    setText(this.scales[1], this.formatValue(top / 2));
    this.showTip();
  }

  /** Paths are reused: one for each series. */
  path(index, attributes) {
    let path = this.shapes.children[index];
    if (path === undefined) {
      path = svg('path');
      this.shapes.append(path);
    }
    for (const [name, value] of Object.entries(attributes)) path.setAttribute(name, value);
    return path;
  }

  dropPaths(from) {
    while (this.shapes.children.length > from) this.shapes.lastChild.remove();
  }

  showTip() {
    const isShown = this.hovered >= 0 && this.series.length > 0;
    this.cursor.hidden = !isShown;
    this.tip.hidden = !isShown;
    if (!isShown) return;
    const share = this.hovered / (POINTS - 1);
    this.cursor.style.left = `${share * 100}%`;
    this.tip.style.left = share < 0.5 ? `calc(${share * 100}% + 8px)` : 'auto';
    this.tip.style.right = share < 0.5 ? 'auto' : `calc(${(1 - share) * 100}% + 8px)`;
    const ago = POINTS - 1 - this.hovered;
    const rows = this.series.map(({ name, colour, values }) => {
      const value = values[values.length - 1 - ago];
      const swatch = h('span', { class: 'swatch' });
      swatch.style.setProperty('--colour', colour);
      return h(
        'div',
        {},
        swatch,
        name,
        h('b', {}, value === undefined || value === null ? '–' : this.formatValue(value)),
      );
    });
    this.tip.replaceChildren(h('div', { class: 'quiet' }, ago === 0 ? 'now' : `${ago} s ago`), ...rows);
  }
}

/** Traffic of several endpoints on top of each other. */
export class StackedChart extends Chart {
  show(series) {
    const base = new Float64Array(POINTS);
    const layers = series.map(({ values, colour }) => {
      const lower = base.slice();
      for (let i = 0; i < POINTS; i++) base[i] += pointOf(values, i) ?? 0;
      return { lower, upper: base.slice(), colour };
    });
    const top = niceTop(Math.max(...base, 0));
    const y = (value) => (HEIGHT - (value / top) * HEIGHT).toFixed(2);
    layers.forEach(({ lower, upper, colour }, index) => {
      const there = Array.from(upper, (value, i) => `${i},${y(value)}`).join('L');
      const back = Array.from(lower, (value, i) => `${i},${y(value)}`)
        .reverse()
        .join('L');
      this.path(index, { d: `M${there}L${back}Z`, class: 'area' }).style.fill = colour;
    });
    this.dropPaths(layers.length);
    super.show([...series].reverse(), top);
  }
}

/** Values over time, null where there were none. */
export class LineChart extends Chart {
  show(series) {
    const top = niceTop(Math.max(0, ...series.flatMap(({ values }) => values.filter((value) => value !== null))));
    series.forEach(({ values, colour }, index) => {
      let d = '';
      let isDown = false;
      for (let i = 0; i < POINTS; i++) {
        const value = pointOf(values, i);
        if (value === null) isDown = false;
        else {
          d += `${isDown ? 'L' : 'M'}${i},${(HEIGHT - (value / top) * HEIGHT).toFixed(2)}`;
          isDown = true;
        }
      }
      this.path(index, { d, class: 'line' }).style.stroke = colour;
    });
    this.dropPaths(series.length);
    super.show(series, top);
  }
}

/** Value at a point, null when the series is younger. */
function pointOf(values, index) {
  return values[values.length - POINTS + index] ?? null;
}

/** The next round number, so that the scale rarely jumps. */
function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return (
    [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((top) => top >= value * 1.02) ?? 12 * power
  );
}
