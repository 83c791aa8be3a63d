import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';

/** What V8 has by default. */
const TURBOFAN_THREADS = 4;
const MAGLEV_THREADS = 2;

/**
 * Keeps V8's optimising compilers to the processors that a worker leaves free, and to one thread where there is none: by default a process that warms up on one
 * core compiles on four threads beside the one that carries the traffic, which has a fifth of the core for half a second then. Their priority must stay as it is:
 * the collector uses the same threads, and whoever waits for it would wait for them. For all threads of this process, from the next compilation on; called by
 * a process that is evenkeel's own, never where it is embedded.
 */
export function compileBeside(processors = availableParallelism()): void {
  const free = Math.max(1, processors - 1);
  setFlagsFromString(`--concurrent-turbofan-max-threads=${Math.min(TURBOFAN_THREADS, free)}`);
  setFlagsFromString(`--concurrent-maglev-max-threads=${Math.min(MAGLEV_THREADS, free)}`);
}
