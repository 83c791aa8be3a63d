import { Command } from 'commander';
import { ConfigError, OperationError } from '../base/errors.ts';
import { type AdminFlags, askAdmin, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** `evenkeel upgrade [-c FILE]`: has the running process start the program anew and hand everything over to it. Waits until that serves or has failed. */
export function upgradeCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withAdmin(new Command('upgrade'))
    .description('put a new process, of the program as it is installed now, in place of the running one')
    .action(async (flags: AdminFlags) => end(await upgrade(flags, terminal)));
}

async function upgrade(flags: AdminFlags, terminal: Terminal): Promise<ExitStatus> {
  try {
    const { status, body } = await askAdmin(flags, terminal, 'POST', '/api/v1/upgrade');
    if (status === 200) {
      terminal.out(`upgraded: process ${body.pid} serves\n`);
      return Exit.DONE;
    }
    const problems: { text: string }[] = body.error?.problems ?? [];
    const lines = problems.length > 0 ? problems.map(({ text }) => text) : [`evenkeel: ${body.error?.message}`];
    terminal.error(`${lines.join('\n')}\n`);
    return status === 422 ? Exit.CONFIG : Exit.FAILED;
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof OperationError)) throw error;
    terminal.error(error instanceof ConfigError ? `${error.message}\n` : `evenkeel: ${error.message}\n`);
    return error instanceof ConfigError ? Exit.CONFIG : Exit.FAILED;
  }
}
