import type { Logger } from '../telemetry/log.ts';

const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Until a line of the log is out. */
const LAST_WORDS_MS = 250;

/** terminate() and exit() can hang in a long native call; this cannot. Whoever calls it has said why. */
export function lastResort(afterMs: number): void {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), Math.min(afterMs, LONGEST_TIMER_MS)).unref();
}

/** A worker hangs, terminate() has not ended it, and it accepts: its clients would wait for ever. */
export function endForStuckWorker(worker: number, log: Logger): void {
  log.fatal({ worker }, 'a worker hangs and cannot be ended: this process ends, for its clients would wait for ever');
  lastResort(LAST_WORDS_MS);
}
