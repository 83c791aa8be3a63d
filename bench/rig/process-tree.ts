import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat in a second: 100 on every Linux (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** `pid` and all its descendants. */
export function processTree(pid: number): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const child = Number(name);
    if (!Number.isInteger(child)) continue;
    const parent = Number(statFields(child)?.[1]);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), child]);
  }
  const tree = [pid];
  for (const one of tree) tree.push(...(childrenOf.get(one) ?? []));
  return tree;
}

/** CPU seconds, user and system, that these processes have used so far, with those of children that ended. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = statFields(pid);
    // utime, stime, cutime, cstime are fields 14 to 17 (proc_pid_stat(5)); what is cut off here are the first two.
    if (fields !== null) for (let i = 11; i < 15; i++) ticks += Number(fields[i]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** Resident memory of these processes together, in KiB. */
export function residentKib(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) sum += Number(/VmRSS:\s+(\d+)/.exec(readProc(pid, 'status') ?? '')?.[1] ?? 0);
  return sum;
}

/** Fields of /proc/PID/stat from the third (state) on: the second, the name, may hold blanks. */
function statFields(pid: number): string[] | null {
  const text = readProc(pid, 'stat');
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return null;
  }
}
