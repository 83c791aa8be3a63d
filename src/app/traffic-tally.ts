import { FINE_BUCKETS, fineQuantile } from '../base/histogram.ts';
import { METHOD_LABELS, type RouteCells, STATUS_LABELS } from '../routing/route-cells.ts';
import type { LiveRoute } from '../telemetry/live-state.ts';

const REQUESTS = FINE_BUCKETS;
const ERRORS = FINE_BUCKETS + 1;
const WIDTH = FINE_BUCKETS + 2;
const SERVER_ERRORS = STATUS_LABELS.flatMap((label, index) => (label.startsWith('5') ? [index] : []));

/** What all routes together answered within some time. */
export interface Traffic {
  readonly requests: number;
  /** Answered with 5xx, ours included. */
  readonly errors: number;
  /** In ms; NaN without requests. */
  readonly p99Ms: number;
}

/** Counts what all routes answer, over documents: routes may come and go. Read once in a while, on main. */
export class TrafficTally {
  readonly #routes: () => readonly LiveRoute[];
  /** What each route's cells held at the last `advance`. A route that returns has counted long before. */
  readonly #last = new Map<RouteCells, Float64Array>();
  #sums = new Float64Array(WIDTH);

  constructor(routes: () => readonly LiveRoute[]) {
    this.#routes = routes;
    this.advance();
    this.reset();
  }

  /** Adds what was answered since the last call; of a route that was not there then, what comes from now on. */
  advance(): void {
    const routes = this.#routes();
    for (const { cells } of routes) {
      const now = read(cells);
      const last = this.#last.get(cells);
      for (let i = 0; i < WIDTH; i++) this.#sums[i] += now[i] - (last?.[i] ?? now[i]);
      this.#last.set(cells, now);
    }
    const live = new Set(routes.map(({ cells }) => cells));
    for (const cells of this.#last.keys()) if (!live.has(cells)) this.#last.delete(cells);
  }

  reset(): void {
    this.#sums = new Float64Array(WIDTH);
  }

  get traffic(): Traffic {
    return {
      requests: this.#sums[REQUESTS],
      errors: this.#sums[ERRORS],
      p99Ms: fineQuantile(this.#sums, 0.99),
    };
  }
}

function read(cells: RouteCells): Float64Array {
  const values = new Float64Array(WIDTH);
  for (let i = 0; i < FINE_BUCKETS; i++) {
    values[i] = cells.fineBucket(i);
    values[REQUESTS] += values[i];
  }
  for (const status of SERVER_ERRORS)
    for (let method = 0; method < METHOD_LABELS.length; method++) values[ERRORS] += cells.requests(method, status);
  return values;
}
