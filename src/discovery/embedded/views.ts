import { DATACENTER } from './blocking-queries.ts';
import type { CheckRecord, NodeRecord, ServiceRecord } from './records.ts';

/** Records as Consul 1.8.7 shows them, field by field. Each function makes new objects: nothing answered is a record. */

const PROXY = { MeshGateway: {}, Expose: {} };

export function nodeView(node: NodeRecord): Record<string, unknown> {
  return {
    ID: node.id,
    Node: node.name,
    Address: node.address,
    Datacenter: DATACENTER,
    TaggedAddresses: node.taggedAddresses,
    Meta: node.meta,
    CreateIndex: node.createIndex,
    ModifyIndex: node.modifyIndex,
  };
}

/** A service within `health/service` and `catalog/node`. */
export function serviceView(service: ServiceRecord): Record<string, unknown> {
  const { spec } = service;
  return {
    ID: spec.id,
    Service: spec.name,
    Tags: spec.tags,
    Address: spec.address,
    ...(spec.taggedAddresses === null ? {} : { TaggedAddresses: spec.taggedAddresses }),
    Meta: spec.meta,
    Port: spec.port,
    Weights: spec.weights,
    EnableTagOverride: spec.enableTagOverride,
    Proxy: PROXY,
    Connect: {},
    CreateIndex: service.createIndex,
    ModifyIndex: service.modifyIndex,
  };
}

export function checkView(check: CheckRecord): Record<string, unknown> {
  return {
    ...checkHead(check),
    Type: check.spec.type,
    Definition: check.spec.definition,
    CreateIndex: check.createIndex,
    ModifyIndex: check.modifyIndex,
  };
}

/** An entry of `health/service`. */
export function healthView(service: ServiceRecord): Record<string, unknown> {
  return {
    Node: nodeView(service.node),
    Service: serviceView(service),
    Checks: healthChecks(service).map(checkView),
  };
}

/** What decides over a service's health: the checks of its node, then its own. */
export function healthChecks(service: ServiceRecord): CheckRecord[] {
  return [...byId(service.node.ownChecks), ...byId(service.checks)];
}

/** An entry of `catalog/service`. */
export function catalogServiceView(service: ServiceRecord): Record<string, unknown> {
  const { node, spec } = service;
  return {
    ID: node.id,
    Node: node.name,
    Address: node.address,
    Datacenter: DATACENTER,
    TaggedAddresses: node.taggedAddresses,
    NodeMeta: node.meta,
    ServiceKind: '',
    ServiceID: spec.id,
    ServiceName: spec.name,
    ServiceTags: spec.tags,
    ServiceAddress: spec.address,
    ...(spec.taggedAddresses === null ? {} : { ServiceTaggedAddresses: spec.taggedAddresses }),
    ServiceWeights: spec.weights,
    ServiceMeta: spec.meta ?? {},
    ServicePort: spec.port,
    ServiceEnableTagOverride: spec.enableTagOverride,
    ServiceProxy: PROXY,
    ServiceConnect: {},
    CreateIndex: service.createIndex,
    ModifyIndex: service.modifyIndex,
  };
}

/** A service as its agent shows it. */
export function agentServiceView(service: ServiceRecord): Record<string, unknown> {
  const { spec } = service;
  return {
    ID: spec.id,
    Service: spec.name,
    Tags: spec.tags,
    Meta: spec.meta ?? {},
    Port: spec.port,
    Address: spec.address,
    ...(spec.taggedAddresses === null ? {} : { TaggedAddresses: spec.taggedAddresses }),
    Weights: spec.weights,
    EnableTagOverride: spec.enableTagOverride,
  };
}

/** A check as its agent shows it: an agent does not know the catalog's indexes. */
export function agentCheckView(check: CheckRecord): Record<string, unknown> {
  return { ...checkHead(check), Type: check.spec.type, Definition: {}, CreateIndex: 0, ModifyIndex: 0 };
}

/** A check within `agent/health/service`, where Consul spells out an empty definition and has no tags for a check of the node. */
export function agentHealthCheckView(check: CheckRecord): Record<string, unknown> {
  const Definition = {
    Interval: '0s',
    Timeout: '0s',
    DeregisterCriticalServiceAfter: '0s',
    HTTP: '',
    Header: null,
    Method: '',
    Body: '',
    TLSSkipVerify: false,
    TCP: '',
  };
  const head = checkHead(check);
  if (check.service === null) head.ServiceTags = null;
  return { ...head, Type: '', Definition, CreateIndex: 0, ModifyIndex: 0 };
}

function checkHead(check: CheckRecord): Record<string, unknown> {
  return {
    Node: check.node.name,
    CheckID: check.spec.id,
    Name: check.spec.name,
    Status: check.status,
    Notes: check.spec.notes,
    Output: check.output,
    ServiceID: check.service?.spec.id ?? '',
    ServiceName: check.service?.spec.name ?? '',
    ServiceTags: check.service?.spec.tags ?? [],
  };
}

/** In the order of their keys, as Consul's radix trees have them. */
export function byId<T>(records: ReadonlyMap<string, T>): T[] {
  if (records.size < 2) return [...records.values()];
  return [...records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
}

/** By node, then by service ID. */
export function inOrder(services: Iterable<ServiceRecord>): ServiceRecord[] {
  const place = (service: ServiceRecord) => `${service.node.name}\0${service.spec.id}`;
  return [...services]
    .map((service) => [place(service), service] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, service]) => service);
}
