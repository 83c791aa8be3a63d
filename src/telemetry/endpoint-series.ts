import { BUCKETS } from '../base/histogram.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { OUTCOMES, type Outcome } from '../endpoint/outcome.ts';
import { formatLabels } from './exposition.ts';
import type { LivePool } from './live-state.ts';

/** Counters of one endpoint as one vector: outcomes, the sum of latencies in ms, latency buckets. */
const SUM = OUTCOMES;
const FIRST_BUCKET = SUM + 1;
const WIDTH = FIRST_BUCKET + BUCKETS;

/** An endpoint that has series of its own. */
export interface OwnSeries {
  readonly endpoint: Endpoint;
  /** `pool="…",endpoint="…"` */
  readonly labels: string;
}

/** The endpoints of one pool that share series. */
export class OtherSeries {
  readonly labels: string;
  readonly #totals = new Float64Array(WIDTH);
  /** Endpoints in it at present. */
  size = 0;
  active = 0;
  available = 0;

  constructor(pool: string) {
    this.labels = formatLabels({ pool, endpoint: 'other' });
  }

  outcomes(outcome: number): number {
    return this.#totals[outcome];
  }

  get latencySumMs(): number {
    return this.#totals[SUM];
  }

  latencyBucket(bucket: number): number {
    return this.#totals[FIRST_BUCKET + bucket];
  }

  /** Adds what `endpoint` has counted since `last`, and brings `last` up to date. */
  take(endpoint: Endpoint, last: Float64Array): void {
    for (let i = 0; i < WIDTH; i++) {
      const now = readCell(endpoint, i);
      // A counter below its last value was started anew: the endpoint left and came back.
      this.#totals[i] += now >= last[i] ? now - last[i] : now;
      last[i] = now;
    }
    this.size++;
    this.active += endpoint.active;
    if (endpoint.down === 0) this.available++;
  }
}

interface OtherMember {
  readonly pool: string;
  readonly id: string;
  readonly last: Float64Array;
}

interface OwnMember {
  readonly pool: string;
  readonly id: string;
  readonly labels: string;
}

/**
 * Decides which endpoints have series of their own (the first `limit` to come, for as long as they stay) and sums the others per pool.
 * The sums never go back: they grow by what each member has counted since it was last seen, so an endpoint that leaves, or gets a series of
 * its own when a place is free, takes nothing with it. Owned by the exposition, on main.
 */
export class EndpointSeries {
  readonly #limit: number;
  /** By slot, which a rebuilt Endpoint object keeps. */
  #own = new Map<number, OwnMember>();
  #others = new Map<number, OtherMember>();
  readonly #sums = new Map<string, OtherSeries>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Endpoints without series of their own, as of the last update. */
  get leftOut(): number {
    return this.#others.size;
  }

  /** The pools' shared series; a pool that has no others, and never had, has none. */
  get others(): Iterable<OtherSeries> {
    return this.#sums.values();
  }

  /** Takes the pools as they are now, pausing at each `yield`, and then returns the endpoints with own series, in the pools' order. */
  *update(pools: readonly LivePool[]): Generator<void, OwnSeries[]> {
    const result: OwnSeries[] = [];
    const own = this.#stillThere(pools);
    const others = new Map<number, OtherMember>();
    this.#own = own;
    this.#resetGauges(pools);
    let seen = 0;
    for (const pool of pools) {
      for (const { endpoint } of pool.endpoints) {
        const member = this.#ownMember(pool.name, endpoint, own);
        if (member !== null) result.push({ endpoint, labels: member.labels });
        else others.set(endpoint.slot, this.#takeOther(pool.name, endpoint));
        if (++seen % 256 === 0) yield;
      }
    }
    this.#others = others;
    return result;
  }

  /** Own members that have not left: their places are kept before new ones are given away. */
  #stillThere(pools: readonly LivePool[]): Map<number, OwnMember> {
    const kept = new Map<number, OwnMember>();
    for (const pool of pools) {
      for (const { endpoint } of pool.endpoints) {
        const member = this.#own.get(endpoint.slot);
        if (member?.id === endpoint.id && member.pool === pool.name && kept.size < this.#limit) {
          kept.set(endpoint.slot, member);
        }
      }
    }
    return kept;
  }

  #ownMember(pool: string, endpoint: Endpoint, own: Map<number, OwnMember>): OwnMember | null {
    const found = own.get(endpoint.slot);
    if (found !== undefined) return found;
    if (own.size >= this.#limit) return null;
    const member = { pool, id: endpoint.id, labels: formatLabels({ pool, endpoint: endpoint.id }) };
    own.set(endpoint.slot, member);
    return member;
  }

  #takeOther(pool: string, endpoint: Endpoint): OtherMember {
    const found = this.#others.get(endpoint.slot);
    const member =
      found?.id === endpoint.id && found.pool === pool
        ? found
        : { pool, id: endpoint.id, last: new Float64Array(WIDTH) };
    let sum = this.#sums.get(pool);
    if (sum === undefined) {
      sum = new OtherSeries(pool);
      this.#sums.set(pool, sum);
    }
    sum.take(endpoint, member.last);
    return member;
  }

  #resetGauges(pools: readonly LivePool[]): void {
    const names = new Set(pools.map((pool) => pool.name));
    for (const [name, sum] of this.#sums) {
      if (!names.has(name)) this.#sums.delete(name);
      sum.size = 0;
      sum.active = 0;
      sum.available = 0;
    }
  }
}

function readCell(endpoint: Endpoint, index: number): number {
  if (index < SUM) return endpoint.outcomes(index as Outcome);
  return index === SUM ? endpoint.latencySumMs : endpoint.latencyBucket(index - FIRST_BUCKET);
}
