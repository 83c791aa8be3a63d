import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Core, pinned } from '../machine.ts';

const run = promisify(execFile);

/** Runs a program of the load side to its end, at most `seconds` and some more; its standard output. */
export async function runPinned(command: readonly string[], seconds: number): Promise<string> {
  const [program, ...rest] = pinned(Core.LOAD, command);
  const { stdout } = await run(program, rest, { timeout: (seconds + 20) * 1000, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}
