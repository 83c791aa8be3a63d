import { setTimeout as sleep } from 'node:timers/promises';
import { Core, openFilesLimit } from './machine.ts';
import { residentKib } from './process-tree.ts';
import { Running } from './running.ts';

/** Descriptors a proxy needs besides those of its clients, of which it may count on half of what is allowed. */
const SPARE_FILES = 500;
/** After the last of the idle connections, so that what was built to open them is given back. */
const SETTLE_MS = 3000;

/** What a warm proxy that nobody uses takes for `wanted` connections (or as many as this machine allows) that asked once for `path` and stay open. */
export async function idleMemory(
  { port, pids }: { readonly port: number; readonly pids: readonly number[] },
  wanted: number,
  path: string,
): Promise<{ readonly rssMib: number; readonly idleKib: number }> {
  await sleep(SETTLE_MS);
  const before = residentKib(pids);
  const program = new URL('./load/idle-clients.ts', import.meta.url).pathname;
  const count = Math.min(wanted, Math.floor(openFilesLimit() / 2) - SPARE_FILES);
  const words = [port, count, path].map(String);
  await using clients = Running.start(Core.LOAD, [process.execPath, program, ...words]);
  await clients.printed(new RegExp(`open ${count}`));
  await sleep(SETTLE_MS);
  const after = residentKib(pids);
  return { rssMib: after / 1024, idleKib: (after - before) / count };
}
