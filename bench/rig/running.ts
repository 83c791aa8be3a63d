import { type ChildProcess, spawn } from 'node:child_process';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Core, pinned } from './machine.ts';

const START_LIMIT_MS = 15_000;
const STOP_LIMIT_MS = 5_000;
/** Kept of what a program printed, for the message when it fails. */
const OUTPUT_KEPT = 4_000;

/** A program that was started for a comparison and serves on a port of loopback. */
export class Running implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  #output = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid as number;
    child.on('error', (error) => this.#keep(error.message));
    child.stdout?.on('data', (text: Buffer) => this.#keep(text.toString()));
    child.stderr?.on('data', (text: Buffer) => this.#keep(text.toString()));
  }

  /** Starts a command on a core. `environment` is added to our own. */
  static start(core: Core, command: readonly string[], environment: Readonly<Record<string, string>> = {}): Running {
    const [program, ...rest] = pinned(core, command);
    const child = spawn(program, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    return new Running(child);
  }

  #keep(text: string): void {
    this.#output = (this.#output + text).slice(-OUTPUT_KEPT);
  }

  /** Resolves when its output matches; rejects with the output when it ends first. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until(async () => pattern.exec(this.#output), String(pattern));
  }

  /** Resolves when it accepts connections. */
  async serves(port: number): Promise<void> {
    await this.#until(() => accepts(port), `a listener on port ${port}`);
  }

  async #until<T>(look: () => Promise<T | null>, what: string): Promise<T> {
    const deadlineMs = performance.now() + START_LIMIT_MS;
    for (;;) {
      const found = await look();
      if (found !== null && found !== false) return found;
      if (this.#child.exitCode !== null || performance.now() > deadlineMs)
        throw new Error(`${this.#child.spawnargs.join(' ')}: no ${what}\n${this.#output}`);
      await sleep(20);
    }
  }

  /** Asks it to end, waits, and ends it the hard way when it does not. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const hard = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    await ended;
    clearTimeout(hard);
  }
}

function accepts(port: number): Promise<true | null> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(null));
  });
}

/** Ports of loopback that were free a moment ago, for programs that cannot choose one themselves. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
