import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { evenkeel } from '../rig/evenkeel-peer.ts';
import { ratiosOf } from '../rig/figures.ts';
import { autocannon } from '../rig/load/autocannon.ts';
import { findWrk } from '../rig/load/wrk.ts';
import { describeMachine, goFirst } from '../rig/machine.ts';
import { startOrigins } from '../rig/origin.ts';
import { median, quantile } from '../rig/statistics.ts';
import { cases } from './cases.ts';
import { alternate, type Sample } from './rounds.ts';

const USAGE = `npm run bench:gate -- [REV] [--case NAME] [--rounds N] [--limit PERCENT]

Compares the CPU time per request of the work tree with that of another revision (main by default), in turns, and that revision with itself: what
the two differ is the noise of this machine. Exits 1 when a request costs more than 5 % more, or when the noise is as large as that.
`;
const DEFAULT_ROUNDS = 24;
/** Each start of a process is compiled a little differently: two of the same revision are up to 5 % apart. */
const STARTS = 4;
const DEFAULT_LIMIT = 5;
const WARM_UP_SECONDS = 10;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    case: { type: 'string', multiple: true, default: ['get-64'] },
    rounds: { type: 'string', default: String(DEFAULT_ROUNDS) },
    seconds: { type: 'string', default: '1' },
    limit: { type: 'string', default: String(DEFAULT_LIMIT) },
  },
});

const checkout = join(import.meta.dirname, '../..');
const git = (...words: string[]) => execFileSync('git', ['-C', checkout, ...words], { encoding: 'utf8' }).trim();

if (positionals.length > 1) {
  console.error(USAGE);
  process.exitCode = 2;
} else {
  await gate(positionals[0] ?? 'main');
}

async function gate(revision: string): Promise<void> {
  goFirst();
  const commit = git('rev-parse', '--verify', `${revision}^{commit}`);
  const directory = await mkdtemp(join(tmpdir(), 'evenkeel-gate-'));
  const old = join(directory, 'revision');
  try {
    git('worktree', 'add', '--detach', old, commit);
    symlinkSync(join(checkout, 'node_modules'), join(old, 'node_modules'));
    console.log(
      `work tree against ${revision} (${commit.slice(0, 9)}); load average ${describeMachine().loadAverage[0]}`,
    );
    const good = await compare(old, directory, revision);
    if (!good) process.exitCode = 1;
  } finally {
    git('worktree', 'remove', '--force', old);
    await rm(directory, { recursive: true, force: true });
  }
}

async function compare(old: string, directory: string, revision: string): Promise<boolean> {
  const own = join(directory, 'origin');
  await mkdir(own);
  const origins = await startOrigins(own);
  await using _ = origins.process;
  const all = [evenkeel('revision', { root: old }), evenkeel('work tree'), evenkeel('again', { root: old })];
  let good = true;
  for (const one of cases.filter(({ name }) => values.case.includes(name))) {
    const now: Sample[] = [];
    const before: Sample[] = [];
    const again: Sample[] = [];
    for (let start = 0; start < STARTS; start++) {
      const peers = start % 2 === 0 ? all : all.toReversed();
      const samples = await alternate(one, { ...optionsOf(origins.ports, directory), peers });
      now.push(...(samples.get('work tree') ?? []));
      before.push(...(samples.get('revision') ?? []));
      again.push(...(samples.get('again') ?? []));
    }
    good = judge(one.name, { now, before, again }, revision) && good;
  }
  return good;
}

function optionsOf(origins: readonly number[], directory: string) {
  return {
    rounds: Math.ceil(Number(values.rounds) / STARTS),
    seconds: Number(values.seconds),
    warmUpSeconds: WARM_UP_SECONDS,
    load: findWrk() ?? autocannon,
    origins,
    tls: null,
    directory,
    progress: () => {},
    leaveOut: (peer: string, reason: string) => {
      throw new Error(`${peer}: ${reason}`);
    },
  };
}

interface Turns {
  readonly now: readonly Sample[];
  readonly before: readonly Sample[];
  /** The same revision as `before`, in processes of its own. */
  readonly again: readonly Sample[];
}

function judge(name: string, { now, before, again }: Turns, revision: string): boolean {
  const limit = Number(values.limit) / 100;
  const percent = (ratio: number) => `${ratio >= 1 ? '+' : ''}${((ratio - 1) * 100).toFixed(1)} %`;
  const noise = median(ratiosOf('cpuMicros', again, before));
  const ratios = ratiosOf('cpuMicros', now, before);
  const change = median(ratios);
  const quartiles = `${percent(quantile(ratios, 0.25))} to ${percent(quantile(ratios, 0.75))}`;
  const cost = `${median(now.map(({ cpuMicros }) => cpuMicros)).toFixed(1)} µs CPU a request`;
  const isQuiet = Math.abs(noise - 1) <= limit;
  const verdict = !isQuiet ? 'TOO NOISY TO TELL' : change > 1 + limit ? 'TOO SLOW' : 'good';
  console.log(
    `${name}: ${cost}, ${percent(change)} against ${revision} (quartiles ${quartiles}), which differs from itself by ${percent(noise)}: ${verdict}`,
  );
  return verdict === 'good';
}
