import { systemClock } from '../base/clock.ts';
import type { FromWorker } from './messages.ts';
import { type ReloadParts, sendSockets } from './reload.ts';

/** A refused TLS handshake with an endpoint is logged once in this time. */
const TELL_EVERY_MS = 50_000;

type Message<K extends FromWorker['kind']> = Extract<FromWorker, { readonly kind: K }>;

/** What worker threads tell main, handed to whoever it concerns. On main, once per message. */
export class WorkerMail {
  readonly #parts: ReloadParts;
  readonly #onDrained: (row: number) => void;
  /** When main last told of an endpoint that came to no TLS handshake: every worker finds out by itself. */
  readonly #toldMs = new Map<string, number>();

  /** `onDrained`: a thread has nothing left. */
  constructor(parts: ReloadParts, onDrained: (row: number) => void) {
    this.#parts = parts;
    this.#onDrained = onDrained;
  }

  take(row: number, message: FromWorker): void {
    const { pools, listeners, lent, log } = this.#parts;
    switch (message.kind) {
      case 'ejected':
        return pools.ejected(message);
      case 'would-eject':
        return pools.wouldEject(message);
      case 'decision':
        return log.info(message.decision, 'decision');
      case 'gone':
        return pools.acknowledge(message.pool, message.slot, row);
      case 'tls-refused':
        return this.#onTlsRefused(message);
      case 'access':
        return this.#writeAccess(row, message);
      case 'sampled':
        return this.#parts.requests.add(message.samples);
      case 'listening':
        return listeners.listening(message.listener, message.bind);
      case 'listen-failed':
        listeners.listenFailed(message.listener, message.message);
        return log.error({ listener: message.listener, row, error: message.message }, 'cannot accept connections');
      case 'took-over':
        return sendSockets(this.#parts, row, listeners.missing(message.places));
      case 'lent':
        return lent.take(row, message.listener, message.bind, message.server);
      case 'lent-all':
        return lent.settled(row);
      case 'drained':
        return this.#onDrained(row);
    }
  }

  #onTlsRefused({ pool, endpoint, reason }: Message<'tls-refused'>): void {
    const key = `${pool}\0${endpoint}`;
    const nowMs = systemClock.now();
    for (const [known, toldMs] of this.#toldMs) if (nowMs - toldMs >= TELL_EVERY_MS) this.#toldMs.delete(known);
    if (this.#toldMs.has(key)) return;
    this.#toldMs.set(key, nowMs);
    this.#parts.log.warn({ pool, endpoint, reason }, 'no TLS handshake with this endpoint');
  }

  #writeAccess(row: number, { listener, batch, lines }: Message<'access'>): void {
    const { access, listeners, workers } = this.#parts;
    const done = () => workers.post(row, { kind: 'logged', listener, length: batch.length });
    access.write(batch, lines, listeners.cellsOf(listener), done);
  }
}
