import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { isName, shown } from '../base/literals.ts';
import { documentFile, withDocumentFile } from './document-file.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';
import { programVersion } from './version.ts';

/** `evenkeel run [-c FILE]`: serves until SIGTERM. */
export function runCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withDocumentFile(new Command('run'))
    .description('serve what a document says; SIGTERM drains, SIGHUP reloads')
    .option('--name <name>', 'what this proxy is called in a config centre (default: the name of the machine)')
    .option('--state <directory>', "where the last good version of a config centre's document is kept", 'data')
    .action(async (options) => {
      const { runProxy } = await import('../app/run.ts');
      const file = documentFile(options, terminal);
      const { environment, directory } = terminal;
      const name = options.name ?? environment.EVENKEEL_NAME ?? hostname();
      if (!isName(name)) {
        terminal.error(`evenkeel: ${shown(name)} cannot be the name of a proxy; use letters, digits, _ . - (--name)\n`);
        return end(Exit.USAGE);
      }
      const state = resolve(directory, options.state);
      end(await runProxy({ file, environment, name, state, version: programVersion() }));
    });
}
