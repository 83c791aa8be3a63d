import { ask, followEvents, hasToken } from './api.js';
import { POINTS } from './charts.js';
import { formatBytes, formatMs, formatRate, formatSpan, h, setClass, setText, showList } from './dom.js';
import { PoolCard } from './pool-card.js';

const POLL_MS = 1000;
/** A longer gap between two polls (a tab in the background) is filled from the server's history. */
const GAP_MS = 2500;
const EVENTS_SHOWN = 200;

const byId = (id) => document.getElementById(id);
let overview = null;
let history = null;
let polledAt = 0;
let noticeTimer = 0;

async function poll() {
  if (!document.hidden) {
    try {
      if (Date.now() - polledAt > GAP_MS) history = null;
      overview = await ask('/api/v1/overview');
      if (history === null || overview.pools.some((pool) => history[pool.name] === undefined)) {
        history = (await ask('/api/v1/history')).pools;
      } else {
        overview.pools.forEach(remember);
      }
      polledAt = Date.now();
      show();
    } catch (error) {
      setText(byId('ready'), error.message.startsWith('token') ? error.message : 'no answer');
      setClass(byId('ready'), 'pill bad');
      byId('ready').title = error.message;
    }
  }
  setTimeout(poll, POLL_MS);
}

/** Adds the latest second to what is drawn. */
function remember(pool) {
  const past = history[pool.name];
  push(past.requestsPerSecond, pool.recent.lastSecond);
  push(past.p50, pool.recent.p50);
  push(past.p99, pool.recent.p99);
  const ids = new Set(pool.endpoints.map((endpoint) => endpoint.id));
  for (const endpoint of pool.endpoints) {
    past.endpoints[endpoint.id] ??= [];
    push(past.endpoints[endpoint.id], endpoint.recent.lastSecond);
  }
  // What left keeps its past on the chart of nobody: its series would only ever stand still.
  for (const id of Object.keys(past.endpoints)) if (!ids.has(id)) delete past.endpoints[id];
}

function push(values, value) {
  values.push(value);
  if (values.length > POINTS) values.shift();
}

/** Which document is in force; from a config centre also who pushed it, why, and whether a newer one was refused. */
function versionText(config, centre) {
  if (centre === null) return `document ${config.number} (${config.version.slice(0, 8)})`;
  const state = centre.refused === null ? (centre.isOnTrial ? ', on trial' : '') : `, ${centre.refused.number} refused`;
  const message = centre.message === '' ? '' : `: ${centre.message}`;
  return `version ${centre.number} (${centre.id.slice(0, 8)}${state}) by ${centre.author}${message}`;
}

function show() {
  const { ready, reason, pools, config, centre, program, uptimeMs } = overview;
  setText(byId('ready'), ready ? 'serving' : `not ready: ${reason}`);
  setClass(byId('ready'), `pill ${ready ? 'good' : 'warn'}`);
  byId('ready').title = '';
  setText(byId('about'), `${versionText(config, centre)} · up ${formatSpan(uptimeMs)}`);
  byId('about').title = centre?.refused?.problems.join('\n') ?? '';
  setText(byId('program'), `evenkeel ${program.version} · Node ${program.node.slice(1)} · process ${program.pid}`);
  byId('links').hidden = hasToken();
  showTiles();
  const cards = pools.map((pool) => ({ pool, history: history[pool.name] }));
  showList(
    byId('pools'),
    cards,
    ({ pool }) => pool.name,
    () => new PoolCard(act),
  );
  showRows(
    'registries',
    overview.registries,
    (registry) => registry.name,
    showRegistry,
    'no registry: endpoints come from the document',
  );
  showRows('listeners', overview.listeners, (listener) => listener.name, showListener, 'no listener');
  showRows('workers', overview.workers, (worker) => worker.id, showWorker, 'no worker');
}

function showTiles() {
  const { pools, listeners, workers } = overview;
  const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);
  const rate = sum(pools, (pool) => pool.recent.requestsPerSecond);
  const errors = sum(pools, (pool) => pool.recent.failuresPerSecond);
  const available = sum(pools, (pool) => pool.available);
  const size = sum(pools, (pool) => pool.size);
  const p99s = pools.map((pool) => pool.recent.p99).filter((p99) => p99 !== null);
  const lag = Math.max(0, ...workers.map((worker) => worker.lagMs));
  const tiles = [
    ['requests per second', formatRate(rate), ''],
    ['slowest pool, p99', p99s.length === 0 ? '–' : formatMs(Math.max(...p99s)), ''],
    ['errors per second', formatRate(errors), errors > 0 ? 'bad' : ''],
    ['endpoints available', `${available} of ${size}`, available < size ? 'warn' : ''],
    ['client connections', String(sum(listeners, (listener) => listener.connections.active)), ''],
    ['worst worker lag', formatMs(lag), lag > 100 ? 'warn' : ''],
  ];
  showList(
    byId('tiles'),
    tiles,
    ([label]) => label,
    ([label]) => {
      const value = h('b');
      const element = h('div', { class: 'tile' }, value, h('span', { class: 'quiet' }, label));
      const update = ([, text, kind]) => {
        setText(value, text);
        setClass(element, `tile ${kind}`);
      };
      return { element, update };
    },
  );
}

/** A list of small blocks: a head with a pill, and lines of text. `describe(item)` gives name, pill, kind, lines. */
function showRows(id, items, keyOf, describe, empty) {
  const parent = byId(id);
  setClass(parent, 'rows');
  if (items.length === 0) {
    parent.replaceChildren(h('p', { class: 'quiet small' }, empty));
    return;
  }
  showList(parent, items, keyOf, () => {
    const name = h('b');
    const pill = h('span', { class: 'pill' });
    const lines = h('div', { class: 'small quiet' });
    const element = h('div', {}, h('div', { class: 'row-head' }, name, pill), lines);
    const update = (item) => {
      const described = describe(item);
      setText(name, described.name);
      setText(pill, described.pill);
      setClass(pill, `pill ${described.kind}`);
      showLines(lines, described.lines);
    };
    return { element, update };
  });
}

function showLines(parent, lines) {
  const entries = lines.map((text, index) => ({ text, index }));
  showList(
    parent,
    entries,
    ({ index }) => index,
    () => {
      const element = h('div');
      return { element, update: ({ text }) => setText(element, text) };
    },
  );
}

function showRegistry({ name, kind, up, lastError, services }) {
  const lines = services.map((service) => {
    const notes = [service.fromDisk && 'from disk', service.heldReason && `held: ${service.heldReason}`].filter(
      Boolean,
    );
    const age = service.ageMs === null ? 'no set yet' : `${formatSpan(service.ageMs)} old`;
    return `${service.pool}: ${service.endpoints} endpoints, ${age}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`;
  });
  if (lastError !== null && !up) lines.push(lastError);
  return { name: `${name} (${kind})`, pill: up ? 'up' : 'down', kind: up ? 'good' : 'bad', lines };
}

function showListener({ name, protocol, addresses, connections, bytes, rejected, accessLogDropped }) {
  const lines = [addresses.join(', '), `in ${formatBytes(bytes.in)} · out ${formatBytes(bytes.out)}`];
  const reasons = Object.entries(rejected).map(([reason, count]) => `${reason} ${count}`);
  if (reasons.length > 0) lines.push(`answered here: ${reasons.join(', ')}`);
  if (accessLogDropped > 0) lines.push(`access log: ${accessLogDropped} lines dropped`);
  return { name: `${name} (${protocol})`, pill: `${connections.active} open`, kind: '', lines };
}

function showWorker({ id, state, restarts, lagMs }) {
  const lines = [`lag ${formatMs(lagMs)}${restarts > 0 ? ` · replaced ${restarts} times` : ''}`];
  const kind = { up: lagMs > 100 ? 'warn' : 'good', starting: 'warn', draining: 'warn', stalled: 'bad' }[state];
  return { name: `worker ${id}`, pill: state, kind, lines };
}

const EVENT_KINDS = {
  ejected: 'bad',
  unfit: 'bad',
  'panic-began': 'bad',
  'registry-lost': 'bad',
  'worker-died': 'bad',
  'reload-refused': 'bad',
  'registry-held': 'warn',
  'worker-stalled': 'warn',
  'endpoint-set': 'warn',
  draining: 'warn',
  restored: 'good',
  fit: 'good',
  ready: 'good',
  reloaded: 'good',
  'panic-ended': 'good',
  'registry-regained': 'good',
  'worker-started': 'good',
};

function addEvent(event) {
  const list = byId('events');
  if (list.firstElementChild?.classList.contains('quiet')) list.firstElementChild.remove();
  const { type, time, worker } = event;
  const subject = [event.registry, worker === undefined ? '' : `worker ${worker}`, event.pool, event.endpoint];
  const item = h(
    'li',
    { class: EVENT_KINDS[type] ?? '' },
    h('span', { class: 'quiet' }, `${new Date(time).toLocaleTimeString()} `),
    h('b', {}, type.replaceAll('-', ' ')),
    ` ${subject.filter(Boolean).join(' / ')}`,
    h('div', { class: 'quiet' }, describeEvent(event)),
  );
  list.prepend(item);
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
}

function describeEvent(event) {
  const { cause, reason, error, forMs, versionNumber, version, state, weight, added, problems, available } = event;
  const parts = [cause, reason, error, ...(problems ?? [])];
  if (forMs !== undefined) parts.push(`for ${formatSpan(forMs)}`);
  if (versionNumber !== undefined) parts.push(`document ${versionNumber} (${version.slice(0, 8)})`);
  if (state !== undefined) parts.push(`${state}, weight ${weight}`);
  if (added !== undefined) parts.push(`${added} added, ${event.removed} removed, ${event.changed} changed`);
  if (available !== undefined) parts.push(`${available} of ${event.endpoints} available`);
  return parts.filter(Boolean).join(', ');
}

async function act(pool, endpoint, change) {
  try {
    if (!(await isMeant(pool, endpoint, change))) return;
    const path = `/api/v1/pools/${encodeURIComponent(pool)}/endpoints/${encodeURIComponent(endpoint)}`;
    await ask(path, 'PATCH', change);
    overview = await ask('/api/v1/overview');
    show();
  } catch (error) {
    tell(`${endpoint} was not changed: ${error.message}`, 'bad');
  }
}

/** Taking the last available endpoint out of a pool is asked about first. */
async function isMeant(poolName, id, change) {
  const pool = overview.pools.find(({ name }) => name === poolName);
  const endpoint = pool?.endpoints.find((one) => one.id === id);
  const isTaking = change.state === 'drain' || change.state === 'maintenance' || change.weight === 0;
  if (!isTaking || !endpoint?.available || pool.available > 1) return true;
  const text = `${id} is the last available endpoint of ${poolName}. Without it, requests are answered with 503.`;
  return confirmed('Take the last one out?', text, 'Take it out');
}

function confirmed(title, text, action) {
  const dialog = byId('confirm-dialog');
  setText(byId('confirm-title'), title);
  setText(byId('confirm-text'), text);
  setText(byId('confirm-ok'), action);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'ok'), { once: true });
  });
}

async function reload() {
  byId('reload').disabled = true;
  try {
    const { number, changed } = await ask('/api/v1/reload', 'POST');
    tell(changed ? `Document ${number} is in force.` : 'The document has not changed.', 'good');
  } catch (error) {
    tell([`Refused: ${error.message}`, ...(error.problems ?? []).map((problem) => problem.text)].join('\n'), 'bad');
  }
  byId('reload').disabled = false;
}

function tell(text, kind) {
  const notice = byId('notice');
  setText(notice, text);
  setClass(notice, `notice ${kind}`);
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(
    () => {
      notice.hidden = true;
    },
    kind === 'bad' ? 30_000 : 5000,
  );
}

byId('reload').addEventListener('click', reload);

poll();
followEvents(addEvent);
