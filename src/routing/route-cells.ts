import { CellBlock } from '../base/cells.ts';
import { BUCKETS, bucketIndex, FINE_BUCKETS, fineIndex } from '../base/histogram.ts';

/** Status codes with a series of their own; any other is counted as its class, `5xx`. */
const STATUSES: readonly number[] = [
  100, 101, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401,
  402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426,
  428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];

/** Label values of the status cells, by index: the codes above, then `1xx` … `5xx`. */
export const STATUS_LABELS: readonly string[] = [...STATUSES.map(String), '1xx', '2xx', '3xx', '4xx', '5xx'];
const STATUS_CELLS = STATUS_LABELS.length;
const statusIndex = new Uint8Array(600);
for (let status = 100; status < 600; status++) {
  const own = STATUSES.indexOf(status);
  statusIndex[status] = own >= 0 ? own : STATUSES.length + Math.floor(status / 100) - 1;
}

/** Methods with a label value of their own; index 9 is every other. Same order as wire/http1's Method. */
export const METHOD_LABELS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'other',
] as const;

const REQUESTS = 0;
const DURATION_SUM = METHOD_LABELS.length * STATUS_CELLS;
const DURATION_BUCKETS = DURATION_SUM + 1;
const FINE = DURATION_BUCKETS + BUCKETS;
const WIDTH = FINE + FINE_BUCKETS;

/** What the workers count for one route: requests by method and status, and the duration from arrival to the last byte. */
export class RouteCells {
  readonly #block: CellBlock;

  constructor(rows: number, buffer?: SharedArrayBuffer) {
    this.#block = new CellBlock(rows, WIDTH, buffer);
  }

  get buffer(): SharedArrayBuffer {
    return this.#block.buffer;
  }

  /** One request ended. `status` is 100…599. Hot path. */
  count(row: number, method: number, status: number, durationMs: number): void {
    const cells = this.#block.cells;
    const first = row * WIDTH;
    cells[first + REQUESTS + method * STATUS_CELLS + statusIndex[status]]++;
    cells[first + DURATION_SUM] += durationMs;
    cells[first + DURATION_BUCKETS + bucketIndex(durationMs)]++;
    cells[first + FINE + fineIndex(durationMs)]++;
  }

  /** Requests by index into METHOD_LABELS and STATUS_LABELS. */
  requests(method: number, status: number): number {
    return this.#block.sum(REQUESTS + method * STATUS_CELLS + status);
  }

  get durationSumMs(): number {
    return this.#block.sum(DURATION_SUM);
  }

  /** One bucket of base/histogram's bounds, not cumulative. */
  durationBucket(bucket: number): number {
    return this.#block.sum(DURATION_BUCKETS + bucket);
  }

  /** One bucket of the fine histogram (base/histogram's fineIndex). */
  fineBucket(bucket: number): number {
    return this.#block.sum(FINE + bucket);
  }

  retire(row: number): void {
    this.#block.retire(row);
  }
}
