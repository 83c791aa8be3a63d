import { LineChart, POINTS, StackedChart } from './charts.js';
import { formatMs, formatRate, formatSpan, h, setClass, setText, showList } from './dom.js';

/** Endpoints drawn in a colour of their own; the rest is one grey layer. */
const COLOURS = 7;
const REST = 'var(--series-rest)';
/** Seconds a drawn rate is averaged over: single seconds jitter. */
const SMOOTHING = 3;

const STATES = [
  ['ready', 'Ready', 'Takes its share of the traffic'],
  ['drain', 'Drain', 'Takes no new requests; what it has, it finishes'],
  ['maintenance', 'Maintain', 'Out of use: takes nothing at all, not even in panic'],
];

/** One pool: what it carries, how its traffic is shared, and its endpoints with what may be done to them. */
export class PoolCard {
  /** `act(pool, endpoint, change)` asks the API to change an endpoint. */
  constructor(act) {
    this.act = act;
    this.colours = new Map();
    this.name = h('h2');
    this.scheduler = h('span', { class: 'quiet' });
    this.condition = h('span', { class: 'pill' });
    this.facts = h('span', { class: 'quiet' });
    this.traffic = new StackedChart('Requests per second by endpoint', formatRate);
    this.latency = new LineChart('Latency', formatMs);
    this.rows = h('tbody');
    this.hidden = h('p', { class: 'quiet small' });
    const heads = ['Endpoint', 'State', 'Share, 10 s', 'req/s', 'p50', 'p99', 'Active', 'Weight', ''];
    this.element = h(
      'article',
      { class: 'card' },
      h(
        'div',
        { class: 'pool-head' },
        this.name,
        this.scheduler,
        this.condition,
        h('span', { class: 'space' }),
        this.facts,
      ),
      h('div', { class: 'charts' }, this.traffic.element, this.latency.element),
      h('div', { class: 'scroll' }, h('table', {}, h('thead', {}, headRow(heads)), this.rows)),
      this.hidden,
    );
  }

  update({ pool, history }) {
    setText(this.name, pool.name);
    setText(this.scheduler, pool.scheduler);
    this.showCondition(pool);
    const { recent } = pool;
    setText(
      this.facts,
      `${formatRate(recent.requestsPerSecond)} req/s · p50 ${formatMs(recent.p50)} · p99 ${formatMs(recent.p99)}` +
        (recent.failuresPerSecond > 0 ? ` · ${formatRate(recent.failuresPerSecond)} errors/s` : '') +
        (pool.pending > 0 ? ` · ${pool.pending} waiting` : ''),
    );
    this.giveColours(pool.endpoints, history);
    this.drawCharts(pool, history);
    showList(
      this.rows,
      pool.endpoints,
      (endpoint) => endpoint.id,
      (endpoint) => new EndpointRow(endpoint.id, (change) => this.act(pool.name, endpoint.id, change)),
    );
    for (const row of this.rows.children) row.style.setProperty('--colour', this.colourOf(row.dataset.id));
    setText(
      this.hidden,
      pool.size > pool.endpoints.length
        ? `${pool.endpoints.length} of ${pool.size} endpoints: those in trouble and the busiest`
        : '',
    );
  }

  showCondition({ panic, available, size }) {
    const text = panic ? `panic: ${available} of ${size} available` : `${available} of ${size} available`;
    setText(this.condition, text);
    setClass(this.condition, `pill ${panic || available === 0 ? 'bad' : available < size ? 'warn' : 'good'}`);
  }

  /** A colour belongs to an endpoint as long as it is there; the first ones to get one are the busiest. */
  giveColours(endpoints, history) {
    const ids = new Set(endpoints.map((endpoint) => endpoint.id));
    for (const id of this.colours.keys()) if (!ids.has(id)) this.colours.delete(id);
    if (this.colours.size >= Math.min(COLOURS, endpoints.length)) return;
    const free = Array.from({ length: COLOURS }, (_, i) => i).filter((i) => ![...this.colours.values()].includes(i));
    const total = (id) => (history.endpoints[id] ?? []).reduce((sum, value) => sum + value, 0);
    const chosen = endpoints.filter(({ id }) => !this.colours.has(id));
    if (chosen.length > free.length) chosen.sort((a, b) => total(b.id) - total(a.id));
    for (const { id } of chosen) if (free.length > 0) this.colours.set(id, free.shift());
  }

  colourOf(id) {
    const index = this.colours.get(id);
    return index === undefined ? REST : `var(--series-${index})`;
  }

  drawCharts(pool, history) {
    const own = pool.endpoints.filter(({ id }) => this.colours.has(id));
    const series = own.map(({ id }) => ({
      name: id,
      colour: this.colourOf(id),
      values: smooth(history.endpoints[id] ?? []),
    }));
    if (own.length < pool.size) {
      const rest = history.requestsPerSecond.map((total, i) => {
        const drawn = own.reduce(
          (sum, { id }) => sum + (at(history.endpoints[id], i, history.requestsPerSecond) ?? 0),
          0,
        );
        return Math.max(0, total - drawn);
      });
      series.push({ name: 'others', colour: REST, values: smooth(rest) });
    }
    this.traffic.show(series);
    this.latency.show([
      { name: 'p99', colour: 'var(--series-1)', values: history.p99 },
      { name: 'p50', colour: 'var(--series-0)', values: history.p50 },
    ]);
    this.showLatencyNote(pool.recent);
  }

  showLatencyNote({ p50, p99 }) {
    const entry = (name, colour, value) => {
      const swatch = h('span', { class: 'swatch' });
      swatch.style.setProperty('--colour', colour);
      return [swatch, ` ${name} ${formatMs(value)}  `];
    };
    this.latency.note.replaceChildren(...entry('p50', 'var(--series-0)', p50), ...entry('p99', 'var(--series-1)', p99));
  }
}

/** One endpoint in its pool's table. */
class EndpointRow {
  constructor(id, act) {
    this.more = h('div', { class: 'endpoint-more' });
    this.state = h('span', { class: 'pill' });
    this.reason = h('div', { class: 'reason' });
    this.fill = h('div', { class: 'fill' });
    this.share = h('span');
    const number = (label) => h('td', { class: 'number', 'data-label': label });
    this.rate = number('req/s');
    this.p50 = number('p50');
    this.p99 = number('p99');
    this.active = number('active');
    this.weight = h('input', {
      class: 'weight',
      type: 'number',
      min: '0',
      max: '65535',
      step: '0.01',
      'aria-label': `Weight of ${id}`,
    });
    this.weight.addEventListener('change', () => {
      if (this.weight.reportValidity() && this.weight.value !== '') act({ weight: Number(this.weight.value) });
    });
    this.buttons = STATES.map(([state, text, title]) => {
      return h('button', { type: 'button', title, 'data-state': state, onclick: () => act({ state }) }, text);
    });
    this.element = h(
      'tr',
      { 'data-id': id },
      h(
        'td',
        { class: 'name' },
        h('div', { class: 'endpoint-name' }, h('span', { class: 'swatch' }), h('code', {}, id)),
        this.more,
      ),
      h('td', { class: 'state' }, this.state, this.reason),
      h('td', { class: 'traffic' }, h('div', { class: 'share' }, h('div', { class: 'track' }, this.fill), this.share)),
      this.rate,
      this.p50,
      this.p99,
      this.active,
      h('td', { class: 'number', 'data-label': 'weight' }, this.weight),
      h(
        'td',
        { class: 'act' },
        h('div', { class: 'states', role: 'group', 'aria-label': `State of ${id}` }, ...this.buttons),
      ),
    );
  }

  update(endpoint) {
    const { recent } = endpoint;
    setText(this.more, describe(endpoint));
    const [word, kind] = conditionOf(endpoint);
    setText(this.state, word);
    setClass(this.state, `pill ${kind}`);
    setText(this.reason, endpoint.available ? '' : (endpoint.downReason ?? ''));
    this.reason.title = endpoint.downReason ?? '';
    this.fill.style.width = `${(recent.share * 100).toFixed(1)}%`;
    setText(this.share, `${(recent.share * 100).toFixed(0)} %`);
    setText(this.rate, formatRate(recent.requestsPerSecond));
    setText(this.p50, formatMs(recent.p50));
    setText(this.p99, formatMs(recent.p99));
    const isFailing = recent.failuresPerSecond > 0;
    setClass(this.rate, isFailing ? 'number failing' : 'number');
    this.rate.title = isFailing ? `${formatRate(recent.failuresPerSecond)} failures/s` : '';
    setText(this.active, String(endpoint.active));
    if (document.activeElement !== this.weight) this.weight.value = String(endpoint.weight);
    this.weight.title =
      endpoint.effectiveWeight < endpoint.weight
        ? `slow start: counts as ${endpoint.effectiveWeight} now`
        : 'Change the weight';
    for (const button of this.buttons) {
      button.setAttribute('aria-pressed', String(button.dataset.state === endpoint.state));
    }
  }
}

/** The columns from the fourth to the eighth are numbers. */
function headRow(heads) {
  return h('tr', {}, ...heads.map((text, i) => h('th', i >= 3 && i <= 7 ? { class: 'number' } : {}, text)));
}

/** Word and colour of an endpoint's state; the word alone says it all. */
function conditionOf(endpoint) {
  const { down } = endpoint;
  if (down.includes('ejected')) return [`ejected ${formatSpan(endpoint.ejectedForMs)}`, 'bad'];
  if (down.includes('probe')) return ['probe fails', 'bad'];
  if (down.includes('admin')) return ['maintenance', ''];
  if (down.includes('draining')) return ['draining', 'warn'];
  if (down.includes('registry')) return ['down in registry', 'bad'];
  if (endpoint.weight === 0) return ['weight 0', ''];
  if (endpoint.effectiveWeight < endpoint.weight) return ['warming up', 'good'];
  return [endpoint.backup ? 'backup' : 'available', endpoint.backup ? '' : 'good'];
}

function describe({ zone, version, tags, source, backup }) {
  const parts = [source, zone && `zone ${zone}`, version && `version ${version}`, backup && 'backup', ...tags];
  return parts.filter((part) => part && part !== 'document').join(' · ');
}

/** Value of a shorter, right-aligned series at a place of a longer one. */
function at(values, index, longer) {
  return values?.[index - longer.length + values.length];
}

function smooth(values) {
  return values.slice(-POINTS).map((_, i, all) => {
    const from = Math.max(0, i - SMOOTHING + 1);
    let sum = 0;
    for (let k = from; k <= i; k++) sum += all[k];
    return sum / (i - from + 1);
  });
}
