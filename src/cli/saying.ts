import { ConfigError, OperationError } from '../base/errors.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** Runs what asks the admin API; says what could not be reached or is wrong with the document, and gives the status for it. */
export async function saying(terminal: Terminal, act: () => Promise<ExitStatus>): Promise<ExitStatus> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof OperationError)) throw error;
    terminal.error(error instanceof ConfigError ? `${error.message}\n` : `evenkeel: ${error.message}\n`);
    return error instanceof ConfigError ? Exit.CONFIG : Exit.FAILED;
  }
}
