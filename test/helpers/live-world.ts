import { ManualClock } from '../../src/base/clock.ts';
import { Endpoint, type EndpointSpec } from '../../src/endpoint/endpoint.ts';
import { Outcome } from '../../src/endpoint/outcome.ts';
import { PoolWords } from '../../src/endpoint/pool-words.ts';
import { CHUNK_SLOTS, SlotChunk, SlotTable } from '../../src/endpoint/slots.ts';
import { ListenerCells } from '../../src/proxy/listener-cells.ts';
import { RouteCells } from '../../src/routing/route-cells.ts';
import type {
  LiveEndpoint,
  LiveListener,
  LivePool,
  LiveRegistry,
  LiveRoute,
  LiveState,
  LiveWorker,
} from '../../src/telemetry/live-state.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Rows of the cells: main and two workers. */
export const ROWS = 3;

/**
 * A running program as telemetry sees it, without the program: real cells in shared memory, one Endpoint object per row as the workers
 * have them, everything settable. Starts with one listener `shop`, one route `web` and one pool `web` without endpoints.
 */
export class LiveWorld {
  readonly clock = new ManualClock();
  readonly table = new SlotTable(ROWS);
  readonly state: Mutable<Omit<LiveState, 'pools' | 'listeners' | 'routes' | 'registries' | 'workers'>> & {
    pools: Mutable<LivePool>[];
    listeners: LiveListener[];
    routes: LiveRoute[];
    registries: Mutable<LiveRegistry>[];
    workers: Mutable<LiveWorker>[];
  };
  /** By slot: the endpoint as worker row 1 and row 2 see it. */
  readonly #workerViews: Endpoint[][] = [];
  #nextSlot = 0;
  /** Slots of endpoints that were removed: the next one takes them, as in the program. */
  readonly #freeSlots: number[] = [];

  constructor() {
    const shop = { name: 'shop', addresses: ['127.0.0.1:8080'], protocol: 'http', cells: new ListenerCells(ROWS) };
    const route = { listener: 'shop', route: 'web', pool: 'web', cells: new RouteCells(ROWS) };
    this.state = {
      startedAtMs: this.clock.now(),
      configVersion: 'c0ffee',
      configVersionNumber: 1,
      ready: true,
      readyReason: '',
      listeners: [shop],
      routes: [route],
      pools: [
        {
          name: 'web',
          scheduler: 'response-time',
          words: new PoolWords(ROWS),
          panic: false,
          ejection: null,
          endpoints: [],
        },
      ],
      registries: [],
      workers: [
        { id: 0, state: 'up', restarts: 0, lagMs: 1.5 },
        { id: 1, state: 'up', restarts: 2, lagMs: 0 },
      ],
      document: { admin: { token: '***' } },
    };
  }

  addPool(name: string): Mutable<LivePool> {
    const pool = { name, scheduler: 'random', words: new PoolWords(ROWS), panic: false, ejection: null, endpoints: [] };
    this.state.pools.push(pool);
    return pool;
  }

  addEndpoint(poolName: string, port: number, spec: Partial<EndpointSpec> = {}): Endpoint {
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    if (slot === this.table.chunks.length * CHUNK_SLOTS) {
      this.table.adopt(new SlotChunk(ROWS).buffer);
      for (let i = 0; i < CHUNK_SLOTS; i++) this.table.chunkOf(slot).clear(i);
    }
    const whole: EndpointSpec = {
      host: '127.0.0.1',
      port,
      weight: 1,
      zone: '',
      backup: false,
      version: '',
      tags: [],
      metadata: {},
      ...spec,
    };
    const [endpoint, ...workers] = [0, 1, 2].map((row) => new Endpoint(slot, whole, this.table, row));
    this.#workerViews[slot] = workers;
    const live: LiveEndpoint = {
      endpoint,
      adminState: 'ready',
      source: 'document',
      downReason: null,
    };
    const pool = this.pool(poolName);
    pool.endpoints = [...pool.endpoints, live];
    return endpoint;
  }

  pool(name: string): Mutable<LivePool> {
    return this.state.pools.find((pool) => pool.name === name) as Mutable<LivePool>;
  }

  removeEndpoint(poolName: string, endpoint: Endpoint): void {
    const pool = this.pool(poolName);
    pool.endpoints = pool.endpoints.filter((live) => live.endpoint !== endpoint);
    this.table.chunkOf(endpoint.slot).clear(endpoint.slot % CHUNK_SLOTS);
    this.#freeSlots.push(endpoint.slot);
  }

  change(poolName: string, endpoint: Endpoint, change: Partial<LiveEndpoint>): void {
    const pool = this.pool(poolName);
    pool.endpoints = pool.endpoints.map((live) => (live.endpoint === endpoint ? { ...live, ...change } : live));
  }

  /** One request on a worker, begun and ended. */
  serve(
    endpoint: Endpoint,
    latencyMs: number,
    { worker = 0, outcome = Outcome.OK as Outcome, status = 200 } = {},
  ): void {
    const view = this.#workerViews[endpoint.slot][worker];
    const now = this.clock.now();
    view.begin(now);
    view.answered(now);
    view.end(outcome, latencyMs);
    this.state.routes[0].cells.count(worker + 1, 0, status, latencyMs);
  }

  /** The endpoint as a worker sees it. */
  view(endpoint: Endpoint, worker: number): Endpoint {
    return this.#workerViews[endpoint.slot][worker];
  }
}
