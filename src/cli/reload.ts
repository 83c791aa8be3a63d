import { Command } from 'commander';
import { ConfigError, OperationError } from '../base/errors.ts';
import { type AdminFlags, askAdmin, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** `evenkeel reload [-c FILE]`: has the running process read its document again. Prints what it refuses as `check` does. */
export function reloadCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withAdmin(new Command('reload'))
    .description('have the running process read its document again')
    .action(async (flags: AdminFlags) => end(await reload(flags, terminal)));
}

async function reload(flags: AdminFlags, terminal: Terminal): Promise<ExitStatus> {
  try {
    const { status, body } = await askAdmin(flags, terminal, 'POST', '/api/v1/reload');
    if (status === 200) {
      const what = body.changed ? 'reloaded' : 'reloaded; nothing had changed';
      terminal.out(`${what}: version ${body.version}, number ${body.number}\n`);
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
