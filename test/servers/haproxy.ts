import { eventually } from '../helpers/eventually.ts';
import { freePorts } from '../helpers/ports.ts';
import { findProgram, isGone, type RunningProcess, startProcess } from '../helpers/processes.ts';
import { rawClient } from '../helpers/raw-client.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

/** A real HAProxy on 127.0.0.1, one process. */
export interface Haproxy extends AsyncDisposable {
  /** As many as were asked for. */
  readonly ports: readonly number[];
  stop(): Promise<void>;
}

/** The path of the machine's HAProxy, or null: a suite that needs it says so by name and is skipped. */
export function findHaproxy(): string | null {
  return findProgram('haproxy', ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin']);
}

/** Starts it with these sections, which are given free ports to listen on. Once more with others when somebody took one meanwhile. */
export async function startHaproxy(count: number, sections: (ports: readonly number[]) => string): Promise<Haproxy> {
  const program = findHaproxy();
  if (program === null) throw new Error('there is no haproxy on this machine');
  const directory = await temporaryDirectory('haproxy');
  const { running, ports } = await start(program, count, sections, directory.write, 3);
  const stop = async () => {
    await running.stop(2_000);
    await directory.close();
  };
  return { ports, stop, [Symbol.asyncDispose]: stop };
}

async function start(
  program: string,
  count: number,
  sections: (ports: readonly number[]) => string,
  write: (name: string, content: string) => Promise<string>,
  triesLeft: number,
): Promise<{ running: RunningProcess; ports: readonly number[] }> {
  const ports = await freePorts(count);
  const file = await write('haproxy.cfg', `${DEFAULTS}${sections(ports)}\n`);
  const running = await startProcess(program, ['-db', '-f', file]);
  try {
    // It binds all of them before it accepts on any, and says nothing of it.
    const client = await eventually(async () => (isGone(running.pid) ? 'gone' : rawClient(ports[count - 1])));
    if (client === 'gone') throw new Error(`haproxy ended: ${running.stderr}`);
    client.socket.destroy();
    return { running, ports };
  } catch (error) {
    await running.stop(0);
    if (triesLeft === 0 || !/cannot bind|in use/i.test(running.stderr)) throw error;
    return start(program, count, sections, write, triesLeft - 1);
  }
}

const DEFAULTS = `
global
  maxconn 500
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
`;
