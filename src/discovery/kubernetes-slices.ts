import { z } from 'zod';
import { OperationError } from '../base/errors.ts';
import type { RegistryEndpoint, RegistryStatus } from './registry.ts';

/** `catch` makes a field that is missing, null or of a wrong type the fallback: one odd field must not cost an endpoint. */
const text = z.string().catch('');
const words = z.record(z.string(), z.string()).catch({});
/** Absence is no `false`: an API server drops fields that it does not know. */
const known = z.boolean().nullable().catch(null);

/** What of an EndpointSlice is used; the names are those of discovery.k8s.io/v1, with what v1beta1 called otherwise. */
const slice = z.object({
  metadata: z.object({ name: z.string(), labels: words, annotations: words }),
  // One by one: an odd endpoint must not cost the others, and a list that is none is no empty one.
  endpoints: z.array(z.unknown()).nullish(),
  ports: z
    .array(z.object({ name: text, port: z.number().nullable().catch(null), appProtocol: text }))
    .nullable()
    .catch(null),
});

const endpoint = z.object({
  addresses: z.array(z.string()).min(1),
  conditions: z.object({ ready: known, serving: known, terminating: known }).catch({
    ready: null,
    serving: null,
    terminating: null,
  }),
  zone: text,
  nodeName: text,
  targetRef: z.object({ uid: text, name: text }).catch({ uid: '', name: '' }),
  hints: z.object({ forZones: z.array(z.object({ name: z.string() })).catch([]) }).catch({ forZones: [] }),
  topology: words,
});

/** What of a slice that is gone is used. */
const gone = z.object({ metadata: z.object({ name: z.string() }) });

type SliceEndpoint = z.infer<typeof endpoint>;
type Slice = Omit<z.infer<typeof slice>, 'endpoints'> & { readonly endpoints: readonly SliceEndpoint[] };
type Port = NonNullable<Slice['ports']>[number];

/** The label by which a slice belongs to a service. */
const SERVICE = 'kubernetes.io/service-name';
/** On a Service; Kubernetes copies it to the slices it makes. */
const WEIGHT = 'evenkeel/weight';
const VERSION = 'app.kubernetes.io/version';

/** A service as a pool names it: `namespace/service:port`, the namespace and the port where they are not clear anyway. */
export interface KubernetesName {
  /** '' for the registry's own. */
  readonly namespace: string;
  readonly service: string;
  /** Name or number; '' for the only one, or the one called `http`. */
  readonly port: string;
}

/** Null when it is no such name. */
export function parseKubernetesName(name: string): KubernetesName | null {
  const match = /^(?:([a-z0-9-]{1,63})\/)?([a-z0-9-]{1,63})(?::([a-z0-9-]{1,63}))?$/.exec(name);
  return match === null ? null : { namespace: match[1] ?? '', service: match[2], port: match[3] ?? '' };
}

/** The EndpointSlices of one namespace as they were told last. Kept by KubernetesWatch; read for every service somebody wants. */
export class KubernetesSlices {
  #slices = new Map<string, Slice>();

  /** A whole list; what is not in it is gone. Slices and endpoints that cannot be read are left out; returns how many. */
  replace(items: readonly unknown[]): number {
    const slices = new Map<string, Slice>();
    let unreadable = 0;
    for (const item of items) {
      const read = readSlice(item);
      unreadable += read.unreadable;
      if (read.slice !== null) slices.set(read.slice.metadata.name, read.slice);
    }
    this.#slices = slices;
    return unreadable;
  }

  /** One event of a watch. Returns the services it concerns, and how much of it cannot be read: a slice that cannot be leaves the one there was. */
  take(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: unknown): { services: string[]; unreadable: number } {
    if (type === 'DELETED') return this.#remove(object);
    const { slice: now, unreadable } = readSlice(object);
    if (now === null) return { services: [], unreadable };
    const before = this.#slices.get(now.metadata.name);
    this.#slices.set(now.metadata.name, now);
    return { services: [now, before].flatMap((one) => one?.metadata.labels[SERVICE] ?? []), unreadable };
  }

  #remove(object: unknown): { services: string[]; unreadable: number } {
    const { success, data } = gone.safeParse(object);
    if (!success) return { services: [], unreadable: 1 };
    const before = this.#slices.get(data.metadata.name);
    this.#slices.delete(data.metadata.name);
    const service = before?.metadata.labels[SERVICE];
    return { services: service === undefined ? [] : [service], unreadable: 0 };
  }

  /** Unsorted; an endpoint that moves is in two slices. Throws an OperationError when the port is not clear. */
  endpointsOf({ service, port }: KubernetesName): RegistryEndpoint[] {
    const slices = [...this.#slices.values()].filter(({ metadata }) => metadata.labels[SERVICE] === service);
    return slices.flatMap((one) => endpointsIn(one, port));
  }
}

/** The slice without the endpoints that cannot be read, null when it is none; `unreadable` counts what is left out. */
function readSlice(item: unknown): { slice: Slice | null; unreadable: number } {
  const { success, data } = slice.safeParse(item);
  if (!success) return { slice: null, unreadable: 1 };
  const told = data.endpoints ?? [];
  const endpoints = told.flatMap((one) => endpoint.safeParse(one).data ?? []);
  return { slice: { ...data, endpoints }, unreadable: told.length - endpoints.length };
}

function endpointsIn(slice: Slice, wanted: string): RegistryEndpoint[] {
  if (slice.endpoints.length === 0) return [];
  const port = portOf(slice, wanted);
  if (port === null) return [];
  const { labels, annotations } = slice.metadata;
  const told = Number(annotations[WEIGHT] ?? 1);
  const weight = Number.isFinite(told) && told >= 0 ? told : 1;
  const tags = Object.entries(labels).flatMap(([name, value]) =>
    name.includes('kubernetes.io/') ? [] : `${name}=${value}`,
  );
  return slice.endpoints.map((endpoint) => ({
    // The addresses of one endpoint lead to the same place: the first is as good as any.
    host: endpoint.addresses[0],
    port: port.port!,
    weight,
    zone: endpoint.zone || endpoint.topology['topology.kubernetes.io/zone'] || '',
    version: labels[VERSION] ?? '',
    backup: false,
    status: statusOf(endpoint.conditions),
    tags,
    metadata: metadataOf(endpoint, port),
    generation: endpoint.targetRef.uid,
  }));
}

function portOf({ ports, metadata }: Slice, wanted: string): Port | null {
  const list = (ports ?? []).filter(({ port }) => port !== null);
  const number = /^\d+$/.test(wanted) ? Number(wanted) : null;
  if (number !== null) {
    // No ports in a slice: every port of the address may be asked for.
    if (list.length === 0) return { name: '', port: number, appProtocol: '' };
    return list.find(({ port }) => port === number) ?? null;
  }
  if (wanted !== '') return list.find(({ name }) => name === wanted) ?? null;
  if (list.length <= 1) return list[0] ?? null;
  const http = list.find(({ name }) => name === 'http');
  if (http !== undefined) return http;
  const names = list.map(({ name, port }) => name || port).join(', ');
  const service = metadata.labels[SERVICE];
  throw new OperationError(
    'registry-service',
    `${service} has several ports; write it as ${service}:PORT with one of ${names}`,
  );
}

/** `ready` of a terminating endpoint is false by definition, or says nothing where not-ready addresses are published. */
function statusOf({
  ready,
  serving,
  terminating,
}: {
  ready: boolean | null;
  serving: boolean | null;
  terminating: boolean | null;
}): RegistryStatus {
  if (terminating === true) return (serving ?? ready) === false ? 'down' : 'draining';
  return ready === false ? 'down' : 'up';
}

function metadataOf({ nodeName, topology, targetRef, hints }: SliceEndpoint, port: Port): Record<string, string> {
  const metadata: Record<string, string> = {};
  const node = nodeName || topology['kubernetes.io/hostname'];
  if (node) metadata.node = node;
  if (targetRef.name !== '') metadata.pod = targetRef.name;
  if (port.appProtocol !== '') metadata.appProtocol = port.appProtocol;
  if (hints.forZones.length > 0) metadata.forZones = hints.forZones.map(({ name }) => name).join();
  return metadata;
}
