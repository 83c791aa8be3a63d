const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** terminate() and exit() can hang in a long native call; this cannot. Whoever calls it has said why. */
export function lastResort(afterMs: number): void {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), Math.min(afterMs, LONGEST_TIMER_MS)).unref();
}
