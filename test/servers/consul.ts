import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { eventually } from '../helpers/eventually.ts';

const checkout = resolve(import.meta.dirname, '../..');

/** Absolute path of a Consul binary: EVENKEEL_CONSUL, what install.sh brought, then PATH. Null when there is none. */
export function findConsul(): string | null {
  const servers = resolve(checkout, process.env.EVENKEEL_SERVERS ?? 'node_modules/.cache/evenkeel-servers');
  const places = [process.env.EVENKEEL_CONSUL ?? '', join(servers, 'consul')];
  for (const folder of (process.env.PATH ?? '').split(delimiter))
    if (folder !== '') places.push(join(folder, 'consul'));
  return places.find((place) => place !== '' && isExecutable(place)) ?? null;
}

/** The ports of one agent: a server that comes back on its data directory keeps all of them. */
export interface ConsulPorts {
  readonly http: number;
  readonly server: number;
  readonly serfLan: number;
  readonly serfWan: number;
}

export interface ConsulOptions {
  /** State in memory only (the default without dataDir). */
  readonly dev?: boolean;
  /** A server that keeps its state here; give `ports` of the one before when it comes back. */
  readonly dataDir?: string;
  /** HTTP port; free by default. */
  readonly port?: number;
  readonly ports?: ConsulPorts;
  /** Node name; `n1` by default. */
  readonly node?: string;
  /** More configuration, each a fragment of HCL. */
  readonly hcl?: readonly string[];
}

/** A Consul agent of a test's own, on 127.0.0.1. Whoever starts one calls `stop`. */
export interface Consul {
  /** http://127.0.0.1:port */
  readonly address: string;
  readonly ports: ConsulPorts;
  readonly pid: number;
  /** Sends a signal; one that ends the process is waited for. SIGSTOP freezes it, SIGCONT lets it go on. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Ends it, whatever state it is in. Twice does no harm. */
  stop(): Promise<void>;
}

/** Starts Consul and resolves when it has a leader and has registered its own node. Tries other ports when one was taken meanwhile. */
export async function startConsul(options: ConsulOptions = {}): Promise<Consul> {
  const binary = findConsul();
  if (binary === null) throw new Error('no consul binary; run test/servers/install.sh');
  for (let attempt = 1; ; attempt++) {
    const ports = options.ports ?? (await freePorts(options.port));
    try {
      return await startOn(binary, ports, options);
    } catch (error) {
      const taken = /address already in use/.test(String(error));
      if (!taken || options.ports !== undefined || attempt === 3) throw error;
    }
  }
}

async function startOn(binary: string, ports: ConsulPorts, options: ConsulOptions): Promise<Consul> {
  // Dev mode keeps state in memory, yet an agent writes checks and keyrings: into a directory of its own, never the current one.
  const scratch = await mkdtemp(join(tmpdir(), 'evenkeel-consul-'));
  const child = spawn(binary, agentArguments(ports, options), { cwd: scratch, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const killAtExit = () => {
    child.kill('SIGKILL');
    rmSync(scratch, { recursive: true, force: true });
  };
  process.once('exit', killAtExit);
  let log = '';
  const keep = (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-16_384);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const stop = async () => {
    process.removeListener('exit', killAtExit);
    await end(child, exited);
    await rm(scratch, { recursive: true, force: true });
  };
  const address = `http://127.0.0.1:${ports.http}`;
  try {
    await eventually(() => (child.exitCode !== null ? true : isReady(address)), { timeoutMs: 30_000, intervalMs: 25 });
    if (child.exitCode !== null) throw new Error(`consul ended with ${child.exitCode}`);
  } catch (error) {
    await stop();
    throw new Error(`consul did not start: ${String(error)}\n${log}`, { cause: error });
  }
  return {
    address,
    ports,
    pid: child.pid as number,
    stop,
    async kill(signal) {
      child.kill(signal);
      if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await exited;
    },
  };
}

function agentArguments(ports: ConsulPorts, options: ConsulOptions): string[] {
  const mode =
    options.dataDir === undefined
      ? ['-dev']
      : ['-server', '-bootstrap-expect=1', '-data-dir', options.dataDir, '-hcl=performance { raft_multiplier = 1 }'];
  return [
    'agent',
    ...mode,
    '-bind=127.0.0.1',
    '-client=127.0.0.1',
    `-node=${options.node ?? 'n1'}`,
    `-http-port=${ports.http}`,
    `-server-port=${ports.server}`,
    `-serf-lan-port=${ports.serfLan}`,
    `-serf-wan-port=${ports.serfWan}`,
    '-hcl=ports { dns = -1 grpc = -1 https = -1 }',
    '-hcl=disable_update_check = true',
    '-log-level=warn',
    ...(options.hcl ?? []).map((fragment) => `-hcl=${fragment}`),
  ];
}

async function isReady(address: string): Promise<boolean> {
  const leader = await (await fetch(`${address}/v1/status/leader`)).json();
  if (typeof leader !== 'string' || leader === '') return false;
  const checks = await (await fetch(`${address}/v1/health/state/passing`)).json();
  return Array.isArray(checks) && checks.length > 0;
}

async function end(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  const cut = setTimeout(() => child.kill('SIGKILL'), 3000);
  await exited;
  clearTimeout(cut);
}

/** Ports that were free a moment ago: all are held at once, so that no two are the same. */
async function freePorts(http: number | undefined): Promise<ConsulPorts> {
  const held = await Promise.all(Array.from({ length: 4 }, holdPort));
  await Promise.all(held.map((one) => one.release()));
  const [first, server, serfLan, serfWan] = held.map((one) => one.port);
  return { http: http ?? first, server, serfLan, serfWan };
}

function holdPort(): Promise<{ port: number; release: () => Promise<void> }> {
  return new Promise((done, failed) => {
    const server = createServer();
    server.once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      done({ port, release: () => new Promise((closed) => server.close(() => closed())) });
    });
  });
}

function isExecutable(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
