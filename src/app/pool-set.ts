import type { EndpointChange, SetEndpointResult } from '../admin/control.ts';
import { systemClock } from '../base/clock.ts';
import { systemRandom } from '../base/random.ts';
import { TimerWheel } from '../base/timer-wheel.ts';
import type { RegistryEndpoint } from '../discovery/registry.ts';
import type { EndpointDelta } from '../endpoint/delta.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { PoolWords } from '../endpoint/pool-words.ts';
import { SlotAllocator } from '../endpoint/slot-allocator.ts';
import { selectAvailable } from '../health/availability.ts';
import { ProbeGate } from '../health/probe-gate.ts';
import { explainPool, type PoolExplanation } from '../pool/explanation.ts';
import { type AdminOverride, changed, type MemberEvent } from '../pool/member.ts';
import { Membership, type MembershipContext } from '../pool/membership.ts';
import type { PoolOptions } from '../pool/options.ts';
import type { RememberedEndpoint } from '../pool/remembered.ts';
import { RetryBudget } from '../pool/retry-budget.ts';
import type { HashKey } from '../scheduling/hash-key.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import type { LivePool } from '../telemetry/live-state.ts';
import type { ToWorker, WorkerPool } from './messages.ts';
import type { ActiveCounts, Inheritance } from './upgrade-messages.ts';

/** A panic is told when it has lasted this long: newcomers that wait for their first check make short ones. */
const PANIC_TOLD_MS = 2000;
/** Period of main's wheel: probes hang in it. */
const TICK_MS = 50;

const CALM = { generation: -1, threshold: 0, fit: 0, panic: false, panicSinceMs: 0, panicTold: false };

interface Running {
  readonly membership: Membership;
  readonly budget: RetryBudget;
  panic: boolean;
  /** What `fit` and `panic` were last judged at: pool generation and panic threshold. */
  generation: number;
  threshold: number;
  /** Endpoints that nothing speaks against. */
  fit: number;
  panicSinceMs: number;
  panicTold: boolean;
  /** Until when a reported cause of an endpoint has been told. */
  readonly reported: Map<string, number>;
}

/** All pools on main, by name. */
export class PoolSet {
  readonly slots: SlotAllocator;
  readonly #rows: number;
  readonly #workers: { broadcast(message: ToWorker): void; rows(): number[] };
  readonly #events: EventLog;
  readonly #recall: MembershipContext['recall'];
  readonly #wheel = new TimerWheel(TICK_MS);
  readonly #gate = new ProbeGate();
  readonly #pools = new Map<string, Running>();
  /** Pools that left the document and whose slots the workers have not all given back. */
  readonly #closing = new Set<Membership>();
  readonly #timer: NodeJS.Timeout;
  #inherited: Record<string, Readonly<Record<string, AdminOverride>>> = {};
  #elsewhere: ActiveCounts = {};
  #isFrozen = false;

  /** `recall` tells what an earlier process knew of an endpoint. */
  constructor(
    rows: number,
    workers: { broadcast(message: ToWorker): void; rows(): number[] },
    events: EventLog,
    recall: MembershipContext['recall'],
  ) {
    this.#rows = rows;
    this.#recall = recall;
    this.#workers = workers;
    this.#events = events;
    this.slots = new SlotAllocator(rows, (buffer) => workers.broadcast({ kind: 'chunk', buffer }));
    this.#timer = setInterval(() => this.#wheel.tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Rows of shared memory from `used` on belong to nobody. */
  useRows(used: number): void {
    this.slots.table.usedRows = used;
    this.#workers.broadcast({ kind: 'rows', used });
  }

  /** What operators had set in the process before this one, for the pools that are added from now on. */
  inherit(overrides: Inheritance['overrides']): void {
    this.#inherited = { ...overrides };
  }

  /** What operators have set, by pool and endpoint. */
  overrides(): Inheritance['overrides'] {
    return Object.fromEntries([...this.#pools].map(([name, { membership }]) => [name, membership.overrides]));
  }

  /** Adds the pools that are new and returns their names; leaves the others as they are. */
  add(pools: Readonly<Record<string, PoolOptions>>): string[] {
    const fresh = Object.keys(pools).filter((name) => !this.#pools.has(name));
    for (const name of fresh) {
      const options = pools[name];
      const words = new PoolWords(this.#rows);
      const membership = new Membership(name, options, {
        clock: systemClock,
        random: systemRandom,
        wheel: this.#wheel,
        gate: this.#gate,
        slots: this.slots,
        words,
        publish: (delta) => this.#workers.broadcast({ kind: 'delta', delta }),
        workerRows: () => this.#workers.rows(),
        onEvent: (pool, event) => this.#onEvent(pool, event),
        recall: this.#recall,
        overrides: this.#inherited[name],
        onChanged: (pool, added, removed, changed) => this.#events.publishChanges(pool, added, removed, changed),
      });
      // A pool of this name that comes later is another one.
      delete this.#inherited[name];
      words.frozen = this.#isFrozen;
      this.#pools.set(name, {
        membership,
        budget: new RetryBudget(words, systemClock.now()),
        reported: new Map(),
        ...CALM,
      });
    }
    return fresh;
  }

  /** Gives the document's options to all pools that it names. */
  configure(pools: Readonly<Record<string, PoolOptions>>): void {
    this.add(pools);
    for (const [name, options] of Object.entries(pools)) this.#pools.get(name)!.membership.configure(options);
  }

  /** Ends the pools that are not named, and returns whether there were any. No route may lead to them any more. */
  retain(pools: Readonly<Record<string, PoolOptions>>): boolean {
    const gone = [...this.#pools].filter(([name]) => pools[name] === undefined);
    for (const [name, { membership }] of gone) {
      membership.close();
      this.#pools.delete(name);
      this.#closing.add(membership);
    }
    return gone.length > 0;
  }

  replace(pool: string, set: readonly RegistryEndpoint[]): void {
    this.#pools.get(pool)?.membership.replace(set);
  }

  setEndpoint(pool: string, id: string, change: EndpointChange): SetEndpointResult {
    const membership = this.#pools.get(pool)?.membership;
    if (membership === undefined) return 'no-pool';
    const member = membership.setAdmin(id, change);
    if (member === null) return 'no-endpoint';
    const state = membership.override(id)?.state ?? 'ready';
    this.#events.publish({ type: 'endpoint-set', pool, endpoint: id, state, weight: member.endpoint.weight });
    return 'done';
  }

  /** The same, of another process, which may know a pool or an endpoint that is not here yet: in force when it is. */
  followEndpoint(pool: string, id: string, change: EndpointChange): void {
    if (this.setEndpoint(pool, id, change) === 'done') return;
    const here = this.#pools.get(pool);
    if (here !== undefined) return void here.membership.foresee(id, change);
    const known = this.#inherited[pool] ?? {};
    this.#inherited[pool] = { ...known, [id]: changed(known[id], change) };
  }

  /** What is in flight, in the process before this one too. */
  active(): ActiveCounts {
    const counts: Record<string, Record<string, number>> = {};
    for (const [name, { membership }] of this.#pools) {
      const busy = [...membership.members].filter(([, { endpoint }]) => endpoint.active > 0);
      if (busy.length > 0) counts[name] = Object.fromEntries(busy.map(([id, { endpoint }]) => [id, endpoint.active]));
    }
    return counts;
  }

  /** What is in flight in the process before this one. */
  countElsewhere(counts: ActiveCounts): void {
    const before = this.#elsewhere;
    this.#elsewhere = counts;
    for (const pool of new Set([...Object.keys(before), ...Object.keys(counts)])) {
      const members = this.#pools.get(pool)?.membership.members;
      for (const id of Object.keys({ ...before[pool], ...counts[pool] }))
        members?.get(id)?.endpoint.countElsewhere(counts[pool]?.[id] ?? 0);
    }
  }

  ejected({ pool, slot, cause, untilMs }: { pool: string; slot: number; cause: string; untilMs: number }): void {
    const endpoint = this.#pools.get(pool)?.membership.endpointOf(slot);
    if (endpoint == null) return;
    const forMs = Math.round(untilMs - systemClock.now());
    this.#events.publish({ type: 'ejected', pool, endpoint: endpoint.id, cause, forMs });
  }

  /** A cause that is only reported. Every worker tells it: once is enough. */
  wouldEject({ pool, slot, cause }: { pool: string; slot: number; cause: string }): void {
    const running = this.#pools.get(pool);
    const endpoint = running?.membership.endpointOf(slot);
    if (running === undefined || endpoint == null) return;
    const key = `${endpoint.id} ${cause}`;
    const nowMs = systemClock.now();
    for (const [known, untilMs] of running.reported) if (untilMs <= nowMs) running.reported.delete(known);
    if (running.reported.has(key)) return;
    running.reported.set(key, nowMs + (running.membership.options.ejection?.base ?? 0));
    this.#events.publish({ type: 'would-eject', pool, endpoint: endpoint.id, cause });
  }

  /** How a pool would choose now; null when there is none of that name. `hashOf` gives the request's hash. */
  explain(pool: string, hashOf: (on: HashKey) => number): PoolExplanation | null {
    const membership = this.#pools.get(pool)?.membership;
    if (membership === undefined) return null;
    const { name, options, words, members, ejectionState: ejection } = membership;
    const endpoints = Array.from(members.values(), ({ endpoint }) => endpoint);
    const reasonOf = ({ id }: Endpoint) => members.get(id)?.downReason ?? '';
    return explainPool({ name, options, words, endpoints, ejection, reasonOf }, hashOf, systemClock.now());
  }

  acknowledge(pool: string, slot: number, row: number): void {
    this.#pools.get(pool)?.membership.acknowledge(slot, row);
    for (const membership of this.#closing) {
      membership.acknowledge(slot, row);
      if (membership.isGone) this.#closing.delete(membership);
    }
  }

  /** A worker died: its row is given back everywhere. */
  workerGone(row: number): void {
    this.slots.retire(row);
    for (const { membership } of this.#pools.values()) membership.workerGone(row);
    for (const membership of this.#closing) membership.workerGone(row);
  }

  freeze(frozen: boolean): void {
    this.#isFrozen = frozen;
    for (const { membership } of this.#pools.values()) membership.words.frozen = frozen;
  }

  /** Called about every 100 ms. `isLate`: a worker's loop came late lately. */
  sweep(isLate: boolean): void {
    const nowMs = systemClock.now();
    for (const [name, running] of this.#pools) {
      const { membership, budget } = running;
      membership.sweep(isLate);
      budget.refill(membership.options.retry?.budget ?? 0, nowMs);
      this.#watchPanic(name, running);
    }
  }

  #watchPanic(pool: string, running: Running): void {
    const { membership } = running;
    const threshold = membership.options.panic ?? 0;
    if (running.generation !== membership.words.generation || running.threshold !== threshold) {
      this.#judgePanic(running, threshold);
    }
    const { panic, fit } = running;
    if (panic && !running.panicTold && systemClock.now() - running.panicSinceMs >= PANIC_TOLD_MS) {
      running.panicTold = true;
      const endpoints = membership.members.size;
      this.#events.publish({ type: 'panic-began', pool, available: fit, endpoints });
    } else if (!panic && running.panicTold) {
      running.panicTold = false;
      this.#events.publish({ type: 'panic-ended', pool });
    }
  }

  /** O(n): only when a down bit, a member or the threshold changed, as workers do. */
  #judgePanic(running: Running, threshold: number): void {
    const { membership } = running;
    running.generation = membership.words.generation;
    running.threshold = threshold;
    const all = [...membership.members.values()].map(({ endpoint }) => endpoint);
    const { available, panic } = selectAvailable(all, { panicThreshold: threshold });
    if (panic && !running.panic) running.panicSinceMs = systemClock.now();
    running.panic = panic;
    running.fit = available.filter(({ down }) => down === 0).length;
  }

  /** What the next process should know of every endpoint, by pool. */
  remember(): Record<string, RememberedEndpoint[]> {
    return Object.fromEntries([...this.#pools].map(([name, { membership }]) => [name, membership.remember()]));
  }

  forWorkers(): WorkerPool[] {
    return [...this.#pools].map(([name, { membership }]) => {
      return { name, options: membership.options, words: membership.words.buffer };
    });
  }

  /** All members of all pools, for a worker that knows nothing. */
  whole(): EndpointDelta[] {
    return [...this.#pools.values()].flatMap(({ membership }) => membership.whole());
  }

  live(sourceOf: (pool: string) => string): LivePool[] {
    return [...this.#pools].map(([name, { membership, panic }]) => ({
      name,
      scheduler: membership.options.scheduler.kind,
      words: membership.words,
      ejection: membership.ejectionState,
      panic,
      endpoints: [...membership.members.values()].map(({ endpoint, downReason }) => ({
        endpoint,
        adminState: membership.override(endpoint.id)?.state ?? 'ready',
        source: sourceOf(name),
        downReason: endpoint.down === 0 || downReason === '' ? null : downReason,
      })),
    }));
  }

  sizeOf(pool: string): number {
    return this.#pools.get(pool)?.membership.members.size ?? 0;
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { membership } of this.#pools.values()) membership.close();
    this.#pools.clear();
  }

  #onEvent(pool: string, event: MemberEvent): void {
    const { kind, ...rest } = event;
    this.#events.publish({ type: kind, pool, ...rest } as Parameters<EventLog['publish']>[0]);
  }
}
