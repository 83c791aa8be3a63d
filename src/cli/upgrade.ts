import { Command } from 'commander';
import { type AdminFlags, askAdmin, sayRefusal, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import { saying } from './saying.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** `evenkeel upgrade [-c FILE]`: has the running process start the program anew and hand everything over to it. Waits until that serves or has failed. */
export function upgradeCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withAdmin(new Command('upgrade'))
    .description('put a new process, of the program as it is installed now, in place of the running one')
    .action(async (flags: AdminFlags) => end(await saying(terminal, () => upgrade(flags, terminal))));
}

async function upgrade(flags: AdminFlags, terminal: Terminal): Promise<ExitStatus> {
  const answer = await askAdmin(flags, terminal, 'POST', '/api/v1/upgrade');
  const { status, body } = answer;
  if (status === 200) {
    terminal.out(`upgraded: process ${body.pid} serves\n`);
    return Exit.DONE;
  }
  return sayRefusal(terminal, answer);
}
