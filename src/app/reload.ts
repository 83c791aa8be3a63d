import { randomUUID } from 'node:crypto';
import type { BoundSocket } from 'node:net';
import { availableParallelism } from 'node:os';
import { OperationError } from '../base/errors.ts';
import type { Logger } from '../telemetry/log.ts';
import type { AccessTarget } from './access-target.ts';
import { type Addresses, listenFor } from './addresses.ts';
import type { AdminDoor } from './admin-door.ts';
import type { DocumentOptions, LoadedDocument } from './document.ts';
import type { LentServers } from './lent-servers.ts';
import type { ListenerSet, Place } from './listener-set.ts';
import type { PoolSet } from './pool-set.ts';
import type { Prepared } from './prepared.ts';
import type { Registrations } from './registrations.ts';
import type { RequestWindow } from './request-window.ts';
import type { Sources } from './sources.ts';
import type { TicketKeys } from './ticket-keys.ts';
import { tryBuild } from './try-build.ts';
import type { Workers } from './workers.ts';

export interface ReloadParts {
  readonly log: Logger;
  readonly addresses: Addresses;
  readonly listeners: ListenerSet;
  readonly pools: PoolSet;
  readonly sources: Sources;
  readonly registrations: Registrations;
  readonly workers: Workers;
  readonly lent: LentServers;
  readonly admin: AdminDoor;
  readonly access: AccessTarget;
  readonly requests: RequestWindow;
  readonly ticketKeys: TicketKeys;
  /** Level and format of the event log. */
  readonly configureLog: (log: DocumentOptions['log']) => Promise<void>;
  /** Throws an OperationError when the process ends: what was begun before must not take effect any more. */
  readonly refuseActs: () => void;
  /** The document in force from now on. */
  readonly adopt: (document: LoadedDocument) => void;
  /** Sends every worker thread what is in force now. */
  readonly configureWorkers: () => void;
}

/** Threads that serve, as the document says. */
export function workerCount({ workers }: DocumentOptions['runtime']): number {
  return workers === 'auto' ? availableParallelism() : workers;
}

/**
 * Puts another document in force: opens everything new that can fail, then swaps. One at a time; when it rejects, everything is as it was. What fails after the
 * swap (a fresh worker that dies) is logged: the document is in force.
 */
export async function putInForce(parts: ReloadParts, before: LoadedDocument, next: LoadedDocument): Promise<void> {
  const { document } = next;
  tryBuild(next);
  checkWorkers(parts, workerCount(document.runtime));
  const prepared: Prepared[] = [];
  const bound = await parts.listeners.reserve(document.listeners);
  try {
    const sockets = new FreshSockets(parts, bound);
    prepared.push(sockets);
    prepared.push(await parts.access.prepare(document.log.access));
    prepared.push(await parts.admin.prepare(document.admin));
    await addPools(parts, document);
    parts.refuseActs();
    // Nothing below fails: it is all there.
    for (const one of prepared) one.commit();
    parts.adopt(next);
    swap(parts, document, sockets);
  } catch (error) {
    for (const one of prepared) one.cancel();
    parts.listeners.release(bound);
    if (parts.pools.retain(before.document.pools)) parts.configureWorkers();
    parts.registrations.configure(before.document.listeners);
    throw error;
  }
  const fail = (error: Error) =>
    parts.log.error({ error: error.message }, 'the document is in force, but not all of it');
  await parts.configureLog(document.log).catch(fail);
  await parts.workers.resize(workerCount(document.runtime)).catch(fail);
  parts.registrations.configure(document.listeners);
  sayWhatWaits(parts.log, before.document, document);
}

/**
 * Binds every address that a document would need, and takes it back. Rejects as `putInForce` would. Opens no file: an access log would be made. An admin API
 * that stands at another address for a moment answers nobody.
 */
export async function tryToPrepare(parts: ReloadParts, next: LoadedDocument): Promise<void> {
  const { document } = next;
  tryBuild(next);
  checkWorkers(parts, workerCount(document.runtime));
  const prepared: Prepared[] = [];
  const bound = await parts.listeners.reserve(document.listeners);
  try {
    prepared.push(new FreshSockets(parts, bound));
    prepared.push(await parts.admin.prepare({ ...document.admin, token: randomUUID() }));
  } finally {
    for (const one of prepared) one.cancel();
    parts.listeners.release(bound);
  }
}

/** Workers know a new pool before they hear of its members, and it has members before a route leads to it: no request meets an empty pool. */
async function addPools({ pools, sources, configureWorkers }: ReloadParts, document: DocumentOptions): Promise<void> {
  const fresh = pools.add(document.pools);
  if (fresh.length > 0) configureWorkers();
  await sources.configure(document);
  await within(sources.synced(fresh), document.runtime.startTimeout);
}

/** What left goes last, when no route leads to it any more. */
function swap(
  { listeners, pools, configureWorkers }: ReloadParts,
  document: DocumentOptions,
  sockets: FreshSockets,
): void {
  listeners.configure(document);
  pools.configure(document.pools);
  configureWorkers();
  sockets.send();
  if (pools.retain(document.pools)) configureWorkers();
}

function checkWorkers({ workers }: ReloadParts, count: number): void {
  if (count <= workers.count) return;
  if (count > workers.maxCount) {
    const message = `runtime.workers: ${count} is more than this process has room for (${workers.maxCount}); restart it to have more`;
    throw new OperationError('workers', message);
  }
  if (count - workers.count <= workers.freeRows) return;
  const message = `runtime.workers: ${count} is more than there is room for until earlier workers have finished their connections`;
  throw new OperationError('workers', message, { retryable: true });
}

/** Said, so that nobody waits for it. */
function sayWhatWaits(log: Logger, before: DocumentOptions, after: DocumentOptions): void {
  const keys = [
    ['runtime.pidFile', before.runtime.pidFile === after.runtime.pidFile],
    ['runtime.state', before.runtime.state === after.runtime.state],
    ['admin.endpointSeries', before.admin.endpointSeries === after.admin.endpointSeries],
  ] as const;
  const waiting = keys.flatMap(([key, isSame]) => (isSame ? [] : [key]));
  if (waiting.length > 0) log.warn({ keys: waiting }, 'these keys take effect at the next start');
}

/** Listening sockets on addresses that are new: one for every serving thread, had before anything changes. */
class FreshSockets implements Prepared {
  readonly #parts: ReloadParts;
  readonly #places: readonly Place[];
  #ready: { readonly place: Place; readonly socket: BoundSocket }[] = [];

  /** Throws an OperationError when one cannot be had. */
  constructor(parts: ReloadParts, places: readonly Place[]) {
    this.#parts = parts;
    this.#places = places;
    try {
      for (const place of places.filter(({ transport }) => transport === 'tcp'))
        for (const _ of parts.workers.serving()) this.#ready.push({ place, socket: parts.addresses.socket(place) });
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  commit(): void {}

  cancel(): void {
    for (const { socket } of this.#ready) socket.close();
    this.#ready = [];
  }

  /** To the threads that serve now: one may have come or gone meanwhile. */
  send(): void {
    const rows = this.#parts.workers.serving();
    for (const row of rows) {
      for (const place of this.#places) {
        const at = this.#ready.findIndex((one) => one.place === place);
        if (at < 0) sendSockets(this.#parts, row, [place]);
        else this.#parts.workers.post(row, { kind: 'listen', ...place, socket: this.#ready.splice(at, 1)[0].socket });
      }
    }
    this.cancel();
  }
}

/**
 * Gives a thread a socket of its own on each address. One that cannot be had is said; the other threads accept there. Where there is none, main listens
 * before the thread is up, so that clients wait instead of being refused.
 */
export function sendSockets(
  { addresses, workers, log }: Pick<ReloadParts, 'addresses' | 'workers' | 'log'>,
  row: number,
  places: readonly Place[],
): void {
  const isAlone = !workers.acceptElsewhere(row);
  for (const place of places) {
    const fail = (error: unknown) =>
      log.error({ ...place, row, error: (error as Error).message }, 'a worker cannot accept connections');
    try {
      if (place.transport === 'udp') {
        workers.post(row, { kind: 'listen-udp', place, at: addresses.reserved(place) });
        continue;
      }
      const socket = addresses.socket(place);
      if (isAlone) workers.post(row, { kind: 'adopt', ...place, server: listenFor(socket, fail) });
      else workers.post(row, { kind: 'listen', ...place, socket });
    } catch (error) {
      fail(error);
    }
  }
}

/** Resolves when `promise` does, or when time is up. */
export async function within(promise: Promise<void>, timeoutMs: number): Promise<void> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, timeoutMs);
  await Promise.race([promise, timeout.promise]);
  clearTimeout(timer);
}
