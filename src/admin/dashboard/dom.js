/** Creates an element. Attributes named on… become listeners; children are nodes or text. No style attributes: the page's policy forbids them. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function svg(tag, attributes = {}) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Touches the page only when something changed, so that selections and screen readers are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

const kept = new WeakMap();

/** Shows one child per item, in order: known keys are updated, new ones created, gone ones removed. A child is `{ element, update(item) }`. */
export function showList(parent, items, keyOf, create) {
  const before = kept.get(parent) ?? new Map();
  const now = new Map();
  let previous = null;
  for (const item of items) {
    const key = keyOf(item);
    const child = before.get(key) ?? create(item);
    now.set(key, child);
    child.update(item);
    const place = previous === null ? parent.firstChild : previous.nextSibling;
    if (child.element !== place) parent.insertBefore(child.element, place);
    previous = child.element;
  }
  while (previous === null ? parent.firstChild : previous.nextSibling) parent.lastChild.remove();
  kept.set(parent, now);
}

export function formatMs(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 100) return `${ms.toFixed(0)} ms`;
  return `${ms.toFixed(ms >= 10 ? 1 : 2)} ms`;
}

export function formatRate(rate) {
  if (rate >= 100_000) return `${(rate / 1000).toFixed(0)}k`;
  if (rate >= 10_000) return `${(rate / 1000).toFixed(1)}k`;
  if (rate >= 100 || rate === 0) return rate.toFixed(0);
  return rate.toFixed(rate >= 10 ? 1 : 2);
}

export function formatBytes(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${bytes.toFixed(unit === 0 || bytes >= 100 ? 0 : 1)} ${units[unit]}`;
}

export function formatSpan(ms) {
  if (ms === null) return 'never';
  const seconds = Math.round(ms / 1000);
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}
