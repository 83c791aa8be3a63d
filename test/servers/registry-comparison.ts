import { setTimeout as later } from 'node:timers/promises';
import { askRegistry, type RegistryReply } from '../helpers/embedded-registry.ts';
import type { SessionStep } from './registry-session.ts';

/** Null when both answer alike, as masked, or as the step's deviation has it; otherwise what differs. */
export async function compare(step: SessionStep, embedded: string, consul: string): Promise<string | null> {
  const [method] = step.request.split(' ');
  const deadline = performance.now() + (method === 'GET' ? 2000 : 0);
  for (;;) {
    const [ours, theirs] = [await send(step, embedded, '127-0-0-1'), await send(step, consul, 'n1')];
    const difference =
      step.deviates === undefined
        ? differenceOf(masked(ours, '127-0-0-1'), masked(theirs, 'n1'))
        : (unlike('embedded', ours, step.deviates.embedded) ?? unlike('consul', theirs, step.deviates.consul));
    if (difference === null || performance.now() > deadline) return difference;
    // An agent tells the catalog of its changes a moment later.
    await later(20);
  }
}

function send(step: SessionStep, address: string, node: string): Promise<RegistryReply> {
  const [method, path] = step.request.split(' ');
  const body = step.body === undefined ? undefined : JSON.stringify(step.body).replaceAll('"NODE"', `"${node}"`);
  const raw = typeof step.body === 'string' ? step.body : body;
  return askRegistry(address, method, path.replace('NODE', node), raw);
}

function unlike(who: string, reply: RegistryReply, [status, text]: readonly [number, RegExp]): string | null {
  if (reply.status === status && text.test(reply.text)) return null;
  return `${who}: ${reply.status} ${reply.text}; expected ${status} ${text}`;
}

/** The first place where two JSON values differ; null when none does. */
function differenceOf(ours: unknown, theirs: unknown, path = ''): string | null {
  if (Object.is(ours, theirs)) return null;
  const both = ours !== null && theirs !== null && typeof ours === 'object' && typeof theirs === 'object';
  if (!both || Array.isArray(ours) !== Array.isArray(theirs))
    return `${path}: ${JSON.stringify(ours)}; Consul: ${JSON.stringify(theirs)}`;
  for (const key of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const [left, right] = [ours, theirs].map((side) => (side as Record<string, unknown>)[key]);
    const difference = differenceOf(left, right, `${path}.${key}`);
    if (difference !== null) return difference;
  }
  return null;
}

/** Headers that depend on how the bytes travel, not on what is said. */
const TRANSPORT = new Set([
  'content-encoding',
  'content-length',
  'date',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'vary',
]);

/** What of a reply must be equal: indexes, hashes and node IDs are told as being there; Consul's own service and tags of members are not ours. */
function masked(reply: RegistryReply, node: string): unknown {
  const headers: Record<string, string> = {};
  for (const [name, value] of reply.headers) {
    if (TRANSPORT.has(name)) continue;
    const isIndex = name === 'x-consul-index' && Number(value) > 0;
    headers[name] = isIndex ? 'an index' : name === 'x-consul-contenthash' && value !== '' ? 'a hash' : value;
  }
  if (reply.json === undefined) return { status: reply.status, headers, body: reply.text };
  // biome-ignore lint/suspicious/noExplicitAny: any JSON
  const body: any = maskedJson(reply.json, node);
  // Consul takes an agent's services and checks in the random order of a Go map.
  const aggregates = (Array.isArray(body) ? body : [body]).filter((one) => one?.AggregatedStatus !== undefined);
  for (const one of aggregates) one.Checks?.sort(byField('CheckID'));
  if (Array.isArray(body) && aggregates.length > 0) body.sort((a, b) => byField('ID')(a.Service, b.Service));
  return { status: reply.status, headers, body };
}

const byField = (name: string) => (a: Record<string, string>, b: Record<string, string>) =>
  a[name] < b[name] ? -1 : 1;

function maskedJson(value: unknown, node: string): unknown {
  if (Array.isArray(value)) return value.map((item) => maskedJson(item, node));
  if (typeof value === 'string') {
    if (value === node) return 'NODE';
    return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value) ? 'a node ID' : value;
  }
  if (value === null || typeof value !== 'object') return value;
  const fields: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === 'consul') continue;
    const isIndex = (key === 'CreateIndex' || key === 'ModifyIndex') && (item as number) > 0;
    fields[key] = isIndex ? 'an index' : key === 'ContentHash' ? 'a hash' : maskedJson(item, node);
  }
  return fields;
}
