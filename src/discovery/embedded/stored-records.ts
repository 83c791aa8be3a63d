import type { KeyValue } from './key-values.ts';
import type { CheckRecord, CheckSpec, NodeRecord, ServiceRecord, ServiceSpec } from './records.ts';
import type { StoredRow } from './store-writer.ts';

/** Records as JSON on disk, and back. A row that cannot be read is left out and named. */

interface StoredNode {
  readonly name: string;
  readonly id: string;
  readonly address: string;
  readonly taggedAddresses: Record<string, string> | null;
  readonly meta: Record<string, string> | null;
  readonly ofRegistrant: boolean;
  readonly createIndex: number;
  readonly modifyIndex: number;
}

interface StoredService {
  readonly node: string;
  readonly spec: ServiceSpec;
  readonly createIndex: number;
  readonly modifyIndex: number;
}

interface StoredCheck {
  readonly node: string;
  readonly spec: CheckSpec;
  readonly status: string;
  readonly output: string;
  readonly createIndex: number;
  readonly modifyIndex: number;
}

/** Key of a service or check: unambiguous whatever the names hold. */
export function instanceKey(node: string, id: string): string {
  return JSON.stringify([node, id]);
}

export function nodeRow(node: NodeRecord): string {
  const { name, id, address, taggedAddresses, meta, ofRegistrant, createIndex, modifyIndex } = node;
  const row: StoredNode = { name, id, address, taggedAddresses, meta, ofRegistrant, createIndex, modifyIndex };
  return JSON.stringify(row);
}

export function serviceRow(service: ServiceRecord): string {
  const { node, spec, createIndex, modifyIndex } = service;
  const row: StoredService = { node: node.name, spec, createIndex, modifyIndex };
  return JSON.stringify(row);
}

export function checkRow(check: CheckRecord): string {
  const { node, spec, status, output, createIndex, modifyIndex } = check;
  const row: StoredCheck = { node: node.name, spec, status, output, createIndex, modifyIndex };
  return JSON.stringify(row);
}

interface StoredKeyValue {
  readonly value: string;
  readonly flags: string;
  readonly createIndex: number;
  readonly modifyIndex: number;
}

export function keyValueRow({ value, flags, createIndex, modifyIndex }: KeyValue): string {
  const row: StoredKeyValue = { value: value.toString('base64'), flags, createIndex, modifyIndex };
  return JSON.stringify(row);
}

export interface RestoredRecords {
  readonly nodes: readonly NodeRecord[];
  readonly services: readonly ServiceRecord[];
  readonly checks: readonly CheckRecord[];
  readonly keyValues: readonly KeyValue[];
  readonly unreadable: readonly string[];
}

/** Puts rows together again. `nowMs`: every status counts from now on. */
export function restoredRecords(rows: readonly StoredRow[], nowMs: number): RestoredRecords {
  const nodes = new Map<string, NodeRecord>();
  const services = new Map<string, ServiceRecord>();
  const checks: CheckRecord[] = [];
  const keyValues: KeyValue[] = [];
  const unreadable: string[] = [];
  const each = <T>(kind: StoredRow['kind'], take: (stored: T, row: StoredRow) => void) => {
    for (const row of rows) {
      if (row.kind !== kind) continue;
      try {
        take(JSON.parse(row.json as string) as T, row);
      } catch {
        unreadable.push(`${kind} ${row.key}`);
      }
    }
  };
  each<StoredNode>('node', (stored) => {
    const holds = { services: new Map(), checks: new Map(), ownChecks: new Map() };
    nodes.set(stored.name, { ...stored, ...holds });
  });
  each<StoredService>('service', (stored, row) => {
    const { spec, createIndex, modifyIndex } = stored;
    services.set(row.key, { node: present(nodes, stored.node), spec, createIndex, modifyIndex, checks: new Map() });
  });
  each<StoredCheck>('check', (stored) => {
    const { node, spec, ...rest } = stored;
    const service = spec.serviceId === '' ? null : present(services, instanceKey(node, spec.serviceId));
    checks.push({ ...rest, node: present(nodes, node), service, spec, statusSinceMs: nowMs });
  });
  each<StoredKeyValue>('kv', ({ value, ...rest }, { key }) => {
    keyValues.push({ key, value: Buffer.from(value, 'base64'), ...rest });
  });
  return { nodes: [...nodes.values()], services: [...services.values()], checks, keyValues, unreadable };
}

function present<T>(records: ReadonlyMap<string, T>, key: string): T {
  const record = records.get(key);
  if (record === undefined) throw new Error(`${key} is missing`);
  return record;
}
