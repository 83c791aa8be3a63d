import { eventually } from '../helpers/eventually.ts';
import { type RunningProcess, startProcess } from '../helpers/processes.ts';
import type { RealServer } from './taped-server.ts';

export interface StoreProgram {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly address: string;
  readonly grpcPort: number;
  readonly origin: string;
  /** Answers 200 when the server can be used. */
  readonly readyPath: string;
  /** Before each start: its state goes. */
  readonly forget: () => Promise<void>;
}

/** Runs a real server of a test's own, as a program that can be killed and started again. */
export async function startStoreProgram(program: StoreProgram): Promise<RealServer> {
  let child: RunningProcess;
  const resume = async () => {
    child = await startProcess(program.command, [...program.arguments], { env: program.env });
    await eventually(async () => (await fetch(`${program.address}${program.readyPath}`)).ok, {
      timeoutMs: 120_000,
      intervalMs: 100,
    });
  };
  const restart = async () => {
    await program.forget();
    await resume();
  };
  await restart();
  return {
    address: program.address,
    grpcPort: program.grpcPort,
    origin: program.origin,
    crash: async () => {
      child.kill('SIGKILL');
      await child.stop(1000);
    },
    restart,
    resume,
    stop: async () => void (await child.stop(5000)),
  };
}
