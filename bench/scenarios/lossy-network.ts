import { spawnSync } from 'node:child_process';
import { findProgram } from '../rig/machine.ts';

/** Addresses for benchmarks (RFC 2544), on both ends of a cable that exists in this machine alone. */
const NEAR = '198.18.0.1';
const FAR = '198.18.0.2';

/** A network namespace behind a pair of virtual interfaces that loses packets both ways. Needs root, `ip` and `nft`. */
export class LossyNetwork implements Disposable {
  /** Where endpoints listen. */
  readonly host = FAR;
  /** The command that runs another within. */
  readonly prefix: readonly string[];
  readonly #name: string;
  /** Our end of the cable. */
  readonly #near: string;

  private constructor(name: string) {
    this.#name = name;
    this.prefix = ['ip', 'netns', 'exec', name];
    this.#near = `ek${process.pid}a`;
  }

  /** Why it cannot be, or null. */
  static missing(): string | null {
    if (process.getuid?.() !== 0) return 'not root';
    const absent = ['ip', 'nft'].find((name) => findProgram(name) === null);
    return absent === undefined ? null : `${absent} is not installed`;
  }

  static open(share: number): LossyNetwork {
    const network = new LossyNetwork(`evenkeel-${process.pid}`);
    const name = network.#name;
    const near = network.#near;
    const far = `ek${process.pid}b`;
    try {
      run(['ip', 'netns', 'add', name]);
      run(['ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', name]);
      run(['ip', 'addr', 'add', `${NEAR}/30`, 'dev', near]);
      run(['ip', 'link', 'set', near, 'up']);
      run([...network.prefix, 'ip', 'addr', 'add', `${FAR}/30`, 'dev', far]);
      run([...network.prefix, 'ip', 'link', 'set', far, 'up']);
      run([...network.prefix, 'nft', '-f', '-'], rules(share));
    } catch (error) {
      network[Symbol.dispose]();
      throw error;
    }
    return network;
  }

  /** The interfaces first: with the namespace alone they go some time later, and the next network finds their names taken. */
  [Symbol.dispose](): void {
    spawnSync('ip', ['link', 'delete', this.#near]);
    spawnSync('ip', ['netns', 'delete', this.#name]);
  }
}

function rules(share: number): string {
  const drop = `meta l4proto tcp numgen random mod 10000 < ${Math.round(share * 10_000)} drop`;
  return `table inet loss {
  chain in { type filter hook input priority 0; ${drop}; }
  chain out { type filter hook output priority 0; ${drop}; }
}
`;
}

function run([program, ...rest]: readonly string[], input = ''): void {
  const { status, stderr } = spawnSync(program, rest, { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${rest.join(' ')}: ${stderr.trim()}`);
}
