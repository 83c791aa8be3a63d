import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import type { CheckObserver, Journal } from './journal.ts';
import type { CheckRecord, CheckSpec, NodeRecord, ServiceRecord, ServiceSpec } from './records.ts';
import { SERF_HEALTH } from './records.ts';
import { Topics, topicOf } from './topics.ts';

/** A node as a request (or the address of a registrant) describes it. */
export interface NodeSpec {
  readonly name: string;
  readonly id: string;
  readonly address: string;
  readonly taggedAddresses: Readonly<Record<string, string>> | null;
  readonly meta: Readonly<Record<string, string>> | null;
  readonly ofRegistrant: boolean;
}

/**
 * Everything the registry knows: nodes, their services, their checks, and the index of each thing that can be watched. One public call is one
 * change with one index; a call that changes nothing takes none and wakes nobody. Times by `clock`.
 */
export class RegistryState {
  readonly nodes = new Map<string, NodeRecord>();
  /** By name: the instances of every service that has any. */
  readonly services = new Map<string, Set<ServiceRecord>>();
  readonly topics = new Topics();
  readonly #clock: Clock;
  readonly #journal: Journal;
  #observer: CheckObserver = { planned() {}, removed() {} };
  #index: number;
  /** Index of the present call's change; 0 until something changed. */
  #stamp = 0;
  #together = false;
  /** When the last service vanished altogether: the index of every service that is not there (Consul's rule). */
  #extinction = 0;

  /** `index` is one that no client was ever told. */
  constructor(index: number, clock: Clock, journal: Journal) {
    this.#index = index;
    this.#clock = clock;
    this.#journal = journal;
    for (const key of [topicOf.nodes, topicOf.services, topicOf.checks]) this.topics.touch(key, index);
  }

  observe(observer: CheckObserver): void {
    this.#observer = observer;
  }

  get index(): number {
    return this.#index;
  }

  /** What a blocking query about a service waits on. One that is not there has the index of the last extinction, else that of the registry. */
  serviceIndex(name: string): number {
    if (this.services.has(name)) return this.topics.indexOf(topicOf.service(name));
    if (this.#extinction > 0) return this.#extinction;
    return Math.max(this.topics.indexOf(topicOf.services), this.topics.indexOf(topicOf.nodes));
  }

  nodeIndex(name: string): number {
    return this.topics.indexOf(this.nodes.has(name) ? topicOf.node(name) : topicOf.nodes);
  }

  /** The index of a change that is kept elsewhere. */
  takeIndex(): number {
    this.#begin();
    return this.#next();
  }

  /** Several calls as one change: what `act` does has one index. */
  asOne<T>(act: () => T): T {
    this.#stamp = 0;
    this.#together = true;
    try {
      return act();
    } finally {
      this.#together = false;
    }
  }

  /** Makes a node or changes what is said of it. */
  putNode(spec: NodeSpec): NodeRecord {
    this.#begin();
    return this.#putNode(spec);
  }

  /** Registers a service with its checks. A check that was there keeps its status, whatever the request says. */
  register(node: NodeSpec, spec: ServiceSpec, checks: readonly CheckSpec[], replaceChecks: boolean): ServiceRecord {
    this.#begin();
    const record = this.#putNode(node);
    const service = this.#putService(record, spec);
    if (replaceChecks) {
      const kept = new Set(checks.map((check) => check.id));
      for (const check of [...service.checks.values()]) if (!kept.has(check.spec.id)) this.#removeCheck(check);
    }
    for (const check of checks) this.#putCheck(record, service, check, true);
    return service;
  }

  putService(node: NodeRecord, spec: ServiceSpec): ServiceRecord {
    this.#begin();
    return this.#putService(node, spec);
  }

  /** `keepStatus`: the status of a check that was there stays. The caller made sure that the service exists. */
  putCheck(node: NodeRecord, spec: CheckSpec, keepStatus: boolean): CheckRecord {
    this.#begin();
    return this.#putCheck(node, node.services.get(spec.serviceId) ?? null, spec, keepStatus);
  }

  removeService(service: ServiceRecord): void {
    this.#begin();
    this.#removeService(service);
    this.#dropIfEmpty(service.node);
  }

  removeCheck(check: CheckRecord): void {
    this.#begin();
    this.#removeCheck(check);
    this.#dropIfEmpty(check.node);
  }

  removeNode(node: NodeRecord): void {
    this.#begin();
    this.#removeNode(node);
  }

  /** The same status with another output is no change: it becomes visible with the next one. */
  setStatus(check: CheckRecord, status: string, output: string): void {
    this.#begin();
    check.output = output;
    if (check.status === status) return;
    check.status = status;
    check.statusSinceMs = this.#clock.now();
    check.modifyIndex = this.#next();
    this.#touchCheck(check);
    this.#journal.check(check.node.name, check.spec.id, check, true);
  }

  /** Puts back what a journal kept; before anybody asks. Their indexes are as they were, the topics' start at this run's first. */
  restore(nodes: readonly NodeRecord[], services: readonly ServiceRecord[], checks: readonly CheckRecord[]): void {
    for (const node of nodes) {
      this.nodes.set(node.name, node);
      this.topics.touch(topicOf.node(node.name), this.#index);
    }
    for (const service of services) {
      service.node.services.set(service.spec.id, service);
      this.#group(service);
      this.topics.touch(topicOf.service(service.spec.name), this.#index);
    }
    for (const check of checks) {
      this.#link(check);
      this.#observer.planned(check);
    }
    this.#extinction = this.#index;
  }

  #begin(): void {
    if (!this.#together) this.#stamp = 0;
  }

  #next(): number {
    if (this.#stamp === 0) {
      this.#stamp = ++this.#index;
      this.#journal.index(this.#stamp);
    }
    return this.#stamp;
  }

  #putNode(spec: NodeSpec): NodeRecord {
    const known = this.nodes.get(spec.name);
    if (known === undefined) return this.#addNode(spec);
    const same =
      known.id === spec.id &&
      known.address === spec.address &&
      isDeepStrictEqual(known.meta, spec.meta) &&
      isDeepStrictEqual(known.taggedAddresses, spec.taggedAddresses);
    if (same) return known;
    known.id = spec.id;
    known.address = spec.address;
    known.meta = spec.meta;
    known.taggedAddresses = spec.taggedAddresses;
    known.modifyIndex = this.#next();
    this.#touchNode(known);
    this.topics.touch(topicOf.nodes, known.modifyIndex);
    this.#journal.node(known.name, known);
    return known;
  }

  #addNode(spec: NodeSpec): NodeRecord {
    const index = this.#next();
    const node: NodeRecord = {
      ...spec,
      createIndex: index,
      modifyIndex: index,
      services: new Map(),
      checks: new Map(),
      ownChecks: new Map(),
    };
    this.nodes.set(node.name, node);
    this.topics.touch(topicOf.node(node.name), index);
    this.topics.touch(topicOf.nodes, index);
    this.#journal.node(node.name, node);
    if (spec.ofRegistrant) this.#putCheck(node, null, serfHealth, false);
    return node;
  }

  #putService(node: NodeRecord, spec: ServiceSpec): ServiceRecord {
    const known = node.services.get(spec.id);
    if (known !== undefined && isDeepStrictEqual(known.spec, spec)) return known;
    const index = this.#next();
    const service = known ?? { node, spec, createIndex: index, modifyIndex: index, checks: new Map() };
    if (known !== undefined && known.spec.name !== spec.name) this.#ungroup(known);
    service.spec = spec;
    service.modifyIndex = index;
    node.services.set(spec.id, service);
    this.#group(service);
    this.#touchService(service);
    this.topics.touch(topicOf.services, index);
    this.#journal.service(node.name, spec.id, service);
    return service;
  }

  #putCheck(node: NodeRecord, service: ServiceRecord | null, spec: CheckSpec, keepStatus: boolean): CheckRecord {
    let known = node.checks.get(spec.id);
    // The ID was another service's: Consul lets the later registration have it.
    if (known !== undefined && known.service !== service) {
      this.#removeCheck(known);
      known = undefined;
    }
    const status = known !== undefined && keepStatus ? known.status : spec.status;
    const output = known !== undefined && keepStatus ? known.output : spec.output;
    const sameSpec = known !== undefined && isDeepStrictEqual({ ...known.spec, status }, { ...spec, status });
    if (known !== undefined && sameSpec && known.status === status) {
      known.output = output;
      this.#observer.planned(known);
      return known;
    }
    const index = this.#next();
    const check: CheckRecord = known ?? {
      node,
      service,
      spec,
      status,
      output,
      statusSinceMs: this.#clock.now(),
      createIndex: index,
      modifyIndex: index,
    };
    if (check.status !== status) check.statusSinceMs = this.#clock.now();
    check.spec = spec;
    check.status = status;
    check.output = output;
    check.modifyIndex = index;
    this.#link(check);
    this.#touchCheck(check);
    this.#journal.check(node.name, spec.id, check, false);
    this.#observer.planned(check);
    return check;
  }

  #removeNode(node: NodeRecord): void {
    for (const service of [...node.services.values()]) this.#removeService(service);
    for (const check of [...node.checks.values()]) this.#removeCheck(check);
    this.nodes.delete(node.name);
    this.topics.touch(topicOf.nodes, this.#next());
    this.topics.touch(topicOf.node(node.name), this.#next());
    this.topics.drop(topicOf.node(node.name));
    this.#journal.node(node.name, null);
  }

  #removeService(service: ServiceRecord): void {
    for (const check of [...service.checks.values()]) this.#removeCheck(check);
    service.node.services.delete(service.spec.id);
    this.#touchService(service);
    this.topics.touch(topicOf.services, this.#next());
    this.#ungroup(service);
    this.#journal.service(service.node.name, service.spec.id, null);
  }

  #removeCheck(check: CheckRecord): void {
    check.node.checks.delete(check.spec.id);
    check.node.ownChecks.delete(check.spec.id);
    check.service?.checks.delete(check.spec.id);
    this.#next();
    this.#touchCheck(check);
    this.#observer.removed(check);
    this.#journal.check(check.node.name, check.spec.id, null, false);
  }

  /** A node made for a registrant goes with the last thing it holds. */
  #dropIfEmpty(node: NodeRecord): void {
    if (!node.ofRegistrant || node.services.size > 0 || !this.nodes.has(node.name)) return;
    if (node.checks.size > 1 || (node.checks.size === 1 && !node.checks.has(SERF_HEALTH))) return;
    this.#removeNode(node);
  }

  #link(check: CheckRecord): void {
    check.node.checks.set(check.spec.id, check);
    (check.service?.checks ?? check.node.ownChecks).set(check.spec.id, check);
  }

  #group(service: ServiceRecord): void {
    const group = this.services.get(service.spec.name);
    if (group === undefined) this.services.set(service.spec.name, new Set([service]));
    else group.add(service);
  }

  #ungroup(service: ServiceRecord): void {
    const { name } = service.spec;
    const group = this.services.get(name) as Set<ServiceRecord>;
    group.delete(service);
    this.topics.touch(topicOf.service(name), this.#next());
    if (group.size > 0) return;
    this.services.delete(name);
    this.#extinction = this.#next();
    this.topics.drop(topicOf.service(name));
  }

  #touchCheck(check: CheckRecord): void {
    this.topics.touch(topicOf.checks, this.#next());
    if (check.service === null) this.#touchNode(check.node);
    else this.#touchService(check.service);
  }

  #touchService(service: ServiceRecord): void {
    this.topics.touch(topicOf.service(service.spec.name), this.#next());
    this.topics.touch(topicOf.node(service.node.name), this.#next());
  }

  /** Whatever is said of a node is said of each of its services. */
  #touchNode(node: NodeRecord): void {
    const index = this.#next();
    this.topics.touch(topicOf.node(node.name), index);
    for (const service of node.services.values()) this.topics.touch(topicOf.service(service.spec.name), index);
  }
}

const serfHealth: CheckSpec = {
  id: SERF_HEALTH,
  name: 'Serf Health Status',
  notes: '',
  status: 'passing',
  output: 'Agent alive and reachable',
  serviceId: '',
  type: '',
  definition: {},
  plan: null,
};
