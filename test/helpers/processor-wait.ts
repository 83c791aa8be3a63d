import { readdirSync, readFileSync } from 'node:fs';

/**
 * How long processes have been ready to run since this call and had no processor: what a busy machine adds to every promised time. Of each process the
 * thread that waited longest counts, and processes one after the other, as they wait for each other. Always 0 where the kernel does not tell.
 */
export function processorWait(...pids: readonly number[]): () => number {
  const started = [process.pid, ...pids].map((pid) => [pid, waitsOf(pid)] as const);
  return () => {
    let sum = 0;
    for (const [pid, before] of started) {
      let longest = 0;
      for (const [thread, ms] of waitsOf(pid)) longest = Math.max(longest, ms - (before.get(thread) ?? 0));
      sum += longest;
    }
    return sum;
  };
}

/** Time since this call in ms, without what the machine made this process and `pids` wait for a processor. */
export function stopwatch(...pids: readonly number[]): () => number {
  const waited = processorWait(...pids);
  const started = performance.now();
  return () => performance.now() - started - waited();
}

/** Waiting time in ms by thread; of a process that is gone nothing. */
function waitsOf(pid: number): Map<string, number> {
  const waits = new Map<string, number>();
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [, nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
      waits.set(thread, Number(nanoseconds) / 1e6);
    }
  } catch {
    // Gone meanwhile, or no such file here.
  }
  return waits;
}
