import { Command } from 'commander';
import { type AdminFlags, askAdmin, sayRefusal, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import { saying } from './saying.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** `evenkeel reload [-c FILE]`: has the running process read its document again. Prints what it refuses as `check` does. */
export function reloadCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withAdmin(new Command('reload'))
    .description('have the running process read its document again')
    .action(async (flags: AdminFlags) => end(await saying(terminal, () => reload(flags, terminal))));
}

async function reload(flags: AdminFlags, terminal: Terminal): Promise<ExitStatus> {
  const answer = await askAdmin(flags, terminal, 'POST', '/api/v1/reload');
  const { status, body } = answer;
  if (status === 200) {
    const what = body.changed ? 'reloaded' : 'reloaded; nothing had changed';
    terminal.out(`${what}: version ${body.version}, number ${body.number}\n`);
    return Exit.DONE;
  }
  return sayRefusal(terminal, answer);
}
