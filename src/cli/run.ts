import { Command } from 'commander';
import { documentFile, withDocumentFile } from './document-file.ts';
import type { ExitStatus, Terminal } from './terminal.ts';
import { programVersion } from './version.ts';

/** `evenkeel run [-c FILE]`: serves until SIGTERM. */
export function runCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withDocumentFile(new Command('run'))
    .description('serve what a document says; SIGTERM drains, SIGHUP reloads')
    .action(async (options) => {
      const { runProxy } = await import('../app/run.ts');
      const file = documentFile(options, terminal);
      end(await runProxy({ file, environment: terminal.environment, version: programVersion() }));
    });
}
