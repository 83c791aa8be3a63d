import type { Clock } from '../base/clock.ts';
import { formatHostPort } from '../base/literals.ts';
import type { Random } from '../base/random.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import type { RegistryEndpoint } from '../discovery/registry.ts';
import { type EndpointDelta, packDelta, putInOrder } from '../endpoint/delta.ts';
import { Down } from '../endpoint/down.ts';
import { Endpoint, type EndpointSpec } from '../endpoint/endpoint.ts';
import type { PoolWords } from '../endpoint/pool-words.ts';
import type { SlotAllocator } from '../endpoint/slot-allocator.ts';
import type { ProbeGate } from '../health/probe-gate.ts';
import { applySlowStart } from '../health/slow-start.ts';
import type { EjectionState } from './ejection-state.ts';
import { type AdminOverride, changed, type Member, type MemberEvent } from './member.ts';
import { MemberHealth } from './member-health.ts';
import type { PoolOptions } from './options.ts';
import { PoolEjection } from './pool-ejection.ts';
import { type RememberedEndpoint, recall, remember } from './remembered.ts';

/** How often weights in slow start and endpoints held down are looked at. */
const SELDOM_MS = 1000;

/** What a membership is made with. */
export interface MembershipContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly gate: ProbeGate;
  readonly slots: SlotAllocator;
  readonly words: PoolWords;
  /** Sends a change to every worker. */
  readonly publish: (delta: EndpointDelta) => void;
  /** Rows of the workers that live: each of them acknowledges a removal. */
  readonly workerRows: () => readonly number[];
  readonly onEvent: (pool: string, event: MemberEvent) => void;
  /** What operators had set in the process before this one. */
  readonly overrides?: Readonly<Record<string, AdminOverride>>;
  /** What a process before this one knew of an endpoint, and how long ago; null when nothing. Asked once for each that joins. */
  readonly recall?: (
    pool: string,
    id: string,
  ) => { readonly known: RememberedEndpoint; readonly sinceMs: number } | null;
  /** A new set took effect: IDs that joined, left, or have another weight or status. */
  readonly onChanged: (
    pool: string,
    added: readonly string[],
    removed: readonly string[],
    changed: readonly string[],
  ) => void;
}

/**
 * The endpoints of one pool on main: joins what the registry, the probes and the operator say of each, and keeps the workers up to date.
 * App gives it every new set of the pool's source; the admin API acts on it.
 */
export class Membership {
  readonly name: string;
  readonly words: PoolWords;
  options: PoolOptions;
  readonly #context: MembershipContext;
  readonly #members = new Map<string, Member>();
  readonly #overrides: Map<string, AdminOverride>;
  /** Slots that wait for the workers' acknowledgement, with the rows that still owe it. */
  readonly #leaving = new Map<number, Set<number>>();
  /** Those of the set that is being taken which the process before had ejected. */
  #recalled: { readonly endpoint: Endpoint; readonly forMs: number }[] = [];
  readonly #health: MemberHealth;
  readonly #ejection: PoolEjection;
  #version = 0;
  #seldomDueMs = 0;

  constructor(name: string, options: PoolOptions, context: MembershipContext) {
    this.name = name;
    this.words = context.words;
    this.options = options;
    this.#context = context;
    this.#overrides = new Map(Object.entries(context.overrides ?? {}));
    const { clock, random, wheel, gate, words } = context;
    const onEvent = (event: MemberEvent) => context.onEvent(name, event);
    this.#health = new MemberHealth(options, { clock, random, wheel, gate, words, members: this.#members, onEvent });
    this.#ejection = new PoolEjection(options.ejection, { clock, random, words, onEvent });
  }

  get members(): ReadonlyMap<string, Member> {
    return this.#members;
  }

  /** What the admin API set, by endpoint. */
  get overrides(): Record<string, AdminOverride> {
    return Object.fromEntries(this.#overrides);
  }

  /** What the admin API set for an endpoint; null when nothing. */
  override(id: string): AdminOverride | null {
    return this.#overrides.get(id) ?? null;
  }

  /** New options after a reload: probes and ejection start anew only when theirs changed. */
  configure(options: PoolOptions): void {
    const before = this.options;
    this.options = options;
    if (JSON.stringify(before.ejection) !== JSON.stringify(options.ejection))
      this.#ejection.configure(options.ejection, this.#endpoints());
    this.#health.configure(options);
  }

  /** The whole truth of the pool's source: numeric addresses only. */
  replace(set: readonly RegistryEndpoint[]): void {
    const upserts: Endpoint[] = [];
    const added: string[] = [];
    const changed: string[] = [];
    const kept = new Set<string>();
    this.#recalled = [];
    for (const spec of set) {
      const id = formatHostPort(spec.host, spec.port);
      if (kept.has(id)) continue;
      kept.add(id);
      const known = this.#members.get(id);
      if (known === undefined) {
        added.push(id);
        upserts.push(this.#add(id, spec).endpoint);
        continue;
      }
      if (known.spec.status !== spec.status || known.spec.weight !== spec.weight) changed.push(id);
      if (this.#update(id, known, spec)) upserts.push(known.endpoint);
    }
    const gone = [...this.#members.keys()].filter((id) => !kept.has(id));
    const removed = gone.map((id) => this.#remove(id));
    const all = this.#recalled.length === 0 ? [] : this.#endpoints();
    for (const { endpoint, forMs } of this.#recalled) this.#ejection.ejectAgain(endpoint, forMs, all);
    const order = this.#takeOrder(kept);
    if (upserts.length > 0 || removed.length > 0 || order !== null) this.#publish(upserts, removed, order);
    this.words.bumpGeneration();
    if (added.length + gone.length + changed.length > 0) this.#context.onChanged(this.name, added, gone, changed);
  }

  /** In force for every request picked for after it returns; null when there is no such endpoint. */
  setAdmin(id: string, change: Partial<AdminOverride>): Member | null {
    const member = this.#members.get(id);
    if (member === undefined) return null;
    const override = this.foresee(id, change);
    this.#applyAdmin(id, member);
    const weight = override.weight ?? member.spec.weight;
    if (weight !== member.endpoint.weight) {
      setWeight(member.endpoint, weight);
      this.#publish([member.endpoint], []);
    }
    this.words.bumpGeneration();
    return member;
  }

  /** The same for an endpoint that may come: in force when it does. Returns all that is set for it. */
  foresee(id: string, change: Partial<AdminOverride>): AdminOverride {
    const override = changed(this.#overrides.get(id), change);
    if (override.state === 'ready' && override.weight === null) this.#overrides.delete(id);
    else this.#overrides.set(id, override);
    return override;
  }

  /** Everything a new worker must know. */
  whole(): EndpointDelta[] {
    return packDelta(this.name, this.#version, this.#endpoints(), []);
  }

  /** The worker of this row has nothing left on a removed endpoint. */
  acknowledge(slot: number, row: number): void {
    const owing = this.#leaving.get(slot);
    if (owing === undefined) return;
    owing.delete(row);
    if (owing.size > 0) return;
    this.#leaving.delete(slot);
    this.#context.slots.giveBack(slot);
  }

  /** Closed, and every slot given back. */
  get isGone(): boolean {
    return this.#members.size === 0 && this.#leaving.size === 0;
  }

  /** A worker died: it owes nothing any more. */
  workerGone(row: number): void {
    this.words.retire(row);
    this.#ejection.workerGone(row, this.#endpoints());
    for (const slot of [...this.#leaving.keys()]) this.acknowledge(slot, row);
  }

  /** Called about every 100 ms: ends ejections whose time is over. */
  sweep(isLate = false): void {
    const nowMs = this.#context.clock.now();
    const endpoints = this.#endpoints();
    this.#ejection.sweep(endpoints, isLate);
    if (nowMs < this.#seldomDueMs) return;
    this.#seldomDueMs = nowMs + SELDOM_MS;
    const { slowStart } = this.options;
    if (slowStart !== null) applySlowStart(endpoints, nowMs, slowStart);
    this.#health.sweep();
  }

  /** How ejection stands; null when it is off. */
  get ejectionState(): EjectionState | null {
    return this.#ejection.state(this.#endpoints());
  }

  endpointOf(slot: number): Endpoint | null {
    for (const { endpoint } of this.#members.values()) if (endpoint.slot === slot) return endpoint;
    return null;
  }

  /** The pool leaves the document: workers drop it by themselves, its slots are free once they have. */
  close(): void {
    this.#health.close();
    const removed = [...this.#members.keys()].map((id) => this.#remove(id));
    if (removed.length > 0) this.#publish([], removed);
  }

  #endpoints(): Endpoint[] {
    return Array.from(this.#members.values(), ({ endpoint }) => endpoint);
  }

  #add(id: string, spec: RegistryEndpoint): Member {
    const { slots, clock } = this.#context;
    const endpoint = new Endpoint(slots.take(), specOf(spec), slots.table, 0);
    const member: Member = { endpoint, spec, downReason: '', isHeld: false };
    this.#members.set(id, member);
    setWeight(endpoint, this.#overrides.get(id)?.weight ?? spec.weight);
    endpoint.readySinceMs = clock.now();
    const unfit = this.#recall(member);
    this.#health.applyStatus(member);
    this.#applyAdmin(id, member);
    this.#health.begin(member, unfit);
    return member;
  }

  /** Takes over what the process before this one knew. Returns why its probe found the endpoint unfit, null when it did not. */
  #recall({ endpoint, spec }: Member): string | null {
    const { recall: ask, clock } = this.#context;
    const found = ask?.(this.name, endpoint.id) ?? null;
    if (found === null || found.known.generation !== spec.generation) return null;
    recall(endpoint, found.known, found.sinceMs, clock.now());
    const forMs = found.known.ejectedForMs - found.sinceMs;
    if (forMs > 0) this.#recalled.push({ endpoint, forMs });
    return found.known.unfit;
  }

  /** What the next process should know. */
  remember(): RememberedEndpoint[] {
    const nowMs = this.#context.clock.now();
    return Array.from(this.#members.values(), ({ endpoint, spec, downReason }) => {
      const isUnfit = (endpoint.down & Down.PROBE) !== 0;
      const reason = downReason.startsWith('probe: ') ? downReason.slice(7) : 'found unfit';
      return remember(endpoint, spec.generation, isUnfit ? reason : null, nowMs);
    });
  }

  /** Returns whether the workers must be told (the down bits they see by themselves). */
  #update(id: string, member: Member, spec: RegistryEndpoint): boolean {
    const { endpoint } = member;
    const isNewProcess =
      spec.generation !== '' && member.spec.generation !== '' && spec.generation !== member.spec.generation;
    member.spec = spec;
    const isOther = isToldApart(endpoint.spec, spec);
    endpoint.spec = specOf(spec);
    endpoint.isBackup = spec.backup;
    if (isNewProcess) this.#renew(endpoint);
    this.#health.applyStatus(member);
    const weight = this.#overrides.get(id)?.weight ?? spec.weight;
    if (weight === endpoint.weight) return isOther;
    setWeight(endpoint, weight);
    return true;
  }

  /** Another process took the address over: what its predecessor did is not held against it. */
  #renew(endpoint: Endpoint): void {
    this.#ejection.forgive(endpoint);
    endpoint.setLatency(Number.NaN, 0);
    endpoint.readySinceMs = this.#context.clock.now();
  }

  #remove(id: string): number {
    const { endpoint } = this.#members.get(id)!;
    this.#health.end(endpoint);
    endpoint.setDown(Down.LEAVING);
    this.#ejection.remove(endpoint);
    this.#members.delete(id);
    const rows = this.#context.workerRows();
    if (rows.length === 0) this.#context.slots.giveBack(endpoint.slot);
    else this.#leaving.set(endpoint.slot, new Set(rows));
    return endpoint.slot;
  }

  #applyAdmin(id: string, member: Member): void {
    const state = this.#overrides.get(id)?.state ?? 'ready';
    if (state === 'ready') {
      const was = member.endpoint.setDown(0, Down.ADMIN) & Down.ADMIN;
      if (was !== 0) member.endpoint.readySinceMs = this.#context.clock.now();
      if (member.downReason.startsWith('admin')) member.downReason = '';
    } else {
      member.endpoint.setDown(Down.ADMIN);
      member.downReason = `admin API set ${state}`;
    }
  }

  /** Puts the members in the order of the set; returns their slots in this order when it is another than that of joining. */
  #takeOrder(ids: ReadonlySet<string>): Int32Array | null {
    const members = this.#members.keys();
    let isSame = true;
    for (const id of ids) isSame &&= members.next().value === id;
    if (isSame) return null;
    putInOrder(this.#members, ids);
    return Int32Array.from(this.#members.values(), ({ endpoint }) => endpoint.slot);
  }

  #publish(upserts: readonly Endpoint[], removed: readonly number[], order: Int32Array | null = null): void {
    this.#version++;
    for (const delta of packDelta(this.name, this.#version, upserts, removed, order)) this.#context.publish(delta);
  }
}

/** The whole weight; a slow start lowers it again within a second. */
function setWeight(endpoint: Endpoint, weight: number): void {
  endpoint.weight = weight;
  endpoint.effectiveWeight = weight;
}

/** Whether workers would treat them differently, weights aside. */
function isToldApart(one: EndpointSpec, other: EndpointSpec): boolean {
  const isSameName = (one.metadata.name ?? '') === (other.metadata.name ?? '');
  return one.zone !== other.zone || one.backup !== other.backup || !isSameName;
}

function specOf({ host, port, weight, zone, backup, version, tags, metadata }: RegistryEndpoint): EndpointSpec {
  return { host, port, weight, zone, backup, version, tags, metadata };
}
