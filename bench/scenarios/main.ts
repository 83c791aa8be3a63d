import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, goFirst } from '../rig/machine.ts';
import { progress } from '../rig/words.ts';
import { playCell } from './cell.ts';
import { chart } from './chart.ts';
import { LossyNetwork } from './lossy-network.ts';
import { METHOD, markdown, ms } from './report.ts';
import type { Scenario } from './scenario.ts';
import { makeScenarios } from './scenarios.ts';
import type { Subject } from './subject.ts';
import { subjects } from './subjects.ts';
import type { Summary } from './summary.ts';
import { misses, type WindowReport } from './verdict.ts';

const USAGE = `npm run bench:scenarios -- [options]

What clients see when an endpoint is slow, silent, failing, flapping or gone, behind nginx, HAProxy and every algorithm of evenkeel. Installs nothing.

  --quick          short windows, and of evenkeel's algorithms the default one alone: about five minutes
  --only WORDS     scenarios (or rows of the table) of these names, and subjects whose names contain one, comma between them: --only slower,response-time
  --seconds N      length of a window (default 8, quick 4)
  --tries N        how often a cell is played while the machine is busy with something else (default 3); the quietest counts

Scenarios: SCENARIOS
Subjects: SUBJECTS

Exits 1 when a target does not hold, or when the machine was too busy to tell.
`;
const WINDOW_SECONDS = 8;
const QUICK_SECONDS = 4;
const RESULTS = new URL('../results/', import.meta.url).pathname;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    seconds: { type: 'string' },
    tries: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  },
});
const windowSeconds = Number(values.seconds ?? (values.quick ? QUICK_SECONDS : WINDOW_SECONDS));
const scenarios = makeScenarios(windowSeconds * 1000);

if (values.help) console.log(usage());
else await main();

function usage(): string {
  return USAGE.replace('SCENARIOS', scenarios.map(({ name }) => name).join(', ')).replace(
    'SUBJECTS',
    subjects.map(({ name }) => name).join(', '),
  );
}

async function main(): Promise<void> {
  const chosen = choose();
  goFirst();
  const before = describeMachine();
  const folder = await mkdtemp(join(tmpdir(), 'evenkeel-scenarios-'));
  const startedMs = performance.now();
  try {
    const reports = await play(chosen, folder);
    await store(reports, before, (performance.now() - startedMs) / 60_000);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Choice {
  readonly scenarios: readonly Scenario[];
  readonly subjects: readonly Subject[];
  readonly skipped: readonly string[];
}

/** Words of `--only` that name no subject leave all subjects in, and so with scenarios. */
function choose(): Choice {
  const words = values.only?.split(',') ?? [];
  const orAll = <T>(found: readonly T[], all: readonly T[]) => (found.length === 0 ? all : found);
  const isNamed = (name: string) => words.some((word) => ` ${name} `.includes(word));
  const scenariosNamed = scenarios.filter((one) => [one, ...one.windows].some(({ name }) => words.includes(name)));
  const subjectsNamed = subjects.filter(({ name }) => isNamed(name));
  const wanted = orAll(subjectsNamed, subjects).filter(
    (subject) => !values.quick || words.length > 0 || isQuick(subject),
  );
  const skipped = wanted.flatMap((subject) => {
    const reason = subject.missing();
    return reason === null ? [] : [`${subject.name}: ${reason}`];
  });
  return {
    scenarios: orAll(scenariosNamed, scenarios),
    subjects: wanted.filter((subject) => subject.missing() === null),
    skipped,
  };
}

function isQuick({ proxy, judged }: Subject): boolean {
  return proxy !== 'evenkeel' || judged !== null;
}

/** Scenario by scenario; who begins changes each time. */
async function play(chosen: Choice, folder: string): Promise<WindowReport[]> {
  const reports: WindowReport[] = [];
  for (const [round, scenario] of chosen.scenarios.entries()) {
    const reason = scenario.packetLoss > 0 ? LossyNetwork.missing() : null;
    if (reason !== null) {
      console.log(`\n${scenario.title} is left out: ${reason}`);
      continue;
    }
    console.log(`\n${scenario.name}: ${scenario.title}`);
    const played = new Map<Subject, readonly Summary[]>();
    const failed: string[] = [];
    for (let i = 0; i < chosen.subjects.length; i++) {
      const subject = chosen.subjects[(i + round) % chosen.subjects.length];
      try {
        played.set(subject, await playWell(scenario, subject, folder));
      } catch (error) {
        failed.push(`${subject.name}: ${(error as Error).message.split('\n')[0]}`);
        console.log(`  left out: ${failed.at(-1)}`);
      }
    }
    for (const [i, window] of scenario.windows.entries()) {
      const results = chosen.subjects.flatMap((subject) => {
        const summaries = played.get(subject);
        const { name, proxy, judged } = subject;
        return summaries === undefined ? [] : [{ subject: name, proxy, judged, summary: summaries[i] }];
      });
      reports.push({ window, results, skipped: [...chosen.skipped, ...failed] });
    }
  }
  return reports;
}

async function playWell(scenario: Scenario, subject: Subject, folder: string): Promise<readonly Summary[]> {
  let summaries: readonly Summary[] = [];
  for (let i = 0; i < Number(values.tries); i++) {
    progress(`${scenario.name}, ${subject.name}${i === 0 ? '' : ', again: the machine was busy'}`);
    const again = await playCell(scenario, subject, folder);
    if (i === 0 || latest(again) < latest(summaries)) summaries = again;
    if (summaries.every(({ isSound }) => isSound)) break;
  }
  progress('');
  for (const [i, summary] of summaries.entries()) console.log(line(scenario.windows[i].name, subject.name, summary));
  return summaries;
}

/** How late the load was sent where it was sent latest: the try on the quietest machine counts, whatever it measured. */
function latest(summaries: readonly Summary[]): number {
  return Math.max(...summaries.map(({ lateP99Ms }) => lateP99Ms));
}

function line(window: string, subject: string, summary: Summary): string {
  const { p50Ms, p99Ms, p999Ms, errorsBy, share, fairAgainMs, goodput, lateP99Ms, lateP999Ms } = summary;
  const figures = [p50Ms, p99Ms, p999Ms].map((value) => ms(value).padStart(7)).join('');
  const notes = [
    ...Object.entries(errorsBy).map(([word, count]) => `${count} × ${word}`),
    ...(Number.isNaN(share) ? [] : [`share ${(share * 100).toFixed(2)} %`]),
    ...(Number.isNaN(fairAgainMs) ? [] : [`fair again ${ms(fairAgainMs)}`]),
    ...(Number.isNaN(goodput) ? [] : [`goodput ${(goodput * 100).toFixed(1)} %`]),
    ...(summary.isSound ? [] : [`not sound: sent ${ms(lateP99Ms)}/${ms(lateP999Ms)} ms late`]),
  ];
  return `  ${window.padEnd(10)} ${subject.padEnd(34)}${figures}   ${notes.join(', ')}`;
}

/** What ran goes into results/, under a name of its own where it was not everything. */
async function store(
  reports: readonly WindowReport[],
  before: ReturnType<typeof describeMachine>,
  minutes: number,
): Promise<void> {
  if (reports.length === 0) return;
  const verdict = reports.flatMap((report) => report.results.flatMap((result) => misses(report, result)));
  const name = `scenarios${values.quick ? '-quick' : ''}${values.only === undefined ? '' : '-part'}`;
  const command = `npm run bench:scenarios${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(' ')}` : ''}`;
  const machine = { ...before, loadAverageAfter: describeMachine().loadAverage };
  const taking = new Set(reports.flatMap(({ results }) => results.map(({ subject }) => subject)));
  const versions = Object.fromEntries(
    subjects.filter((one) => taking.has(one.name)).map((one) => [one.proxy, one.version()]),
  );
  const date = new Date().toISOString().slice(0, 10);
  const which = Object.entries(versions).map(([proxy, version]) => `${proxy} ${version}`);
  const notes = [
    `${which.join(', ')}; windows of ${windowSeconds} s; ${date}, ${minutes.toFixed(0)} minutes`,
    `${before.cpu}, ${before.cores} cores, Linux ${before.kernel}, Node ${before.node}, load average ${before.loadAverage[0]} to ${machine.loadAverageAfter[0]}; proxy on one core, client and endpoints on the other`,
  ];
  await mkdir(RESULTS, { recursive: true });
  const document = { command, date, machine, versions, windowSeconds, verdict, windows: reports };
  await writeFile(join(RESULTS, `${name}.json`), `${JSON.stringify(document, null, 1)}\n`);
  await writeFile(join(RESULTS, `${name}.md`), markdown(reports, [...METHOD, ...notes, command], verdict));
  await writeFile(join(RESULTS, `${name}.svg`), chart(reports, notes));
  console.log(`\n${verdict.length === 0 ? 'all targets hold' : verdict.join('\n')}`);
  console.log(`\nbench/results/${name}.json, .md and .svg; ${minutes.toFixed(1)} minutes`);
  process.exitCode = verdict.length === 0 ? 0 : 1;
}
