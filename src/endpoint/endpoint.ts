import { bucketIndex } from '../base/histogram.ts';
import { formatHostPort } from '../base/literals.ts';
import { Outcome } from './outcome.ts';
import {
  CHUNK_SLOTS,
  COUNTER_BUCKETS,
  COUNTER_LATENCY_SUM,
  COUNTERS,
  type SlotChunk,
  type SlotTable,
} from './slots.ts';
import { Trial } from './trial.ts';

/** What is known of an endpoint from its source: plain data, cloneable between threads. */
export interface EndpointSpec {
  /** IPv4 or IPv6 without brackets; already resolved. */
  readonly host: string;
  /** 1…65535 */
  readonly port: number;
  /** 0…65535 with at most two decimals; 0 takes no new traffic of its own. */
  readonly weight: number;
  readonly zone: string;
  /** Used only when no other endpoint is available. */
  readonly backup: boolean;
  readonly version: string;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * One address that serves a pool's traffic, as one thread sees it: its spec, and its cells in shared memory. Whoever acquires it
 * through its pool calls `begin`, `answered` and `end` exactly once each, in this order.
 */
export class Endpoint {
  readonly slot: number;
  /** `address:port`, unique in its pool. */
  readonly id: string;
  /** Replaced where it changes; the address never does. */
  spec: EndpointSpec;
  /** `spec.backup`, once the whole change that says so is here: sides change together. */
  isBackup: boolean;
  /** The spec's weight or the admin API's. */
  weight: number;
  /** The weight schedulers use: lowered while the endpoint is in slow start. Never above `weight`. */
  effectiveWeight: number;
  readonly #chunk: SlotChunk;
  readonly #index: number;
  readonly #cell: number;
  readonly #row: number;
  readonly #table: SlotTable;

  /** `row` is the row of the thread this object lives in. */
  constructor(slot: number, spec: EndpointSpec, table: SlotTable, row: number) {
    this.slot = slot;
    this.id = formatHostPort(spec.host, spec.port);
    this.spec = spec;
    this.isBackup = spec.backup;
    this.weight = spec.weight;
    this.effectiveWeight = spec.weight;
    this.#chunk = table.chunkOf(slot);
    this.#index = slot % CHUNK_SLOTS;
    this.#cell = row * CHUNK_SLOTS + this.#index;
    this.#row = row;
    this.#table = table;
  }

  /** Down bits; 0 when nothing speaks against it. */
  get down(): number {
    return this.#chunk.down[this.#index];
  }

  /** Sets and clears Down bits atomically; returns the bits before. The caller bumps the pool's generation if they changed. */
  setDown(set: number, clear = 0): number {
    if (clear !== 0) {
      const before = Atomics.and(this.#chunk.down, this.#index, ~clear);
      return set === 0 ? before : (Atomics.or(this.#chunk.down, this.#index, set), before);
    }
    return Atomics.or(this.#chunk.down, this.#index, set);
  }

  /** An attempt starts. */
  begin(nowMs: number): void {
    this.#chunk.active[this.#cell]++;
    this.#chunk.waiting[this.#cell]++;
    this.#chunk.waitingSince[this.#cell] += nowMs;
  }

  /** The attempt has its response head, or will never have one. `startedMs` is what `begin` was given. */
  answered(startedMs: number): void {
    const left = --this.#chunk.waiting[this.#cell];
    // Start over from zero when idle, so that rounding errors never add up.
    if (left === 0) this.#chunk.waitingSince[this.#cell] = 0;
    else this.#chunk.waitingSince[this.#cell] -= startedMs;
  }

  /** After `answered`, on a connection that stays: something is asked of it again, and `answered` with this time comes once more. */
  asked(nowMs: number): void {
    this.#chunk.waiting[this.#cell]++;
    this.#chunk.waitingSince[this.#cell] += nowMs;
  }

  /** The attempt is over. `latencyMs` is the time to the response head; it is counted for every outcome but CLIENT_GONE. */
  end(outcome: Outcome, latencyMs: number): void {
    this.#chunk.active[this.#cell]--;
    const counters = this.#chunk.counters;
    const first = this.#cell * COUNTERS;
    counters[first + outcome]++;
    if (outcome !== Outcome.CLIENT_GONE) {
      counters[first + COUNTER_LATENCY_SUM] += latencyMs;
      counters[first + COUNTER_BUCKETS + bucketIndex(latencyMs)]++;
    }
  }

  /** Takes `begin` back: the attempt says nothing about the endpoint (a kept connection had died, or our own machine was at its limit). */
  cancel(startedMs: number): void {
    this.answered(startedMs);
    this.#chunk.active[this.#cell]--;
  }

  /** Attempts in flight, over all workers and in the process that this one succeeds. */
  get active(): number {
    const cells = this.#chunk.active;
    const rows = this.#table.usedRows;
    let sum = 0;
    for (let row = 0, cell = this.#index; row < rows; row++, cell += CHUNK_SLOTS) sum += cells[cell];
    return sum;
  }

  /** So many attempts are in flight in the process that this one succeeds. Main says so: its own row has no other use for the cell. */
  countElsewhere(active: number): void {
    this.#chunk.active[this.#cell] = active;
  }

  /** Attempts in flight in this thread alone. */
  get activeHere(): number {
    return this.#chunk.active[this.#cell];
  }

  /** Attempts in flight without a response head, over all workers. */
  get waiting(): number {
    const cells = this.#chunk.waiting;
    const rows = this.#table.usedRows;
    let sum = 0;
    for (let row = 0, cell = this.#index; row < rows; row++, cell += CHUNK_SLOTS) sum += cells[cell];
    return sum;
  }

  /** Mean age in ms of the attempts that wait for a response head, over all workers; 0 when none waits. Shows a stall before anything returns. */
  waitingAgeMs(nowMs: number): number {
    const { waiting, waitingSince } = this.#chunk;
    let count = 0;
    let since = 0;
    const rows = this.#table.usedRows;
    for (let row = 0, cell = this.#index; row < rows; row++, cell += CHUNK_SLOTS) {
      count += waiting[cell];
      since += waitingSince[cell];
    }
    if (count <= 0) return 0;
    const age = nowMs - since / count;
    return age > 0 ? age : 0;
  }

  /** Decayed latency in ms as of `latencyStampMs`; NaN when never observed. Shared by all workers, written plainly. */
  get latencyMs(): number {
    return this.#chunk.latency[this.#index * 2];
  }

  get latencyStampMs(): number {
    return this.#chunk.latency[this.#index * 2 + 1];
  }

  setLatency(ms: number, stampMs: number): void {
    this.#chunk.latency[this.#index * 2] = ms;
    this.#chunk.latency[this.#index * 2 + 1] = stampMs;
  }

  get failuresInRow(): number {
    return this.#chunk.failuresInRow[this.#index];
  }

  set failuresInRow(count: number) {
    this.#chunk.failuresInRow[this.#index] = count;
  }

  get ejections(): number {
    return this.#chunk.ejections[this.#index];
  }

  set ejections(count: number) {
    this.#chunk.ejections[this.#index] = count;
  }

  get ejectedUntilMs(): number {
    return this.#chunk.ejectedUntil[this.#index];
  }

  set ejectedUntilMs(ms: number) {
    this.#chunk.ejectedUntil[this.#index] = ms;
  }

  /** Where the trial of an ejected endpoint stands: a Trial. Read plainly. */
  get trial(): number {
    return this.#chunk.trial[this.#index];
  }

  /** Main alone sets it: OPEN when one request may find out, NONE when nobody need. */
  set trial(state: number) {
    Atomics.store(this.#chunk.trial, this.#index, state);
  }

  /** Takes the one permit; false when another thread has it. */
  tryTakeTrial(): boolean {
    const held = Trial.HELD + this.#row;
    return Atomics.compareExchange(this.#chunk.trial, this.#index, Trial.OPEN, held) === Trial.OPEN;
  }

  /** The thread of `row`, by default this one, gives the permit back with what it found: PASSED, FAILED, or OPEN when nothing. */
  endTrial(result: number, row = this.#row): void {
    Atomics.compareExchange(this.#chunk.trial, this.#index, Trial.HELD + row, result);
  }

  get readySinceMs(): number {
    return this.#chunk.readySince[this.#index];
  }

  set readySinceMs(ms: number) {
    this.#chunk.readySince[this.#index] = ms;
  }

  /** Requests that ended with this outcome, over all workers since the endpoint joined. */
  outcomes(outcome: Outcome): number {
    return this.#chunk.counter(this.#index, outcome, this.#table.usedRows);
  }

  /** Sum of observed latencies in ms. */
  get latencySumMs(): number {
    return this.#chunk.counter(this.#index, COUNTER_LATENCY_SUM, this.#table.usedRows);
  }

  /** Count of observations in one latency bucket (base/histogram's bounds), not cumulative. */
  latencyBucket(bucket: number): number {
    return this.#chunk.counter(this.#index, COUNTER_BUCKETS + bucket, this.#table.usedRows);
  }
}
