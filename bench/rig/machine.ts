import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { availableParallelism, cpus, getPriority, loadavg, release, setPriority, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';

/** Where proxies run and where load and origins run; ANY is wherever there is room. */
export const Core = { PROXY: 0, LOAD: 1, ANY: -1 } as const;
export type Core = (typeof Core)[keyof typeof Core];

/** Nice values: well before the usual 0, and before what shares a core with it. */
const AHEAD = -15;
export const FOREMOST = -20;

/** The path of a program, or null. The usual places of services are looked at as well: they are not in every user's PATH. */
export function findProgram(name: string): string | null {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin']) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next one.
    }
  }
  return null;
}

const taskset = availableParallelism() >= 2 ? findProgram('taskset') : null;

/** The command that runs `command` on one core; `command` itself where that cannot be. */
export function pinned(core: Core, command: readonly string[]): string[] {
  return taskset === null || core === Core.ANY ? [...command] : [taskset, '-c', String(core), ...command];
}

/** Where a proxy of so many workers runs. */
export function coreFor(workers: number): Core {
  return workers > 1 ? Core.ANY : Core.PROXY;
}

/**
 * Puts this process and all that it starts before everything else on the machine, where that is allowed (root): load that is sent late, because another
 * program had the core, would be measured as latency of the proxy. What it starts is equal to it; who sends load may ask for more than its endpoints have.
 */
export function goFirst(priority = AHEAD): void {
  try {
    setPriority(priority);
  } catch {
    // As one of many, then: the priority is told with the results.
  }
}

/** What a reader must know of the machine to judge figures; nothing that names it. */
export function describeMachine() {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    pinned: taskset !== null,
    priority: getPriority(),
    loadAverage: loadavg().map((load) => Math.round(load * 10) / 10),
  };
}

/** Descriptors a process started here may have open. */
export function openFilesLimit(): number {
  const limit = /Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
}

/** First version number that a program prints when asked with `flag`. */
export function versionOf(program: string, flag: string): string {
  const { stdout, stderr } = spawnSync(program, [flag], { encoding: 'utf8' });
  return /\d+\.\d+(\.\d+)?/.exec(`${stdout}${stderr}`)?.[0] ?? 'unknown';
}
