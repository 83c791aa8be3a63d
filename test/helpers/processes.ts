import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { eventually } from './eventually.ts';

export interface ProcessOptions {
  readonly cwd?: string;
  /** Added to this process's environment; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Opens a channel for `send`. */
  readonly ipc?: boolean;
  /** `startProcess` resolves when this is found in stdout or stderr; without it, as soon as the process runs. */
  readonly ready?: string | RegExp;
  /** For `ready`, and for the whole run of `runProcess`. */
  readonly timeoutMs?: number;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A program a test started, in a process group of its own. */
export interface RunningProcess extends AsyncDisposable {
  readonly pid: number;
  /** Everything written so far. */
  readonly stdout: string;
  readonly stderr: string;
  readonly exited: Promise<ProcessExit>;
  /** Resolves with the match once `pattern` is in stdout or stderr; rejects when the process ends first or time is up. */
  waitFor(pattern: string | RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Sends a message over the channel that `ipc` opened. */
  send(message: object): void;
  /** Stops reading what it writes to stdout, as a reader that ended. */
  closeStdout(): void;
  /** Sends a signal to the process alone; says whether it was still there. */
  kill(signal?: NodeJS.Signals): boolean;
  /** SIGTERM, after `graceMs` SIGKILL, to the whole group; resolves when the process is gone. Harmless when it is already. */
  stop(graceMs?: number): Promise<ProcessExit>;
}

/** What was started and is not known to be gone, with its command line. */
const live = new Map<ChildProcess, string>();
let hooked = false;

/** Ends what tests of this file started and did not stop, and names it. The setup file calls it after each test file. */
export function endStrayProcesses(): string[] {
  const strays: string[] = [];
  for (const [child, title] of live) if (signalGroup(child, 'SIGKILL')) strays.push(title);
  return strays;
}

/** Starts a program and, if asked, waits for its ready line. Its stdin is closed. Who starts it stops it (or uses `await using`). */
export async function startProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<RunningProcess> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: environment(options.env),
    stdio: options.ipc === true ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const title = [command, ...args].join(' ');
  keepTrackOf(child, title);
  const output = { stdout: '', stderr: '' };
  collect(child, 'stdout', output);
  collect(child, 'stderr', output);
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  await new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  const running = handleOf(child, output, exited, title);
  if (options.ready !== undefined) {
    try {
      await running.waitFor(options.ready, options.timeoutMs);
    } catch (error) {
      await running.stop(0);
      throw error;
    }
  }
  return running;
}

/** Runs a program to its end and returns what it wrote; a status other than 0 is not an error. Past `timeoutMs` it is killed. */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: Omit<ProcessOptions, 'ready'> = {},
): Promise<ProcessExit & { readonly stdout: string; readonly stderr: string }> {
  const running = await startProcess(command, args, { ...options, ready: undefined });
  const timeoutMs = options.timeoutMs ?? 60_000;
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    void running.stop(0);
  }, timeoutMs);
  const exit = await running.exited;
  clearTimeout(timer);
  const { stdout, stderr } = running;
  if (timedOut) {
    throw new Error(`${command} ${args.join(' ')} did not end within ${timeoutMs} ms\n${stdout}${stderr}`);
  }
  return { ...exit, stdout, stderr };
}

/** Whether no process has this number. */
export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

/** The absolute path of a program on PATH (or in `extra` folders); null when there is none. */
export function findProgram(name: string, extra: readonly string[] = []): string | null {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...extra]) {
    const path = join(folder, name);
    if (isAbsolute(path) && existsSync(path) && isExecutable(path)) return path;
  }
  return null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function environment(changes: ProcessOptions['env'] = {}): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, ...changes };
  for (const name of Object.keys(changes)) if (changes[name] === undefined) delete env[name];
  return env;
}

function collect(child: ChildProcess, name: 'stdout' | 'stderr', output: Record<'stdout' | 'stderr', string>): void {
  child[name]?.setEncoding('utf8').on('data', (text: string) => {
    output[name] += text;
  });
}

function handleOf(
  child: ChildProcess,
  output: { stdout: string; stderr: string },
  exited: Promise<ProcessExit>,
  title: string,
): RunningProcess {
  const isGone = () => child.exitCode !== null || child.signalCode !== null;
  let isAllRead = false;
  void exited.then(() => {
    isAllRead = true;
  });
  const stop = async (graceMs = 5_000) => {
    // The group goes even when its leader has gone: a leader that died leaves its children to init.
    signalGroup(child, isGone() || graceMs === 0 ? 'SIGKILL' : 'SIGTERM');
    const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), graceMs);
    const exit = await exited;
    clearTimeout(timer);
    signalGroup(child, 'SIGKILL');
    return exit;
  };
  return {
    pid: child.pid as number,
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    exited,
    async waitFor(pattern, timeoutMs = 20_000) {
      const expression = typeof pattern === 'string' ? new RegExp(escapeForRegExp(pattern)) : pattern;
      const find = () => expression.exec(output.stdout) ?? expression.exec(output.stderr);
      const found = await eventually(() => find() ?? isAllRead, { timeoutMs }).catch(() => null);
      const match = find();
      if (match !== null) return match;
      const why = found === null ? `did not print ${expression} within ${timeoutMs} ms` : `ended before ${expression}`;
      throw new Error(`${title} ${why}\n--- stdout\n${output.stdout}\n--- stderr\n${output.stderr}`);
    },
    send: (message) => void child.send(message),
    closeStdout: () => void child.stdout?.destroy(),
    kill: (signal = 'SIGTERM') => child.kill(signal),
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

function keepTrackOf(child: ChildProcess, title: string): void {
  live.set(child, title);
  // Forgets it when it left no one behind: its number may soon be another program's.
  child.once('exit', () => signalGroup(child, 0));
  if (hooked) return;
  hooked = true;
  // Where no setup file ends strays: in a script of its own.
  process.on('exit', endStrayProcesses);
}

/** Whether there was anyone to take the signal; who has no one left is forgotten. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  if (!live.has(child)) return false;
  try {
    if (child.pid !== undefined) return process.kill(-child.pid, signal);
  } catch {
    // Empty already.
  }
  live.delete(child);
  return false;
}

function escapeForRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
