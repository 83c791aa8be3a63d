import { hash } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { formatHostPort } from '../base/literals.ts';
import type { RegistryEndpoint, RegistryStatus } from './registry.ts';

/** Endpoints of one service beyond this number are dropped, those with the highest addresses first. */
export const MAX_ENDPOINTS = 10_000;

/** Names and values of one record's metadata and tags together, in UTF-16 units. */
const MAX_METADATA = 65_536;

/** What is left of a registry's records, and what was wrong with the others. */
export interface CleanSet {
  /** Sorted by address, each address once. */
  readonly endpoints: readonly RegistryEndpoint[];
  /** Records left out. */
  readonly dropped: number;
  /** Why the first of them was left out; null when none was. */
  readonly firstFault: string | null;
}

/**
 * Registry data is untrusted input: every registry passes its records through here. A bad record is left out alone and counted, a weight is
 * clamped, and an address that is told twice becomes one endpoint: the fitter record wins, then the younger one.
 */
export function cleanSet(records: readonly RegistryEndpoint[]): CleanSet {
  const byId = new Map<string, RegistryEndpoint>();
  let dropped = 0;
  let firstFault: string | null = null;
  for (const record of records) {
    const fault = faultOf(record);
    if (fault !== null) {
      dropped++;
      firstFault ??= fault;
      continue;
    }
    const endpoint = { ...record, host: record.host.toLowerCase(), weight: cleanWeight(record.weight) };
    const id = endpointId(endpoint);
    const other = byId.get(id);
    byId.set(id, other === undefined ? endpoint : fitter(endpoint, other));
  }
  const sorted = [...byId].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
  if (sorted.length > MAX_ENDPOINTS) {
    dropped += sorted.length - MAX_ENDPOINTS;
    firstFault ??= `more than ${MAX_ENDPOINTS} endpoints`;
    sorted.length = MAX_ENDPOINTS;
  }
  return { endpoints: sorted, dropped, firstFault };
}

/** `address:port`, as everywhere. */
export function endpointId(endpoint: RegistryEndpoint): string {
  return formatHostPort(endpoint.host, endpoint.port);
}

/** Whether a registry lets this endpoint take new work. */
export function isUsable(status: RegistryStatus): boolean {
  return status === 'up' || status === 'warning' || status === 'unknown';
}

/** Two sets with the same fingerprint are the same in every field. */
export function fingerprint(endpoints: readonly RegistryEndpoint[]): string {
  return hash('sha1', JSON.stringify(endpoints), 'base64');
}

/** Link-local addresses answer for the machine itself, clouds keep credentials there: no registry may point a proxy at them. */
const refused = new BlockList();
refused.addSubnet('169.254.0.0', 16, 'ipv4');
refused.addSubnet('fe80::', 10, 'ipv6');
refused.addAddress('0.0.0.0', 'ipv4');
refused.addAddress('::', 'ipv6');

/** Whether no endpoint may have this numeric address. */
export function isRefusedAddress(address: string): boolean {
  if (address.includes('%')) return true;
  return refused.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function faultOf(record: RegistryEndpoint): string | null {
  const { host, port } = record;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return `${host || '(no address)'} has the port ${port}`;
  if (isIP(host) !== 0) {
    if (isRefusedAddress(host)) return `${host} is an address no endpoint may have`;
  } else if (!isName(host)) {
    return host === '' ? 'a record has no address' : `${JSON.stringify(host.slice(0, 80))} is not an address`;
  }
  let length = 0;
  for (const tag of record.tags) length += tag.length;
  for (const name in record.metadata) length += name.length + record.metadata[name].length;
  return length > MAX_METADATA ? `${host}:${port} carries more than 64 KiB of metadata` : null;
}

function isName(host: string): boolean {
  return host.length <= 253 && /^[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?$/i.test(host);
}

function cleanWeight(weight: number): number {
  if (!Number.isFinite(weight)) return 1;
  return Math.round(Math.min(65_535, Math.max(0, weight)) * 100) / 100;
}

const FITNESS: readonly RegistryStatus[] = ['up', 'warning', 'unknown', 'draining', 'down'];

function fitter(one: RegistryEndpoint, other: RegistryEndpoint): RegistryEndpoint {
  const difference = FITNESS.indexOf(one.status) - FITNESS.indexOf(other.status);
  if (difference !== 0) return difference < 0 ? one : other;
  return one.generation >= other.generation ? one : other;
}
