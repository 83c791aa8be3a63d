import { Command, InvalidArgumentError } from 'commander';
import { systemClock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { formatHostPort, parseHostPort } from '../base/literals.ts';
import { systemRandom } from '../base/random.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

interface RegistryFlags {
  readonly bind: string;
  /** False for `--no-data`. */
  readonly data: string | false;
  readonly checkTarget: readonly string[];
}

/** `evenkeel registry`: the embedded registry alone, until SIGTERM or SIGINT. */
export function registryCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return new Command('registry')
    .description('run the embedded registry alone')
    .option('--bind <host:port>', 'where it listens; it knows no passwords', address, '127.0.0.1:8501')
    .option('--data <directory>', 'what is registered is kept here over restarts', './data')
    .option('--no-data', 'keep it in memory only')
    .option('--check-target <network>', 'where checks may go besides their registrant; may be repeated', append, [])
    .action(async (flags: RegistryFlags) => end(await serveRegistry(flags, terminal)));
}

function address(text: string): string {
  if (parseHostPort(text) === null) throw new InvalidArgumentError('write it as 127.0.0.1:8501 or [::1]:8501.');
  return text;
}

function append(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

async function serveRegistry(flags: RegistryFlags, terminal: Terminal): Promise<ExitStatus> {
  const [{ RegistryServer }, { createLog }, { logOptions }] = await Promise.all([
    import('../discovery/embedded/server.ts'),
    import('../telemetry/log.ts'),
    import('../telemetry/options.ts'),
  ]);
  const { log, flushSync } = await createLog(logOptions.parse({}));
  const server = new RegistryServer(
    { bind: flags.bind, data: flags.data === false ? null : flags.data, checkTargets: flags.checkTarget },
    {
      clock: systemClock,
      random: systemRandom,
      log: (level, message, fields) => log[level](fields ?? {}, message),
    },
  );
  using told = endSignal();
  try {
    await server.start();
    terminal.out(`evenkeel registry is ready: http://${formatHostPort(server.address.host, server.address.port)}\n`);
    await told.promise;
    return Exit.DONE;
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    terminal.error(`evenkeel: ${error.message}\n`);
    return Exit.FAILED;
  } finally {
    await server.close();
    flushSync();
  }
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process as the system does. */
function endSignal(): { promise: Promise<void> } & Disposable {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onEnd = () => resolve();
  process.once('SIGTERM', onEnd);
  process.once('SIGINT', onEnd);
  return {
    promise,
    [Symbol.dispose]() {
      process.off('SIGTERM', onEnd);
      process.off('SIGINT', onEnd);
    },
  };
}
