import { Command, CommanderError } from 'commander';
import { checkCommand } from './check.ts';
import { configCommand } from './config.ts';
import { demoCommand } from './demo.ts';
import { endpointCommand } from './endpoint.ts';
import { Exit } from './exit.ts';
import { explainCommand } from './explain.ts';
import { listCommand } from './list.ts';
import { registryCommand } from './registry.ts';
import { reloadCommand } from './reload.ts';
import { runCommand } from './run.ts';
import { schemaCommand } from './schema.ts';
import type { ExitStatus, Terminal } from './terminal.ts';
import { topCommand } from './top.ts';
import { upgradeCommand } from './upgrade.ts';
import { programVersion } from './version.ts';
import { workersCommand } from './workers.ts';

/** Runs one command line (without the program's name) to its end and returns the exit status. Never ends the process itself. */
export async function runCommandLine(argv: readonly string[], terminal: Terminal): Promise<ExitStatus> {
  let status: ExitStatus = Exit.DONE;
  const end = (ended: ExitStatus) => {
    status = ended;
  };
  const program = new Command('evenkeel')
    .description('an L4/L7 load-balancing reverse proxy that finds its endpoints in your service registry')
    .version(programVersion(), '-V, --version');
  const commands = [
    runCommand(terminal, end),
    checkCommand(terminal, end),
    reloadCommand(terminal, end),
    upgradeCommand(terminal, end),
    demoCommand(end),
    registryCommand(terminal, end),
    workersCommand(terminal, end),
    configCommand(terminal, end),
    endpointCommand(terminal, end),
    explainCommand(terminal, end),
    topCommand(terminal, end),
    listCommand(terminal, end),
    schemaCommand(terminal, end),
  ];
  for (const command of commands) program.addCommand(command);
  // Settings are not inherited by commands that were made on their own.
  for (const command of [program, ...commands, ...commands.flatMap((one) => one.commands)]) {
    command
      .exitOverride()
      .showHelpAfterError('(evenkeel --help shows the commands)')
      .configureOutput({
        writeOut: (text) => terminal.out(text),
        writeErr: (text) => terminal.error(text),
      });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.DONE : Exit.USAGE;
    terminal.error(`evenkeel: ${error instanceof Error ? error.stack : String(error)}\n`);
    return Exit.FAILED;
  }
}
