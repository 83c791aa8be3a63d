import { CellBlock } from '../base/cells.ts';

/** Why evenkeel itself answered or closed: the word in `x-evenkeel-reason`, the access log and the `reason` label. */
export const REASONS = [
  'no-endpoint',
  'no-route',
  'connect-failed',
  'connect-timeout',
  'response-timeout',
  'request-timeout',
  'reset',
  'bad-response',
  'limit',
  'pending-timeout',
  'bad-request',
  'head-timeout',
  'body-timeout',
  'body-too-large',
  'head-too-large',
  'uri-too-long',
  'not-implemented',
  'version-not-supported',
  'misdirected',
  'connections',
  'draining',
  'middleware',
  'internal',
  'tls-handshake',
  'loop',
  'idle-timeout',
  'age',
  'removed',
  'proxy-protocol',
] as const;
export type Reason = (typeof REASONS)[number];

const CONNECTIONS_ACTIVE = 0;
const CONNECTIONS_TOTAL = 1;
const BYTES_IN = 2;
const BYTES_OUT = 3;
const LOG_DROPPED = 4;
const REJECTED = 8;
const WIDTH = REJECTED + REASONS.length;

/** What the workers count for one listener. Bytes are those of the client's side. */
export class ListenerCells {
  readonly #block: CellBlock;

  constructor(rows: number, buffer?: SharedArrayBuffer) {
    this.#block = new CellBlock(rows, WIDTH, buffer);
  }

  get buffer(): SharedArrayBuffer {
    return this.#block.buffer;
  }

  opened(row: number): void {
    this.#block.cells[row * WIDTH + CONNECTIONS_ACTIVE]++;
    this.#block.cells[row * WIDTH + CONNECTIONS_TOTAL]++;
  }

  /** A connection whose handshake is under way counts as open, and is counted among all of them when it is through. */
  handshakeBegan(row: number): void {
    this.#block.cells[row * WIDTH + CONNECTIONS_ACTIVE]++;
  }

  handshakeEnded(row: number): void {
    this.#block.cells[row * WIDTH + CONNECTIONS_ACTIVE]--;
  }

  closed(row: number): void {
    this.#block.cells[row * WIDTH + CONNECTIONS_ACTIVE]--;
  }

  bytesIn(row: number, bytes: number): void {
    this.#block.cells[row * WIDTH + BYTES_IN] += bytes;
  }

  bytesOut(row: number, bytes: number): void {
    this.#block.cells[row * WIDTH + BYTES_OUT] += bytes;
  }

  /** `reason` is an index into REASONS. */
  rejected(row: number, reason: number): void {
    this.#block.cells[row * WIDTH + REJECTED + reason]++;
  }

  /** Access-log lines that did not fit into the bounded queue. */
  logDropped(row: number, lines: number): void {
    this.#block.cells[row * WIDTH + LOG_DROPPED] += lines;
  }

  get connectionsActive(): number {
    return this.#block.sum(CONNECTIONS_ACTIVE);
  }

  get connectionsTotal(): number {
    return this.#block.sum(CONNECTIONS_TOTAL);
  }

  get bytesInTotal(): number {
    return this.#block.sum(BYTES_IN);
  }

  get bytesOutTotal(): number {
    return this.#block.sum(BYTES_OUT);
  }

  rejectedTotal(reason: number): number {
    return this.#block.sum(REJECTED + reason);
  }

  get logDroppedTotal(): number {
    return this.#block.sum(LOG_DROPPED);
  }

  retire(row: number): void {
    this.#block.retire(row, [CONNECTIONS_ACTIVE]);
  }
}
