import { Command } from 'commander';
import type { ExitStatus } from './terminal.ts';

/** `evenkeel demo`: registry, sample endpoints, proxy and dashboard on loopback; Ctrl-C ends it all. */
export function demoCommand(end: (status: ExitStatus) => void): Command {
  return new Command('demo')
    .description('run a registry, sample endpoints and a proxy before them, on loopback')
    .action(async () => {
      const { runDemo } = await import('../app/demo.ts');
      end(await runDemo());
    });
}
