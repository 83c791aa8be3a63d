import { Worker } from 'node:worker_threads';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts';
import type { Watched } from './worker-watch.ts';

/** V8 heap of one worker; buffers are outside it. */
const MAX_OLD_GENERATION_MB = 1024;

/** What becomes of a thread; `retiring` has handed its sockets over and ends when its last connection has. */
export type ThreadState = 'starting' | 'up' | 'stalled' | 'retiring';

export interface WorkerThreadContext {
  readonly clock: Clock;
  readonly onMessage: (thread: WorkerThread, message: FromWorker) => void;
  readonly onExit: (thread: WorkerThread, reason: string) => void;
}

/** A thread of the data plane as main sees it: a worker's number, which a successor keeps, and a row in shared memory, which is its own. */
export class WorkerThread implements Watched {
  readonly worker: number;
  readonly row: number;
  /** Times this worker died or hung, up to this thread. */
  readonly restarts: number;
  /** Lives of this worker that ended soon after they began, up to this thread. */
  readonly shortLives: number;
  readonly startedMs: number;
  /** Resolves when it has its configuration; rejects with an OperationError when it ends before. */
  readonly up: Promise<void>;
  state: ThreadState = 'starting';
  beatMs = 0;
  quietMs = 0;
  silence: Watched['silence'] = 'none';
  readonly #thread: Worker;

  constructor(
    thread: Worker,
    start: WorkerStart,
    lives: { readonly restarts: number; readonly shortLives: number },
    { clock, onMessage, onExit }: WorkerThreadContext,
  ) {
    this.#thread = thread;
    this.worker = start.worker;
    this.row = start.row;
    this.restarts = lives.restarts;
    this.shortLives = lives.shortLives;
    this.startedMs = clock.now();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.up = promise;
    // Nobody may be waiting when it ends.
    promise.catch(() => {});
    let failure: Error | null = null;
    thread.removeAllListeners();
    thread.on('message', (message: FromWorker) => {
      if (message.kind === 'configured' && this.state === 'starting') {
        this.state = 'up';
        onMessage(this, message);
        return resolve();
      }
      onMessage(this, message);
    });
    thread.on('error', (error: Error) => {
      failure = error;
    });
    thread.on('exit', (code) => {
      const reason = failure === null ? `exit ${code}` : failure.message;
      reject(
        new OperationError('worker', `worker ${this.worker} ended before it was up: ${reason}`, { cause: failure }),
      );
      onExit(this, reason);
    });
    this.post({ kind: 'start', start });
  }

  post(message: ToWorker): void {
    this.#thread.postMessage(message, transferredIn(message) as never[]);
  }

  terminate(): Promise<number> {
    return this.#thread.terminate();
  }
}

/** What goes to the thread rather than to be copied. */
function transferredIn(message: ToWorker): unknown[] {
  if ('socket' in message) return [message.socket];
  if ('server' in message) return [message.server];
  if ('ports' in message) return [...message.ports];
  return 'port' in message ? [message.port] : [];
}

/** A thread with its modules loaded and nothing else. */
export function newThread(): Worker {
  return new Worker(new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url), {
    name: 'evenkeel-worker',
    resourceLimits: { maxOldGenerationSizeMb: MAX_OLD_GENERATION_MB },
  });
}
