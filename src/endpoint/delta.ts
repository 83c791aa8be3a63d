import { Endpoint, type EndpointSpec } from './endpoint.ts';
import type { SlotTable } from './slots.ts';

/** Endpoints one message carries at most: a worker never blocks on a large change. */
export const DELTA_ENDPOINTS = 500;
/** Numbers of one endpoint: slot, port, weight, backup. */
const NUMBERS = 4;

/** What changed in a pool, from main to a worker. A change of more than DELTA_ENDPOINTS comes in parts; it takes effect with the last. */
export interface EndpointDelta {
  readonly pool: string;
  readonly version: number;
  /** The last part of this change. */
  readonly last: boolean;
  /** NUMBERS for each endpoint that is new or has another weight, zone, DNS name or side of the backups. */
  readonly numbers: Float64Array;
  /** For the same endpoints `host`, `zone` and DNS name, separated by tabs, one endpoint a line. */
  readonly text: string;
  /** Slots that left. */
  readonly removed: readonly number[];
  /** All slots in the order of the set, with the last part; null when those that stay keep their order and newcomers follow them. */
  readonly order: Int32Array | null;
}

/** Packs a change into messages. `upserts` are endpoints as main sees them. */
export function packDelta(
  pool: string,
  version: number,
  upserts: readonly Endpoint[],
  removed: readonly number[],
  order: Int32Array | null = null,
): EndpointDelta[] {
  const parts: EndpointDelta[] = [];
  for (let from = 0; from === 0 || from < upserts.length; from += DELTA_ENDPOINTS) {
    const part = upserts.slice(from, from + DELTA_ENDPOINTS);
    const numbers = new Float64Array(part.length * NUMBERS);
    part.forEach((endpoint, i) => {
      numbers.set([endpoint.slot, endpoint.spec.port, endpoint.weight, endpoint.spec.backup ? 1 : 0], i * NUMBERS);
    });
    const inLine = (word: string) => word.replace(/[\t\n]/g, ' ');
    const text = part
      .map(({ spec }) => `${spec.host}\t${inLine(spec.zone)}\t${inLine(spec.metadata.name ?? '')}`)
      .join('\n');
    const last = from + DELTA_ENDPOINTS >= upserts.length;
    parts.push({ pool, version, last, numbers, text, removed: from === 0 ? removed : [], order: last ? order : null });
  }
  return parts;
}

/**
 * Applies one part to a worker's members (by slot). Tags and metadata stay with main, but for the DNS name: TLS asks for it. Whoever takes the last part sets
 * `isBackup`.
 */
export function applyDelta(
  delta: EndpointDelta,
  members: Map<number, Endpoint>,
  table: SlotTable,
  row: number,
): Endpoint[] {
  const gone: Endpoint[] = [];
  for (const slot of delta.removed) {
    const endpoint = members.get(slot);
    if (endpoint === undefined) continue;
    members.delete(slot);
    gone.push(endpoint);
  }
  const lines = delta.text.split('\n');
  for (let i = 0; i * NUMBERS < delta.numbers.length; i++) {
    const [slot, port, weight, backup] = delta.numbers.subarray(i * NUMBERS, (i + 1) * NUMBERS);
    const known = members.get(slot);
    const [host, zone, name = ''] = lines[i].split('\t');
    const metadata: Record<string, string> = name === '' ? {} : { name };
    const spec: EndpointSpec = { host, port, weight, zone, backup: backup === 1, version: '', tags: [], metadata };
    if (known === undefined) {
      members.set(slot, new Endpoint(slot, spec, table, row));
      continue;
    }
    known.spec = spec;
    known.weight = weight;
    known.effectiveWeight = weight;
  }
  if (delta.order !== null) putInOrder(members, delta.order);
  return gone;
}

/** Brings the entries of a map into the order of these keys, which are all of its keys. */
export function putInOrder<Key, Value>(map: Map<Key, Value>, keys: Iterable<Key>): void {
  for (const key of keys) {
    const value = map.get(key);
    if (value === undefined) continue;
    map.delete(key);
    map.set(key, value);
  }
}
