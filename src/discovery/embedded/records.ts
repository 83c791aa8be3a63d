/** What a service or a node says of itself in the form Consul keeps it. Mutable: RegistryState alone writes them. */
export interface NodeRecord {
  readonly name: string;
  id: string;
  address: string;
  taggedAddresses: Readonly<Record<string, string>> | null;
  meta: Readonly<Record<string, string>> | null;
  /** Made by this registry for the address a registrant called from; goes with its last service. Others go only when told. */
  ofRegistrant: boolean;
  createIndex: number;
  modifyIndex: number;
  readonly services: Map<string, ServiceRecord>;
  /** Every check on the node by ID, those of its services too. */
  readonly checks: Map<string, CheckRecord>;
  /** The checks of the node itself: they count for each of its services. */
  readonly ownChecks: Map<string, CheckRecord>;
}

export interface ServiceAddress {
  readonly Address: string;
  readonly Port: number;
}

export interface Weights {
  readonly Passing: number;
  readonly Warning: number;
}

/** A service as a request describes it. */
export interface ServiceSpec {
  readonly id: string;
  readonly name: string;
  readonly tags: readonly string[];
  /** Null when the request had none: Consul then answers null in some places and {} in others. */
  readonly meta: Readonly<Record<string, string>> | null;
  readonly address: string;
  readonly port: number;
  readonly taggedAddresses: Readonly<Record<string, ServiceAddress>> | null;
  readonly weights: Weights;
  readonly enableTagOverride: boolean;
}

export interface ServiceRecord {
  readonly node: NodeRecord;
  spec: ServiceSpec;
  createIndex: number;
  modifyIndex: number;
  readonly checks: Map<string, CheckRecord>;
}

/** How the registry itself finds out a check's status. Times in ms, 0 where the kind has none. */
export interface CheckPlan {
  readonly kind: 'ttl' | 'http' | 'tcp';
  readonly ttlMs: number;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** URL of an HTTP check, `host:port` of a TCP check. */
  readonly target: string;
  readonly method: string;
  readonly header: Readonly<Record<string, readonly string[]>>;
  readonly body: string;
  readonly tlsSkipVerify: boolean;
  readonly successBeforePassing: number;
  readonly failuresBeforeCritical: number;
  /** The service goes when the check was critical for so long; 0 = never. */
  readonly deregisterAfterMs: number;
  readonly outputMax: number;
}

/** A check as a request describes it. */
export interface CheckSpec {
  readonly id: string;
  readonly name: string;
  readonly notes: string;
  /** passing, warning or critical; the catalog API lets other words through, as Consul does, and they count as not passing. */
  readonly status: string;
  readonly output: string;
  /** '' for a check of the node. */
  readonly serviceId: string;
  /** ttl, http, tcp, maintenance or ''. */
  readonly type: string;
  /** Consul's `Definition`, answered as it came. */
  readonly definition: Readonly<Record<string, unknown>>;
  /** Null: nobody but its registrant sets the status. */
  readonly plan: CheckPlan | null;
}

export interface CheckRecord {
  readonly node: NodeRecord;
  readonly service: ServiceRecord | null;
  spec: CheckSpec;
  status: string;
  output: string;
  /** When the status became what it is, by the clock of this process. */
  statusSinceMs: number;
  createIndex: number;
  modifyIndex: number;
}

/** The check that says a node is reachable: clients look for it. This registry never turns it. */
export const SERF_HEALTH = 'serfHealth';
export const NODE_MAINTENANCE = '_node_maintenance';
export const SERVICE_MAINTENANCE_PREFIX = '_service_maintenance:';
