import { formatHostPort, parseHostPort } from '../base/literals.ts';
import type { Registration, RegistryEndpoint, RegistryStatus } from './registry.ts';

/** How records are written by the tools that keep services in key-value stores. */
export type RecordFormat = 'curator' | 'nerve' | 'grpc' | 'plain';

type Fields = Readonly<Record<string, unknown>>;

/** What the store knows besides the record. */
export interface RecordOrigin {
  /** The record's own name, the last part of its path: read where the record itself is empty. */
  readonly name: string;
  readonly generation: string;
}

/**
 * Reads a record of any of the given formats, or of all of them (`formats` null); null when it is none. One odd field does not cost an endpoint. Formats are told apart by their fields:
 * - `curator`: `{ address, port, sslPort, payload: { metadata } }` (Curator's service discovery, Spring Cloud, Dubbo 3)
 * - `nerve`: `{ host, port, weight, labels }` (SmartStack), and `{ serviceEndpoint: { host, port }, status }` (Twitter's serversets)
 * - `grpc`: `{ Op, Addr, Metadata }` (etcd's naming package for gRPC; `addr` too)
 * - `plain`: `10.0.0.1:8080`, as the value or as the record's name
 * In each of the JSON forms weight, zone, version, backup, status and tags may stand beside the address or in its metadata.
 */
export function readRecord(
  data: Buffer,
  origin: RecordOrigin,
  formats: readonly RecordFormat[] | null,
): RegistryEndpoint | null {
  const text = data.toString().trim();
  const fields = text.startsWith('{') ? parseFields(text) : null;
  const isAsked = (one: RecordFormat) => formats === null || formats.includes(one);
  if (fields !== null) {
    if (isAsked('curator') && fields.address !== undefined && ('port' in fields || 'sslPort' in fields))
      return fromCurator(fields, origin);
    if (isAsked('nerve') && (fields.host !== undefined || fields.serviceEndpoint !== undefined))
      return fromNerve(fields, origin);
    if (isAsked('grpc') && (fields.Addr !== undefined || fields.addr !== undefined)) return fromGrpc(fields, origin);
    return null;
  }
  if (!isAsked('plain') || text.startsWith('{')) return null;
  const address = parseHostPort(text) ?? parseHostPort(origin.name);
  return address === null ? null : toEndpoint(address, {}, {}, origin);
}

/** What `readRecord` reads as this registration. */
export function writeRecord(self: Registration, format: RecordFormat, nowMs: number): Buffer {
  const metadata: Record<string, string> = { ...self.metadata, weight: String(self.weight) };
  if (self.tags.length > 0) metadata.tags = self.tags.join(',');
  return Buffer.from(recordText(self, metadata, format, nowMs));
}

function recordText(self: Registration, metadata: Record<string, string>, format: RecordFormat, nowMs: number): string {
  const { host, port, weight, id, service: name } = self;
  if (format === 'plain') return formatHostPort(host, port);
  if (format === 'grpc') return JSON.stringify({ Op: 0, Addr: formatHostPort(host, port), Metadata: metadata });
  if (format === 'nerve') return JSON.stringify({ host, port, name: id, weight, labels: metadata });
  return JSON.stringify({
    name,
    id,
    address: host,
    port,
    sslPort: null,
    payload: { id, name, metadata },
    registrationTimeUTC: nowMs,
    serviceType: 'DYNAMIC',
    uriSpec: null,
  });
}

function fromCurator(fields: Fields, origin: RecordOrigin): RegistryEndpoint | null {
  const payload = asFields(fields.payload);
  const metadata = textsOf(asFields(payload.metadata ?? fields.payload));
  const port = portOf(fields.port) ?? portOf(fields.sslPort);
  return port === null ? null : toEndpoint({ host: String(fields.address), port }, fields, metadata, origin);
}

function fromNerve(fields: Fields, origin: RecordOrigin): RegistryEndpoint | null {
  const at = fields.serviceEndpoint === undefined ? fields : asFields(fields.serviceEndpoint);
  const port = portOf(at.port);
  if (port === null || typeof at.host !== 'string') return null;
  const metadata = textsOf({ ...asFields(fields.labels), ...asFields(fields.metadata) });
  return toEndpoint({ host: at.host, port }, fields, metadata, origin);
}

function fromGrpc(fields: Fields, origin: RecordOrigin): RegistryEndpoint | null {
  const address = parseHostPort(String(fields.Addr ?? fields.addr));
  if (address === null || fields.Op === 1) return null;
  const metadata = textsOf(asFields(fields.Metadata ?? fields.metadata));
  return toEndpoint(address, fields, metadata, origin);
}

function toEndpoint(
  address: { host: string; port: number },
  fields: Fields,
  metadata: Record<string, string>,
  { generation }: RecordOrigin,
): RegistryEndpoint {
  const told = (name: string) => metadata[name] ?? textOf(fields[name]) ?? '';
  const weight = told('weight');
  return {
    host: address.host.replace(/^\[|\]$/g, ''),
    port: address.port,
    weight: weight === '' ? 1 : weightOf(weight),
    zone: told('zone') || told('az'),
    version: told('version'),
    backup: told('backup') === 'true',
    status: statusOf(fields, told('instance_status') || told('status')),
    tags: tagsOf(fields.tags, metadata.tags),
    metadata,
    generation,
  };
}

function weightOf(text: string): number {
  const weight = Number(text);
  return Number.isFinite(weight) && weight >= 0 ? weight : 1;
}

/** An operator's word (switched off, out of service) drains; what reports itself unfit is down. */
function statusOf({ enabled }: Fields, word: string): RegistryStatus {
  if (enabled === false) return 'draining';
  switch (word.toUpperCase()) {
    case 'OUT_OF_SERVICE':
    case 'DRAINING':
    case 'STOPPING':
      return 'draining';
    case 'DOWN':
    case 'STARTING':
    case 'STOPPED':
    case 'DEAD':
    case 'FAILED':
      return 'down';
    default:
      return 'up';
  }
}

function tagsOf(listed: unknown, joined: string | undefined): string[] {
  if (Array.isArray(listed)) return listed.filter((tag) => typeof tag === 'string');
  return (joined ?? '')
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
}

function parseFields(text: string): Fields | null {
  try {
    return asFields(JSON.parse(text));
  } catch {
    return null;
  }
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** The entries that are one value each, as texts. */
function textsOf(fields: Fields): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(fields)) {
    const text = textOf(value);
    // Jackson writes the Java class of what it wrote.
    if (text !== null && name !== '@class') texts[name] = text;
  }
  return texts;
}

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}

function portOf(value: unknown): number | null {
  const port = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof port === 'number' && port > 0 ? port : null;
}
