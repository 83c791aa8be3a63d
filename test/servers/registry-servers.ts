import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '../helpers/temporary-directory.ts';
import { type Consul, startConsul } from './consul.ts';

/** A server that speaks Consul's API, run for one test: the real one or ours, each in a process of its own. */
export interface RegistryServerUnderTest extends AsyncDisposable {
  /** The same through every restart. */
  readonly address: string;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Comes back on the same port, with what it knew or without anything. */
  comeBack(how: 'with its data' | 'empty'): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
}

/** Real Consul, as one server with a data directory. */
export async function realConsul(hcl: readonly string[] = []): Promise<RegistryServerUnderTest> {
  const directory = await temporaryDirectory('consul-data');
  let life = 0;
  const start = (ports?: Consul['ports']) =>
    startConsul({ dataDir: join(directory.path, String(life)), ...(ports === undefined ? {} : { ports }), hcl });
  let consul = await start();
  return {
    address: consul.address,
    kill: () => consul.kill('SIGKILL'),
    async comeBack(how) {
      if (how === 'empty') life++;
      const { ports } = consul;
      await consul.stop();
      consul = await start(ports);
    },
    freeze: () => void consul.kill('SIGSTOP'),
    thaw: () => void consul.kill('SIGCONT'),
    async [Symbol.asyncDispose]() {
      await consul.stop();
      await directory.close();
    },
  };
}

/** Our own registry server, by the entry beside this file. */
export async function embeddedServer(): Promise<RegistryServerUnderTest> {
  const directory = await temporaryDirectory('registry-data');
  let life = 0;
  let child = await startEmbedded(directory, life, 0);
  const { port } = child;
  return {
    address: `http://127.0.0.1:${port}`,
    kill: () => end(child.process, 'SIGKILL'),
    async comeBack(how) {
      if (how === 'empty') life++;
      await end(child.process, 'SIGKILL');
      child = await startEmbedded(directory, life, port);
    },
    freeze: () => void child.process.kill('SIGSTOP'),
    thaw: () => void child.process.kill('SIGCONT'),
    async [Symbol.asyncDispose]() {
      await end(child.process, 'SIGKILL');
      await directory.close();
    },
  };
}

async function startEmbedded(
  directory: TemporaryDirectory,
  life: number,
  port: number,
): Promise<{ process: ChildProcess; port: number }> {
  const entry = join(import.meta.dirname, 'embedded-entry.ts');
  const child = spawn(process.execPath, [entry, `127.0.0.1:${port}`, join(directory.path, String(life))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  child.once('exit', () => process.removeListener('exit', killAtExit));
  const line = await Promise.race([
    once(child.stdout!, 'data').then(([chunk]) => String(chunk)),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`the registry server ended with ${code}`))),
  ]);
  return { process: child, port: Number(line.trim()) };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
