import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Core, pinned } from '../rig/machine.ts';
import type { EndpointCommand, EndpointReport } from './behaviour.ts';

/** The endpoints of a scenario, in a process of their own. */
export class Endpoints implements AsyncDisposable {
  readonly addresses: readonly string[];
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, addresses: readonly string[]) {
    this.#child = child;
    this.#lines = lines;
    this.addresses = addresses;
  }

  /** `prefix` is the command that puts it where it is to run. */
  static async start(count: number, host: string, seed: number, prefix: readonly string[] = []): Promise<Endpoints> {
    const program = new URL('./endpoint-program.ts', import.meta.url).pathname;
    const words = [process.execPath, program, ...[count, host, seed].map(String)];
    const [command, ...rest] = [...prefix, ...pinned(Core.LOAD, words)];
    const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    const ports: number[] = JSON.parse(String(value).replace(/^ports /, ''));
    return new Endpoints(
      child,
      lines,
      ports.map((port) => `${host}:${port}`),
    );
  }

  /** Resolves when it is done. */
  async tell(command: EndpointCommand): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the endpoints have ended');
    return JSON.parse(value.replace(/^done /, ''));
  }

  async report(): Promise<EndpointReport> {
    return (await this.tell({ act: 'report' })) as EndpointReport;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin?.end();
    await ended;
  }
}
