import { isIP } from 'node:net';
import { ApiError } from './api-error.ts';
import { decodeServiceCheck } from './decode-check.ts';
import type { Fields } from './json-fields.ts';
import type { CheckSpec, ServiceAddress, ServiceSpec, Weights } from './records.ts';

const IGNORED = ['Kind', 'Proxy', 'Connect', 'Namespace', 'Partition', 'Token', 'SocketPath', 'Ports', 'Locality'];
const META_PAIRS = 64;
const META_KEY = 128;
const META_VALUE = 512;

export interface DecodedService {
  readonly spec: ServiceSpec;
  readonly checks: readonly CheckSpec[];
  /** Fields nobody knows here. */
  readonly unknown: readonly string[];
}

/** The body of `PUT /v1/agent/service/register`. Throws ApiError with Consul's texts. */
export function decodeAgentService(fields: Fields): DecodedService {
  const name = fields.string('Name');
  const id = fields.string('ID') || name;
  if (name === '') throw new ApiError(400, 'Missing service name');
  const spec = decodeSpec(fields, id, name);
  if (spec.address === '0.0.0.0' || spec.address === '::' || spec.address === '[::]')
    throw new ApiError(400, 'Invalid service address');
  const unknown: string[] = [];
  const single = fields.object('Check');
  const several = fields.list('Checks');
  const checks: CheckSpec[] = [];
  const take = (check: Fields, ordinal: number) => {
    const decoded = decodeServiceCheck(check, { id, name }, ordinal);
    if (decoded === null) return;
    checks.push(decoded.spec);
    unknown.push(...decoded.unknown);
  };
  // An empty `Check` is none and uses up no number; each of several does, a named one too.
  if (several.length === 0) {
    if (single !== null) take(single, 0);
  } else {
    const all = single === null || single.rest().length === 0 ? several : [single, ...several];
    for (const [i, check] of all.entries()) take(check, all.length === 1 ? 0 : i + 1);
  }
  unknown.push(...fields.rest(IGNORED));
  return { spec: withDefaultAddresses(spec), checks, unknown };
}

/** The `Service` of `PUT /v1/catalog/register`. */
export function decodeCatalogService(fields: Fields): ServiceSpec {
  const name = fields.string('Service');
  const id = fields.string('ID') || name;
  if (name === '') throw new ApiError(500, 'Must provide service name with ID');
  return decodeSpec(fields, id, name);
}

function decodeSpec(fields: Fields, id: string, name: string): ServiceSpec {
  const meta = fields.stringMap('Meta');
  if (meta !== null) checkMeta(meta);
  const tagged = fields.fieldsMap('TaggedAddresses');
  const spec: ServiceSpec = {
    id,
    name,
    tags: fields.strings('Tags'),
    meta: meta !== null && Object.keys(meta).length > 0 ? meta : null,
    address: fields.string('Address'),
    port: fields.integer('Port'),
    taggedAddresses: tagged === null || tagged.size === 0 ? null : decodeTagged(tagged),
    weights: decodeWeights(fields.object('Weights')),
    enableTagOverride: fields.boolean('EnableTagOverride'),
  };
  return spec;
}

function decodeTagged(tagged: Map<string, Fields>): Record<string, ServiceAddress> {
  const decoded = (fields: Fields) => ({ Address: fields.string('Address'), Port: fields.integer('Port') });
  return sorted(Object.fromEntries([...tagged].map(([label, fields]) => [label, decoded(fields)])));
}

/** A numeric address of an agent's service is told under the tags of its family too, as Consul's agents do. */
function withDefaultAddresses(spec: ServiceSpec): ServiceSpec {
  const family = isIP(spec.address);
  if (family === 0) return spec;
  const own: ServiceAddress = { Address: spec.address, Port: spec.port };
  const defaults = { [`lan_ipv${family}`]: own, [`wan_ipv${family}`]: own };
  return { ...spec, taggedAddresses: sorted({ ...defaults, ...spec.taggedAddresses }) };
}

/** Go prints maps by key. */
function sorted<T>(map: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function decodeWeights(fields: Fields | null): Weights {
  if (fields === null) return { Passing: 1, Warning: 1 };
  const weights = { Passing: fields.integer('Passing'), Warning: fields.integer('Warning') };
  if (weights.Passing < 1) throw new ApiError(400, 'Invalid Weights: Passing must be greater than 0');
  if (weights.Warning < 0) throw new ApiError(400, 'Invalid Weights: Warning must be greater or equal than 0');
  if (weights.Passing > 65_535 || weights.Warning > 65_535)
    throw new ApiError(400, 'Invalid Weights: DNS Weight must be between 0 and 65535');
  return weights;
}

function checkMeta(meta: Readonly<Record<string, string>>): void {
  const pairs = Object.entries(meta);
  const invalid = (what: string) => new ApiError(400, `Invalid Service Meta: ${what}`);
  if (pairs.length > META_PAIRS) throw invalid(`Node metadata cannot contain more than ${META_PAIRS} key/value pairs`);
  for (const [key, value] of pairs) {
    const pair = (what: string) => invalid(`Couldn't load metadata pair ('${key}', '${value}'): ${what}`);
    if (key === '') throw pair('Key cannot be blank');
    if (!/^[a-zA-Z0-9_-]+$/.test(key)) throw pair('Key contains invalid characters');
    if (key.length > META_KEY) throw pair(`Key is too long (limit: ${META_KEY} characters)`);
    if (key.startsWith('consul-')) throw pair("Key prefix 'consul-' is reserved for internal use");
    if (value.length > META_VALUE) throw pair(`Value is too long (limit: ${META_VALUE} characters)`);
  }
}
