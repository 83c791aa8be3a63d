import { availableParallelism } from 'node:os';
import { MessageChannel, type Worker } from 'node:worker_threads';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { LiveWorker } from '../telemetry/live-state.ts';
import { Heartbeats } from './heartbeats.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { newThread, WorkerThread } from './worker-thread.ts';
import { type Watched, WorkerWatch } from './worker-watch.ts';

/** A worker that dies again and again before it has lived this long is replaced only after a pause that grows: a start takes some 100 ms of a core. */
const SHORT_LIFE_MS = 1000;
const MAX_PAUSE_MS = 5000;
/** The same where nobody else accepts: a start that fails costs less than clients that are refused. */
const MAX_PAUSE_ALONE_MS = 250;
/** A spare that ends before it was needed is replaced after so long: what ended it may end the next one too. */
const SPARE_PAUSE_MS = 1000;

/** Of a worker, up to a thread of it: how often it died, and how often soon after it began. */
interface Lives {
  readonly restarts: number;
  readonly shortLives: number;
}
const FRESH: Lives = { restarts: 0, shortLives: 0 };

/** Predecessors that may still have connections to finish while their successors serve. */
const MIN_PREDECESSORS = 8;

/** Rows of shared memory: main's, one for each worker there may be one day, and as many, or eight, for predecessors that still finish. */
export function rowsFor(count: number): number {
  return 1 + maxWorkers(count) + Math.max(maxWorkers(count), MIN_PREDECESSORS);
}

/** A reload may ask for so many workers where the start asked for `count`. */
export function maxWorkers(count: number): number {
  return Math.max(count, availableParallelism());
}

/** What main wants to know of the workers, and what it must do for a new one. Threads are told apart by their row. */
export interface WorkersContext {
  /** Workers to begin with. */
  readonly count: number;
  readonly maxCount: number;
  /** Rows of shared memory, main's row 0 included: so many threads less one may live at once. */
  readonly rows: number;
  readonly clock: Clock;
  /** Signs affinity cookies, of all workers. */
  readonly affinityKey: Uint8Array;
  /** Chunks of slots that exist now. */
  readonly chunks: () => readonly SharedArrayBuffer[];
  /** A thread is up and knows nothing: post it the configuration and the members, and the sockets when it is to accept at once. */
  readonly onUp: (row: number, withSockets: boolean) => void;
  readonly onMessage: (row: number, message: FromWorker) => void;
  /** It is gone: give its row back. Called before its successor starts. `retired` when it was meant to end. */
  readonly onGone: (
    thread: { readonly worker: number; readonly row: number },
    reason: string,
    retired: boolean,
  ) => void;
  /** Rows from `used` on belong to nobody now. */
  readonly onRows: (used: number) => void;
  readonly onStalled: (worker: number, forMs: number) => void;
  /** It hangs and cannot be ended: its listening sockets keep their share of the clients, and nobody answers those. */
  readonly onStuck: (worker: number) => void;
  /** Whether detectors of failing endpoints must hold still: a stall of ours makes all endpoints look slow. */
  readonly onFrozen: (frozen: boolean) => void;
}

/**
 * The worker threads, on main: starts them, posts to them, notices when one dies or hangs, and replaces it; hands a worker's listening sockets
 * over to a successor. `restart` and `resize` are called one at a time.
 */
export class Workers {
  readonly heartbeats: Heartbeats;
  readonly #context: WorkersContext;
  /** By worker: who accepts its connections; null between a death and the replacement. */
  readonly #serving: (WorkerThread | null)[];
  /** Every thread that lives, by row. */
  readonly #threads: (WorkerThread | null)[];
  /** A thread with its modules loaded and nothing else: steps in at once where a worker dies. */
  #spare: Worker | null = null;
  #ending = false;
  /** Hands its sockets over now. */
  #leaving: WorkerThread | null = null;
  readonly #watch: WorkerWatch;
  #onTookOver: (row: number) => void = () => {};

  constructor(context: WorkersContext) {
    this.#context = context;
    this.heartbeats = new Heartbeats(context.rows);
    this.#watch = new WorkerWatch(this.heartbeats, { ...context, onStuck: (thread) => this.#onStuck(thread) });
    this.#serving = new Array(context.count).fill(null);
    this.#threads = new Array(context.rows).fill(null);
  }

  /** Starts all; resolves when all are up. */
  async start(): Promise<void> {
    await Promise.all(this.#serving.map((_, worker) => this.#spawn(worker).up));
    this.#prepareSpare();
  }

  get count(): number {
    return this.#serving.length;
  }

  /** A loop came late within the last second, as of the last `watch`. */
  get isLate(): boolean {
    return this.#watch.isLate;
  }

  /** Rows of the threads that live, those that retire included. */
  rows(): number[] {
    return this.#threads.flatMap((thread) => (thread === null ? [] : [thread.row]));
  }

  /** Rows of the threads that accept connections. */
  serving(): number[] {
    return this.#serving.flatMap((thread) => (thread === null ? [] : [thread.row]));
  }

  /** Whether a thread besides that of `row` has its listening sockets. */
  acceptElsewhere(row: number): boolean {
    return this.#serving.some((thread) => thread !== null && thread.row !== row && thread.state !== 'starting');
  }

  /** Ends a worker as a fault would, or blocks its loop: for tests of what follows. */
  injectFault(worker: number, fault: Extract<ToWorker, { kind: 'die' | 'hang' | 'stall' }>): void {
    this.#serving[worker]?.post(fault);
  }

  /** Ends the spare thread, for tests. */
  injectSpareFault(): void {
    this.#spare?.postMessage({ kind: 'die' } satisfies ToWorker);
  }

  workerOf(row: number): number {
    return this.#threads[row]?.worker ?? -1;
  }

  post(row: number, message: ToWorker): void {
    this.#threads[row]?.post(message);
  }

  broadcast(message: ToWorker): void {
    for (const thread of this.#threads) thread?.post(message);
  }

  live(): LiveWorker[] {
    return this.#serving.map((thread, id) => ({
      id,
      state: thread === null ? 'starting' : thread.state === 'retiring' ? 'draining' : thread.state,
      restarts: thread?.restarts ?? 0,
      lagMs: thread === null ? 0 : this.heartbeats.lagMs(thread.row),
    }));
  }

  /** Bytes of each worker; null while it does not serve as it should. */
  memory(): (number | null)[] {
    return this.#serving.map((thread) => (thread?.state === 'up' ? this.heartbeats.memoryBytes(thread.row) : null));
  }

  /** Called about every 100 ms. */
  watch(): void {
    this.#watch.look(this.#threads);
  }

  /** One that does not accept, or that ends with the process, may stay. */
  #onStuck({ worker, row }: Watched): void {
    const isNeeded = this.#leaving?.row === row || this.#serving[worker]?.row === row;
    if (isNeeded && !this.#ending) this.#context.onStuck(worker);
  }

  /**
   * Puts a fresh thread in a worker's place. The listening sockets move to it with the connections that wait in them; the old thread ends when its last
   * connection has. Rejects with an OperationError when that cannot be done now; the old thread goes on then.
   */
  async restart(worker: number): Promise<void> {
    const old = this.#serving[worker];
    // One that is being replaced has its row only when nobody else takes it.
    if (this.#serving.includes(null))
      throw new OperationError('worker', 'a worker is being replaced after its death', { retryable: true });
    if (old?.state === 'starting') await old.up;
    if (old == null || old.state !== 'up')
      throw new OperationError('worker', `worker ${worker} is ${old?.state ?? 'being replaced'}`, { retryable: true });
    const next = this.#launch(worker, { restarts: old.restarts, shortLives: 0 }, false);
    await next.up;
    // It died meanwhile, and has been replaced the usual way.
    if (this.#serving[worker] !== old) return this.#discard(next);
    this.#serving[worker] = next;
    await this.#handOver(old, next);
  }

  /**
   * Brings the number of workers to `count`. Where there are fewer, the sockets of those that leave go to those that stay. Rejects with an OperationError when a
   * new one could not start; it is tried again then, as after a death.
   */
  async resize(count: number): Promise<void> {
    let failure: unknown = null;
    while (this.#serving.length < count) {
      const worker = this.#serving.push(null) - 1;
      if (this.freeRows === 0) this.#spawnLater(worker, FRESH, MAX_PAUSE_MS);
      else
        await this.#add(worker).catch((error: unknown) => {
          failure = error;
        });
    }
    while (this.#serving.length > count) {
      const worker = this.#serving.length - 1;
      const old = this.#serving.pop();
      const heirs = this.#upBeside(null);
      if (old == null) continue;
      // Where all others have just died, one that is not up yet takes them as soon as it is.
      const heir = heirs[worker % heirs.length] ?? this.#serving.find((thread) => thread?.state === 'starting');
      if (heir == null) this.#retire(old);
      else await this.#handOver(old, heir);
    }
    if (failure !== null) throw failure;
  }

  /**
   * Starts one worker more. Sockets of workers that left went to those that stayed: it gets such ones first, so that they do not pile up there, each with its
   * share of the clients.
   */
  async #add(worker: number): Promise<void> {
    const isAlone = this.#upBeside(null).length === 0;
    const next = this.#spawn(worker, FRESH, isAlone);
    await next.up;
    if (isAlone || this.#serving[worker] !== next) return;
    // Looked for only now: what is posted to a thread that has died meanwhile goes nowhere, and its share would be waited for without end.
    await this.#move(this.#upBeside(next), next, 'share');
  }

  #upBeside(next: WorkerThread | null): WorkerThread[] {
    return this.#serving.filter(
      (thread) => thread !== null && thread !== next && thread.state === 'up',
    ) as WorkerThread[];
  }

  /** How many workers there is room for. */
  get maxCount(): number {
    return this.#context.maxCount;
  }

  /** How many threads more may live now, beside those that still have connections to finish. */
  get freeRows(): number {
    return this.#threads.reduce((sum, thread, row) => (thread === null && row > 0 ? sum + 1 : sum), 0);
  }

  /** From now on a worker that ends is not replaced. */
  ending(): void {
    this.#ending = true;
    for (const thread of this.#threads) if (thread !== null) thread.state = 'retiring';
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    this.#ending = true;
    const threads = [this.#spare, ...this.#threads];
    // They end because we say so: nobody is told of a death.
    this.#serving.fill(null);
    this.#threads.fill(null);
    await Promise.all(threads.map((thread) => thread?.terminate()));
  }

  /** Resolves when `next` has what `old` listened on. When either ends on the way, whoever is told of it by `onMessage` sends sockets anew. */
  async #handOver(old: WorkerThread, next: WorkerThread): Promise<void> {
    const moved = this.#move([old], next, 'hand-over');
    old.state = 'retiring';
    this.#leaving = old;
    await moved;
    this.#leaving = null;
  }

  #move(from: readonly WorkerThread[], next: WorkerThread, kind: 'hand-over' | 'share'): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onTookOver = (row) => {
      if (row === next.row) resolve();
    };
    const channels = from.map(() => new MessageChannel());
    next.post({ kind: 'take-over', ports: channels.map(({ port2 }) => port2) });
    for (const [i, { port1 }] of channels.entries()) from[i].post({ kind, port: port1 });
    return promise;
  }

  #retire(thread: WorkerThread): void {
    thread.state = 'retiring';
    thread.post({ kind: 'drain' });
  }

  #discard(thread: WorkerThread): void {
    thread.state = 'retiring';
    void thread.terminate();
  }

  #prepareSpare(): void {
    const spare = newThread();
    this.#spare = spare;
    const again = () => {
      if (this.#spare !== spare) return;
      this.#spare = null;
      setTimeout(() => {
        if (this.#spare === null && !this.#ending) this.#prepareSpare();
      }, SPARE_PAUSE_MS).unref();
    };
    spare.once('exit', again);
    spare.once('error', again);
  }

  #spawn(worker: number, lives: Lives = FRESH, withSockets = true): WorkerThread {
    const thread = this.#launch(worker, lives, withSockets, (launched) => {
      this.#serving[worker] = launched;
    });
    return thread;
  }

  /** In a place that is empty, unless it is taken or not wanted any more by then. */
  #spawnLater(worker: number, lives: Lives, pauseMs: number): void {
    const spawn = () => {
      const isWanted = !this.#ending && worker < this.#serving.length && this.#serving[worker] === null;
      if (!isWanted) return;
      if (this.freeRows === 0) setTimeout(spawn, MAX_PAUSE_MS);
      else this.#spawn(worker, lives);
    };
    if (pauseMs === 0) spawn();
    else setTimeout(spawn, pauseMs);
  }

  #launch(
    worker: number,
    lives: Lives,
    withSockets: boolean,
    isIn: (thread: WorkerThread) => void = () => {},
  ): WorkerThread {
    const { clock, rows, chunks } = this.#context;
    const row = this.#threads.indexOf(null, 1);
    if (row < 0)
      throw new OperationError('worker', 'too many workers still have connections to finish', { retryable: true });
    const start = {
      worker,
      workers: this.#serving.length,
      row,
      rows,
      heartbeats: this.heartbeats.buffer,
      chunks: chunks(),
      affinityKey: this.#context.affinityKey,
    };
    const spare = this.#spare ?? newThread();
    if (this.#spare !== null) this.#prepareSpare();
    const thread = new WorkerThread(spare, start, lives, {
      clock,
      onMessage: (one, message) => this.#onMessage(one, message),
      onExit: (one, reason) => this.#onExit(one, reason),
    });
    this.#threads[row] = thread;
    this.#countRows();
    isIn(thread);
    this.#context.onUp(row, withSockets);
    return thread;
  }

  #countRows(): void {
    this.#context.onRows(this.#threads.findLastIndex((thread) => thread !== null) + 1 || 1);
  }

  #onMessage(thread: WorkerThread, message: FromWorker): void {
    const { row } = thread;
    if (this.#threads[row] !== thread) return;
    if (message.kind === 'configured' && this.heartbeats.lastBeatMs(row) === 0)
      this.heartbeats.beat(row, this.#context.clock.now(), 0);
    this.#context.onMessage(row, message);
    if (message.kind === 'took-over') this.#onTookOver(row);
    if (message.kind === 'drained' && !this.#ending && thread.state === 'retiring') thread.post({ kind: 'end' });
  }

  #onExit(thread: WorkerThread, reason: string): void {
    const { worker, row } = thread;
    if (this.#threads[row] !== thread) return;
    this.#threads[row] = null;
    this.heartbeats.clear(row);
    const isServing = this.#serving[worker] === thread;
    if (isServing) this.#serving[worker] = null;
    this.#context.onGone(thread, reason, thread.state === 'retiring');
    this.#countRows();
    this.#onTookOver(row);
    if (isServing && !this.#ending) this.#replace(thread);
  }

  #replace({ worker, startedMs, restarts, shortLives: before }: WorkerThread): void {
    const livedMs = this.#context.clock.now() - startedMs;
    const shortLives = livedMs < SHORT_LIFE_MS ? before + 1 : 0;
    // The first death is answered at once; a worker that dies at every start must not take the whole machine.
    const maxMs = this.acceptElsewhere(-1) ? MAX_PAUSE_MS : MAX_PAUSE_ALONE_MS;
    const pauseMs = shortLives < 2 ? 0 : Math.min(maxMs, 100 * 2 ** shortLives);
    this.#spawnLater(worker, { restarts: restarts + 1, shortLives }, pauseMs);
  }
}
