import { randomInt } from 'node:crypto';
import { OperationError } from '../base/errors.ts';
import { ClientCounts } from '../listener/client-counts.ts';
import type { ListenerOptions } from '../listener/options.ts';
import { ListenerCells } from '../proxy/listener-cells.ts';
import { RouteCells } from '../routing/route-cells.ts';
import type { LiveListener, LiveRoute } from '../telemetry/live-state.ts';
import type { Addresses } from './addresses.ts';
import type { DocumentOptions, Rehearsal } from './document.ts';
import type { WorkerListener } from './messages.ts';

/** What the counters of routes that left the document may take: 120 routes on 32 cores, 700 on two. */
const LEFT_BYTES = 64 * 1024 * 1024;

interface Running {
  options: ListenerOptions;
  readonly cells: ListenerCells;
  /** Made when connections per client are first limited, then kept. */
  clients: ClientCounts | null;
  routes: readonly RouteCells[];
  /** Another document's, for a share of the connections. */
  rehearsal: Rehearsed | null;
}

interface Rehearsed {
  readonly share: number;
  readonly options: ListenerOptions;
  readonly routes: readonly RouteCells[];
}

/** An address of a listener, as the document says it. */
export interface Place {
  readonly listener: string;
  readonly bind: string;
  readonly transport: 'tcp' | 'udp';
}

function placesOf(listeners: readonly ListenerOptions[]): Place[] {
  return listeners.flatMap(({ name, bind: binds, protocol }) =>
    binds.map((bind): Place => ({ listener: name, bind, transport: protocol === 'udp' ? 'udp' : 'tcp' })),
  );
}

/** All listeners on main, by name: their options, their counters, their addresses. */
export class ListenerSet {
  readonly #rows: number;
  readonly #nobodys: ListenerCells;
  readonly #addresses: Addresses;
  readonly #listeners = new Map<string, Running>();
  /** By listener, route and pool. */
  #routeCells = new Map<string, RouteCells>();
  /** Of routes that left the document, the last to leave at the end: one that returns goes on counting. */
  readonly #left = new Map<string, RouteCells>();
  readonly #heard = new Map<string, number>();
  #onHeard: () => void = () => {};
  #onFailed: (error: OperationError) => void = () => {};

  constructor(rows: number, addresses: Addresses) {
    this.#rows = rows;
    this.#nobodys = new ListenerCells(rows);
    this.#addresses = addresses;
  }

  /** Reserves the addresses that are new; rejects when one is taken, and then keeps none of them. Resolves with the new ones. */
  async reserve(listeners: readonly ListenerOptions[]): Promise<Place[]> {
    const fresh: Place[] = [];
    try {
      for (const place of placesOf(listeners)) if (await this.#addresses.reserve(place)) fresh.push(place);
    } catch (error) {
      this.release(fresh);
      throw error;
    }
    return fresh;
  }

  /** Takes a reservation back that came to nothing. */
  release(places: readonly Place[]): void {
    for (const place of places) this.#addresses.release(place);
  }

  configure({ listeners, rehearsal }: Pick<DocumentOptions, 'listeners' | 'rehearsal'>): void {
    this.#addresses.retain(placesOf(listeners));
    const names = new Set(listeners.map(({ name }) => name));
    for (const name of [...this.#listeners.keys()]) if (!names.has(name)) this.#listeners.delete(name);
    const before = this.#routeCells;
    this.#routeCells = new Map();
    for (const options of listeners) {
      const routes = options.routes.map((route) =>
        this.#cellsOfRoute(routeKey(options.name, route.name, route.pool), before),
      );
      const known = this.#listeners.get(options.name);
      if (known === undefined)
        this.#listeners.set(options.name, {
          options,
          cells: new ListenerCells(this.#rows),
          clients: null,
          routes,
          rehearsal: null,
        });
      else Object.assign(known, { options, routes });
      const running = this.#listeners.get(options.name) as Running;
      running.rehearsal = this.#rehearsed(options.name, rehearsal, running.rehearsal);
      if (options.limits.connectionsPerClient !== null)
        running.clients ??= new ClientCounts(this.#rows, randomInt(-(2 ** 31), 2 ** 31));
    }
    for (const [key, cells] of before) if (!this.#routeCells.has(key)) this.#left.set(key, cells);
    this.#forgetOldest();
  }

  /** Counts of routes on trial go with it, but not between its steps. */
  #rehearsed(name: string, rehearsal: Rehearsal | undefined, known: Rehearsed | null): Rehearsed | null {
    const options = rehearsal?.listeners.find((one) => one.name === name);
    if (rehearsal === undefined || options === undefined) return null;
    const routes = options.routes.map((route) => {
      const at = known?.options.routes.findIndex((one) => one.name === route.name && one.pool === route.pool) ?? -1;
      return at < 0 ? new RouteCells(this.#rows) : (known as Rehearsed).routes[at];
    });
    return { share: rehearsal.share, options, routes };
  }

  #cellsOfRoute(key: string, before: ReadonlyMap<string, RouteCells>): RouteCells {
    const cells = before.get(key) ?? this.#left.get(key) ?? new RouteCells(this.#rows);
    this.#left.delete(key);
    this.#routeCells.set(key, cells);
    return cells;
  }

  /** Pools may be named after releases: their routes never return. */
  #forgetOldest(): void {
    for (const [key, { buffer }] of this.#left) {
      if (this.#left.size * buffer.byteLength <= LEFT_BYTES) return;
      this.#left.delete(key);
    }
  }

  binds(): Place[] {
    return placesOf([...this.#listeners.values()].map(({ options }) => options));
  }

  /** A worker accepts on an address. */
  listening(listener: string, bind: string): void {
    const key = `${listener}\0${bind}`;
    this.#heard.set(key, (this.#heard.get(key) ?? 0) + 1);
    this.#onHeard();
  }

  /** A worker cannot accept on an address. */
  listenFailed(listener: string, message: string): void {
    this.#onFailed(new OperationError('bind', `listener ${listener} cannot accept connections: ${message}`));
  }

  /** Resolves when every address has been heard of from so many workers; rejects when one of them cannot accept. */
  allListening(workers: number): Promise<void> {
    const isThere = () =>
      this.binds().every(({ listener, bind }) => (this.#heard.get(`${listener}\0${bind}`) ?? 0) >= workers);
    return new Promise((resolve, reject) => {
      this.#onFailed = reject;
      this.#onHeard = () => {
        if (isThere()) resolve();
      };
      this.#onHeard();
    });
  }

  forWorkers(): WorkerListener[] {
    return [...this.#listeners.values()].map(({ options, cells, clients, routes, rehearsal }) => {
      return {
        options,
        cells: cells.buffer,
        clients: clients?.buffer ?? null,
        routes: buffersOf(routes),
        rehearsal: rehearsal === null ? null : { ...rehearsal, routes: buffersOf(rehearsal.routes) },
      };
    });
  }

  /** Where to count for a listener; one that left the document while its last exchanges run counts for nobody. */
  cellsOf(listener: string): ListenerCells {
    return this.#listeners.get(listener)?.cells ?? this.#nobodys;
  }

  /** Addresses of the document that are not among these. */
  missing(places: readonly Place[]): Place[] {
    return this.binds().filter(
      ({ listener, bind }) => !places.some((place) => place.listener === listener && place.bind === bind),
    );
  }

  /** The first address of a listener, as `host:port`. */
  addressOf(listener: string): string {
    return this.#addresses.bound(placesOf([this.#listeners.get(listener)!.options])[0]);
  }

  /** Connections open on all listeners. */
  get connections(): number {
    let sum = 0;
    for (const { cells } of this.#listeners.values()) sum += cells.connectionsActive;
    return sum;
  }

  /** A worker died: its row is given back. */
  retire(row: number): void {
    for (const { cells, clients, rehearsal } of this.#listeners.values()) {
      cells.retire(row);
      clients?.retire(row);
      for (const tried of rehearsal?.routes ?? []) tried.retire(row);
    }
    for (const cells of [...this.#routeCells.values(), ...this.#left.values()]) cells.retire(row);
  }

  get live(): LiveListener[] {
    return [...this.#listeners.values()].map(({ options, cells }) => ({
      name: options.name,
      addresses: placesOf([options]).map((place) => this.#addresses.bound(place)),
      protocol: options.protocol,
      cells,
    }));
  }

  get liveRoutes(): LiveRoute[] {
    return [...this.#listeners.values()].flatMap((running) => [...liveOf(running), ...triedOf(running)]);
  }

  /** Of the document on trial; all, where none runs beside the one in force. */
  get triedRoutes(): LiveRoute[] {
    const tried = [...this.#listeners.values()].flatMap(triedOf);
    return tried.length > 0 ? tried : this.liveRoutes;
  }
}

function routeKey(listener: string, route: string, pool: string): string {
  return `${listener}\0${route}\0${pool}`;
}

function buffersOf(routes: readonly RouteCells[]): SharedArrayBuffer[] {
  return routes.map(({ buffer }) => buffer);
}

function liveOf({ options, routes }: Pick<Running, 'options' | 'routes'>): LiveRoute[] {
  return options.routes.map(({ name: route, pool }, i) => ({ listener: options.name, route, pool, cells: routes[i] }));
}

function triedOf({ rehearsal }: Running): LiveRoute[] {
  return rehearsal === null ? [] : liveOf(rehearsal);
}
