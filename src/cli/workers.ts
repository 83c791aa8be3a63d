import { Command } from 'commander';
import { type AdminFlags, askAdmin, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import { saying } from './saying.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** `evenkeel workers restart [-c FILE]`: fresh threads for the running process, one after the other; no connection is lost. */
export function workersCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  const restart = withAdmin(new Command('restart'))
    .description('put a fresh thread in place of each worker, without losing a connection')
    .action(async (flags: AdminFlags) => end(await saying(terminal, () => restartWorkers(flags, terminal))));
  return new Command('workers').description('act on the worker threads of the running process').addCommand(restart);
}

async function restartWorkers(flags: AdminFlags, terminal: Terminal): Promise<ExitStatus> {
  const { status, body } = await askAdmin(flags, terminal, 'POST', '/api/v1/workers/restart');
  if (status === 200) {
    terminal.out(`restarted ${body.restarted.length} workers\n`);
    return Exit.DONE;
  }
  const before = body.error?.restarted?.length ?? 0;
  terminal.error(`evenkeel: restarted ${before} workers, then: ${body.error?.message}\n`);
  return Exit.FAILED;
}
