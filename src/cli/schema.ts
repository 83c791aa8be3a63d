import { Command } from 'commander';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** `evenkeel schema`: the JSON Schema of documents, for editors. */
export function schemaCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return new Command('schema').description('print the JSON Schema of documents, for editors').action(async () => {
    const [{ documentJsonSchema }, { catalogs }] = await Promise.all([
      import('../app/document.ts'),
      import('../app/catalogs.ts'),
    ]);
    terminal.out(`${JSON.stringify(documentJsonSchema(catalogs), null, 2)}\n`);
    end(Exit.DONE);
  });
}
