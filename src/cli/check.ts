import { Command } from 'commander';
import { ConfigError } from '../base/errors.ts';
import { documentFile, withDocumentFile } from './document-file.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** `evenkeel check [-c FILE]`: judges a document and builds what it describes, starts nothing. Every error on stderr, one a line. */
export function checkCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withDocumentFile(new Command('check'))
    .description('judge a document and start nothing')
    .action(async (options) => end(await check(documentFile(options, terminal), terminal)));
}

async function check(file: string, terminal: Terminal): Promise<ExitStatus> {
  const [{ loadDocument }, { catalogs }, { tryBuild }] = await Promise.all([
    import('../app/document.ts'),
    import('../app/catalogs.ts'),
    import('../app/try-build.ts'),
  ]);
  try {
    const loaded = await loadDocument(file, terminal.environment, catalogs);
    tryBuild(loaded);
    const { listeners, pools } = loaded.document;
    const routes = listeners.reduce((sum, listener) => sum + listener.routes.length, 0);
    const parts = [
      count(listeners.length, 'listener'),
      count(routes, 'route'),
      count(Object.keys(pools).length, 'pool'),
    ];
    terminal.out(`${loaded.file} is good: ${parts.join(', ')}; version ${loaded.version}\n`);
    return Exit.DONE;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    terminal.error(`${error.message}\n`);
    return Exit.CONFIG;
  }
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
