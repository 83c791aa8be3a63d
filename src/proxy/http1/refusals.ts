import type { Socket } from 'node:net';
import { formatAnswer } from './answer.ts';

/** What a refused connection may take to fetch its answer and leave. */
const REFUSED_MS = 1000;
/** In the process: of the descriptors that `runtime.connections: auto` leaves free. */
const WAITING_MAX = 64;

/**
 * Answers connections that are past a limit, one for each worker. They hold descriptors that no limit counts: only so many are waited for, the others get
 * their answer and are closed when what they have sent so far is read.
 */
export class Refusals {
  readonly #max: number;
  #waiting = 0;

  constructor(workers: number) {
    this.#max = Math.max(1, Math.floor(WAITING_MAX / workers));
  }

  /** Answers 503 and closes. */
  refuse(socket: Socket): void {
    socket.on('error', () => {});
    socket.end(formatAnswer({ status: 503, reason: 'connections', head: false, close: true, keepAliveHttp10: false }));
    socket.resume();
    // A turn of the loop that reads, then the end: with bytes unread it would be a reset, which may overtake the answer.
    if (this.#waiting >= this.#max) return void setImmediate(() => setImmediate(() => socket.destroy()));
    this.#waiting++;
    // Not an idle timeout: a client that goes on sending would keep a connection that no limit counts.
    const timer = setTimeout(() => socket.destroy(), REFUSED_MS);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#waiting--;
    });
  }
}
