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
import { probes } from '../health/catalog.ts';
import type { EjectionCause } from '../health/ejection-options.ts';
import { EjectionRestorer } from '../health/ejection-restorer.ts';
import { ejectionCap } from '../health/ejector.ts';
import { OutlierDetector } from '../health/outlier-detector.ts';
import type { ProbeGate } from '../health/probe-gate.ts';
import type { ProbeOptions } from '../health/probe-options.ts';
import { ProbeRunner } from '../health/probe-runner.ts';
import { applySlowStart } from '../health/slow-start.ts';
import { type EjectionState, ejectionStateOf } from './ejection-state.ts';
import { Flapping } from './flapping.ts';
import type { PoolOptions } from './options.ts';
import { type RememberedEndpoint, recall, remember } from './remembered.ts';

/** What an operator asked for by the admin API; survives registry pushes and reloads. */
export interface AdminOverride {
  state: 'ready' | 'drain' | 'maintenance';
  /** null = the registry's. */
  weight: number | null;
}

/** What is set after a change. */
export function changed(before: AdminOverride | undefined, change: Partial<AdminOverride>): AdminOverride {
  return { state: 'ready', weight: null, ...before, ...change };
}

/** One endpoint of a pool as main knows it. */
export interface Member {
  readonly endpoint: Endpoint;
  spec: RegistryEndpoint;
  probe: 'unknown' | 'fit' | 'unfit' | 'off';
  /** Why it is down, in words of whoever took it out; '' when it is not. */
  downReason: string;
  /** Fit again, but held down for flapping. */
  isHeld: boolean;
}

/** What the probe runner says of a newcomer before its first check. */
const NOT_CHECKED = 'not checked yet';

/** Something rare that happened to an endpoint. */
export type MemberEvent =
  | { readonly kind: 'restored' | 'fit'; readonly endpoint: string }
  | { readonly kind: 'unfit'; readonly endpoint: string; readonly reason: string }
  | { readonly kind: 'ejected'; readonly endpoint: string; readonly cause: string; readonly forMs: number }
  | { readonly kind: 'would-eject'; readonly endpoint: string; readonly cause: string }
  | { readonly kind: 'flapping'; readonly endpoint: string; readonly forMs: number };

/** How often weights in slow start and held endpoints are looked at. */
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
  #version = 0;
  #probes: ProbeRunner | null = null;
  #restorer: EjectionRestorer | null = null;
  #detector: OutlierDetector | null = null;
  #flapping: Flapping | null = null;
  #seldomDueMs = 0;

  constructor(name: string, options: PoolOptions, context: MembershipContext) {
    this.name = name;
    this.words = context.words;
    this.options = options;
    this.#context = context;
    this.#overrides = new Map(Object.entries(context.overrides ?? {}));
    this.#configureEjection();
    this.#flapping = this.#makeFlapping();
    this.#probes = this.#makeProbes();
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
    if (JSON.stringify(before.ejection) !== JSON.stringify(options.ejection)) this.#configureEjection();
    if (JSON.stringify(before.damping) !== JSON.stringify(options.damping)) this.#flapping = this.#makeFlapping();
    if (JSON.stringify([before.probe, before.tls]) === JSON.stringify([options.probe, options.tls])) return;
    this.#probes?.close();
    this.#probes = this.#makeProbes();
    for (const member of this.#members.values()) {
      if ((member.endpoint.setDown(0, Down.PROBE) & Down.PROBE) !== 0) this.words.bumpGeneration();
      this.#startProbing(member);
    }
  }

  /** Ejections that run keep their length; when ejection is switched off they end. */
  #configureEjection(): void {
    const { ejection } = this.options;
    this.#detector = this.#makeDetector();
    if (ejection !== null && this.#restorer !== null) return this.#restorer.configure(ejection);
    for (const { endpoint } of this.#members.values()) this.#restorer?.release(endpoint);
    this.#restorer = this.#makeRestorer();
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
      if (known.endpoint.spec.backup !== spec.backup) upserts.push(this.#readd(id, known, spec).endpoint);
      else if (this.#update(id, known, spec)) upserts.push(known.endpoint);
    }
    const gone = [...this.#members.keys()].filter((id) => !kept.has(id));
    const removed = gone.map((id) => this.#remove(id));
    for (const { endpoint, forMs } of this.#recalled) this.#ejectAgain(endpoint, forMs);
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
    return packDelta(
      this.name,
      this.#version,
      [...this.#members.values()].map(({ endpoint }) => endpoint),
      [],
    );
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
    this.#restorer?.workerGone(row, this.#endpoints());
    for (const slot of [...this.#leaving.keys()]) this.acknowledge(slot, row);
  }

  /** Called about every 100 ms: ends ejections whose time is over. */
  sweep(isLate = false): void {
    const nowMs = this.#context.clock.now();
    const endpoints = Array.from(this.#endpoints());
    this.#restorer?.sweep(endpoints);
    this.#detector?.sweep(endpoints, isLate);
    if (nowMs < this.#seldomDueMs) return;
    this.#seldomDueMs = nowMs + SELDOM_MS;
    const { slowStart } = this.options;
    if (slowStart !== null) applySlowStart(endpoints, nowMs, slowStart);
    this.#flapping?.sweep();
  }

  /** How ejection stands; null when it is off. */
  get ejectionState(): EjectionState | null {
    const { ejection } = this.options;
    if (ejection === null || this.#detector === null) return null;
    return ejectionStateOf(Array.from(this.#endpoints()), ejection, this.#detector.wanted);
  }

  #setFit(member: Member): void {
    const { endpoint } = member;
    if ((endpoint.setDown(0, Down.PROBE) & Down.PROBE) === 0) return;
    this.words.bumpGeneration();
    endpoint.readySinceMs = this.#context.clock.now();
    if (member.downReason.startsWith('probe')) member.downReason = '';
    this.#context.onEvent(this.name, { kind: 'fit', endpoint: endpoint.id });
  }

  endpointOf(slot: number): Endpoint | null {
    for (const { endpoint } of this.#members.values()) if (endpoint.slot === slot) return endpoint;
    return null;
  }

  /** The pool leaves the document: workers drop it by themselves, its slots are free once they have. */
  close(): void {
    this.#probes?.close();
    const removed = [...this.#members.keys()].map((id) => this.#remove(id));
    if (removed.length > 0) this.#publish([], removed);
  }

  *#endpoints(): Generator<Endpoint> {
    for (const { endpoint } of this.#members.values()) yield endpoint;
  }

  #add(id: string, spec: RegistryEndpoint): Member {
    const { slots, clock } = this.#context;
    const endpoint = new Endpoint(slots.take(), specOf(spec), slots.table, 0);
    const member: Member = { endpoint, spec, probe: 'off', downReason: '', isHeld: false };
    this.#members.set(id, member);
    setWeight(endpoint, this.#overrides.get(id)?.weight ?? spec.weight);
    endpoint.readySinceMs = clock.now();
    const unfit = this.#recall(member);
    this.#applyStatus(member, spec);
    this.#applyAdmin(id, member);
    this.#startProbing(member, unfit);
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

  /** Within the cap, and never the last one: the set may be another than that of the process that ejected it. */
  #ejectAgain(endpoint: Endpoint, forMs: number): void {
    const { ejection } = this.options;
    if (ejection === null || endpoint.down !== 0) return;
    let fit = 0;
    for (const one of this.#endpoints()) if (one.down === 0 && one.weight > 0) fit++;
    if (fit < 2 || !this.words.tryTakeEjection(ejectionCap(ejection, this.#members.size))) return;
    endpoint.ejectedUntilMs = this.#context.clock.now() + forMs;
    endpoint.setDown(Down.EJECTED);
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

  /** An endpoint that became a backup, or ceased to be one, keeps its slot and with it all its counters. */
  #readd(id: string, known: Member, spec: RegistryEndpoint): Member {
    this.#probes?.remove(known.endpoint);
    const endpoint = new Endpoint(known.endpoint.slot, specOf(spec), this.#context.slots.table, 0);
    const member: Member = { endpoint, spec, probe: known.probe, downReason: known.downReason, isHeld: false };
    this.#members.set(id, member);
    setWeight(endpoint, this.#overrides.get(id)?.weight ?? spec.weight);
    this.#applyStatus(member, spec);
    this.#startProbing(member);
    return member;
  }

  /** Returns whether the workers must be told (the down bits they see by themselves). */
  #update(id: string, member: Member, spec: RegistryEndpoint): boolean {
    const { endpoint } = member;
    const isNewProcess =
      spec.generation !== '' && member.spec.generation !== '' && spec.generation !== member.spec.generation;
    member.spec = spec;
    const { zone, metadata } = endpoint.spec;
    const isElsewhere = zone !== spec.zone || (metadata.name ?? '') !== (spec.metadata.name ?? '');
    endpoint.spec = specOf(spec);
    if (isNewProcess) this.#renew(endpoint);
    this.#applyStatus(member, spec);
    const weight = this.#overrides.get(id)?.weight ?? spec.weight;
    if (weight === endpoint.weight) return isElsewhere;
    setWeight(endpoint, weight);
    return true;
  }

  /** Another process took the address over: what its predecessor did is not held against it. */
  #renew(endpoint: Endpoint): void {
    this.#restorer?.release(endpoint);
    endpoint.failuresInRow = 0;
    endpoint.ejections = 0;
    endpoint.setLatency(Number.NaN, 0);
    endpoint.readySinceMs = this.#context.clock.now();
  }

  #remove(id: string): number {
    const { endpoint } = this.#members.get(id)!;
    this.#probes?.remove(endpoint);
    endpoint.setDown(Down.LEAVING);
    this.#restorer?.remove(endpoint);
    this.#members.delete(id);
    const rows = this.#context.workerRows();
    if (rows.length === 0) this.#context.slots.giveBack(endpoint.slot);
    else this.#leaving.set(endpoint.slot, new Set(rows));
    return endpoint.slot;
  }

  #applyStatus(member: Member, { status }: RegistryEndpoint): void {
    const { endpoint } = member;
    const want = status === 'down' ? Down.REGISTRY : status === 'draining' ? Down.DRAINING : 0;
    if (want === 0 && (endpoint.down & Down.REGISTRY) !== 0 && this.#flapping?.holds(member, 'registry') === true)
      return;
    const before = endpoint.setDown(want, (Down.REGISTRY | Down.DRAINING) & ~want);
    const had = before & (Down.REGISTRY | Down.DRAINING);
    if (had === want) return;
    if (want === 0) {
      endpoint.readySinceMs = this.#context.clock.now();
      if (member.downReason.startsWith('registry')) member.downReason = '';
    } else {
      member.downReason = `registry says ${status}`;
      if (want === Down.REGISTRY) this.#flapping?.wentDown(member);
    }
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

  #makeRestorer(): EjectionRestorer | null {
    const { ejection } = this.options;
    const { clock, random, words, onEvent } = this.#context;
    if (ejection === null) return null;
    const onRestored = (endpoint: Endpoint) => onEvent(this.name, { kind: 'restored', endpoint: endpoint.id });
    return new EjectionRestorer(ejection, { clock, random, words, onRestored, onEjected: this.#onEjected });
  }

  #makeDetector(): OutlierDetector | null {
    const { ejection } = this.options;
    const { clock, random, words, onEvent } = this.#context;
    if (ejection === null) return null;
    const onReported = ({ id }: Endpoint, cause: EjectionCause) =>
      onEvent(this.name, { kind: 'would-eject', endpoint: id, cause });
    return new OutlierDetector(ejection, { clock, random, words, onEjected: this.#onEjected, onReported });
  }

  readonly #onEjected = ({ id }: Endpoint, cause: EjectionCause, untilMs: number): void => {
    const forMs = Math.round(untilMs - this.#context.clock.now());
    this.#context.onEvent(this.name, { kind: 'ejected', endpoint: id, cause, forMs });
  };

  #makeFlapping(): Flapping | null {
    const { damping } = this.options;
    if (damping === null) return null;
    for (const member of this.#members.values()) if (member.isHeld) this.#unhold(member);
    return new Flapping(damping, {
      clock: this.#context.clock,
      members: this.#members,
      onFlapping: ({ id }, forMs) => this.#context.onEvent(this.name, { kind: 'flapping', endpoint: id, forMs }),
      onReleased: (_, member) => this.#unhold(member),
    });
  }

  #unhold(member: Member): void {
    member.isHeld = false;
    if (member.probe === 'fit') this.#setFit(member);
    this.#applyStatus(member, member.spec);
    this.words.bumpGeneration();
  }

  #makeProbes(): ProbeRunner | null {
    const { probe } = this.options;
    const { clock, random, wheel, gate } = this.#context;
    if (probe === null) return null;
    const onChange = (endpoint: Endpoint, fit: boolean, reason: string) => this.#onProbe(endpoint, fit, reason);
    const context = { clock, random, wheel, gate, onChange };
    return new ProbeRunner(probes.create(probe, { tls: this.options.tls }), probe as unknown as ProbeOptions, context);
  }

  #startProbing(member: Member, unfit: string | null = null): void {
    member.probe = this.#probes === null ? 'off' : 'unknown';
    this.#probes?.add(member.endpoint, unfit);
  }

  #onProbe(endpoint: Endpoint, fit: boolean, reason: string): void {
    const member = this.#members.get(endpoint.id);
    if (member === undefined || member.endpoint !== endpoint) return;
    const isFirst = member.probe === 'unknown';
    member.probe = fit ? 'fit' : 'unfit';
    if (fit) {
      if ((endpoint.down & Down.PROBE) !== 0 && this.#flapping?.holds(member, 'probe') !== true) this.#setFit(member);
      return;
    }
    const wasDown = (endpoint.setDown(Down.PROBE) & Down.PROBE) !== 0;
    member.downReason = `probe: ${reason}`;
    if (wasDown) return;
    this.words.bumpGeneration();
    // A newcomer waits for its first check: that is no news about its health.
    if (isFirst && reason === NOT_CHECKED) return;
    this.#context.onEvent(this.name, { kind: 'unfit', endpoint: endpoint.id, reason });
    this.#flapping?.wentDown(member);
  }
}

/** The whole weight; a slow start lowers it again within a second. */
function setWeight(endpoint: Endpoint, weight: number): void {
  endpoint.weight = weight;
  endpoint.effectiveWeight = weight;
}

function specOf({ host, port, weight, zone, backup, version, tags, metadata }: RegistryEndpoint): EndpointSpec {
  return { host, port, weight, zone, backup, version, tags, metadata };
}
