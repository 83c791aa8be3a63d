import { Command, InvalidArgumentError } from 'commander';
import { type AdminFlags, askAdmin, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import { saying } from './saying.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

interface EndpointFlags extends AdminFlags {
  readonly weight?: number;
}

const STATES = [
  ['drain', 'give it no new work; what runs may finish'],
  ['ready', 'give it work again'],
  ['maintenance', 'give it no new work, for somebody works on it'],
] as const;

/** `evenkeel endpoint drain|ready|maintenance POOL ID [--weight N]`: what an operator says of an endpoint of the running process. */
export function endpointCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  const command = new Command('endpoint').description('take an endpoint of the running process out, or back');
  for (const [state, description] of STATES)
    command.addCommand(
      withAdmin(new Command(state))
        .description(description)
        .argument('<pool>', 'name of its pool')
        .argument('<endpoint>', 'its address:port')
        .option('--weight <number>', 'its weight from now on, 0 to 65535', weight)
        .action(async (pool: string, endpoint: string, flags: EndpointFlags) =>
          end(await saying(terminal, () => change(terminal, pool, endpoint, state, flags))),
        ),
    );
  return command;
}

function weight(text: string): number {
  const number = Number(text);
  if (text === '' || !(number >= 0 && number <= 65_535))
    throw new InvalidArgumentError('write a number from 0 to 65535.');
  return number;
}

async function change(
  terminal: Terminal,
  pool: string,
  endpoint: string,
  state: string,
  flags: EndpointFlags,
): Promise<ExitStatus> {
  const path = `/api/v1/pools/${encodeURIComponent(pool)}/endpoints/${encodeURIComponent(endpoint)}`;
  const { status, body } = await askAdmin(flags, terminal, 'PATCH', path, { state, weight: flags.weight });
  if (status !== 200) {
    terminal.error(`evenkeel: ${body.error?.message}\n`);
    return Exit.FAILED;
  }
  terminal.out(`${pool} ${body.id}: ${body.state}, weight ${body.weight}, ${body.active} in flight\n`);
  return Exit.DONE;
}
