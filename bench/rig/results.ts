import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeMachine } from './machine.ts';

const RESULTS = new URL('../results/', import.meta.url).pathname;

/** What a run found. */
export interface Results {
  /** The npm script that ran. */
  readonly script: string;
  /** The machine before the first case. */
  readonly before: ReturnType<typeof describeMachine>;
  readonly versions: Readonly<Record<string, string>>;
  readonly cases: readonly object[];
}

/** Writes bench/results/NAME.json, and NAME.svg as `draw` makes it of the lines that say where and how it was measured. */
export async function storeResults(
  name: string,
  { script, before, versions, cases }: Results,
  draw: (notes: readonly string[]) => string,
): Promise<void> {
  const command = `npm run ${script}${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(' ')}` : ''}`;
  const after = describeMachine().loadAverage;
  const machine = { ...before, loadAverageAfter: after };
  const document = { command, date: new Date().toISOString().slice(0, 10), machine, versions, cases };
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, `${name}.json`), `${JSON.stringify(document, null, 2)}\n`);
  const notes = [
    `${before.cpu}, Linux ${before.kernel}, Node ${before.node}, load average ${before.loadAverage[0]} to ${after[0]}`,
    command,
  ];
  await writeFile(join(RESULTS, `${name}.svg`), draw(notes));
  console.log(`\nbench/results/${name}.json and .svg; load average ${before.loadAverage[0]} before, ${after[0]} after`);
}
