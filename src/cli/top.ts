import { Command, InvalidArgumentError } from 'commander';
import { type AdminFlags, askAdmin, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import { saying } from './saying.ts';
import { table } from './table.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

interface TopFlags extends AdminFlags {
  readonly interval: number;
  readonly count?: number;
}

const HOME = '\x1b[H';
const REST_OF_LINE = '\x1b[K';
const REST_OF_SCREEN = '\x1b[J';

/** `evenkeel top`: the running process, live. On a terminal the screen is drawn over; elsewhere the lines follow each other. */
export function topCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return withAdmin(new Command('top'))
    .description('show the running process, live')
    .option('--interval <seconds>', 'between two looks', seconds, 1)
    .option('--count <number>', 'looks until it ends; default: until Ctrl-C', count)
    .action(async (flags: TopFlags) => end(await saying(terminal, () => show(terminal, flags))));
}

function seconds(text: string): number {
  const number = Number(text);
  if (!(number >= 0.1 && number <= 3600)) throw new InvalidArgumentError('write seconds, 0.1 to 3600.');
  return number;
}

function count(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('write a whole number from 1 on.');
  return number;
}

async function show(terminal: Terminal, flags: TopFlags): Promise<ExitStatus> {
  for (let look = 1; ; look++) {
    const { status, body } = await askAdmin(flags, terminal, 'GET', '/api/v1/overview');
    if (status !== 200) {
      terminal.error(`evenkeel: ${body.error?.message}\n`);
      return Exit.FAILED;
    }
    const size = terminal.size?.() ?? null;
    terminal.out(size === null ? linesOf(body).join('') : screenOf(linesOf(body), size));
    if (look === flags.count) return Exit.DONE;
    await new Promise((resolve) => setTimeout(resolve, flags.interval * 1000));
  }
}

/** As much as fits, drawn over what was there. */
function screenOf(lines: readonly string[], { columns, rows }: { columns: number; rows: number }): string {
  const left = lines.length - (rows - 1);
  const shown = left > 0 ? [...lines.slice(0, rows - 2), `… ${left + 1} more lines\n`] : lines;
  const drawn = shown.map((line) => `${line.slice(0, -1).slice(0, columns)}${REST_OF_LINE}\n`);
  return `${HOME}${drawn.join('')}${REST_OF_SCREEN}`;
}

// biome-ignore lint/suspicious/noExplicitAny: the answer of the admin API
function linesOf({ ready, reason, uptimeMs, config, workers, pools }: any): string[] {
  const state = ready ? 'ready' : reason;
  const lag = Math.max(0, ...workers.map(({ lagMs }: { lagMs: number }) => lagMs));
  const head = `evenkeel ${state}, up ${Math.round(uptimeMs / 1000)} s, document ${config.number}, ${workers.length} workers, lag ${Math.round(lag)} ms\n`;
  return [head, ...pools.flatMap(poolLines)];
}

// biome-ignore lint/suspicious/noExplicitAny: the answer of the admin API
function poolLines(pool: any): string[] {
  const { recent, ejection } = pool;
  const notes = [pool.panic ? 'PANIC' : '', ejection?.note ?? ''].filter((note) => note !== '');
  const head = `\n${pool.name} (${pool.scheduler})  ${rate(recent.requestsPerSecond)}/s  p50 ${ms(recent.p50)}  p99 ${ms(recent.p99)}  ${pool.available}/${pool.size} up  ${pool.pending} waiting  ${notes.join('  ')}`;
  // biome-ignore lint/suspicious/noExplicitAny: the answer of the admin API
  const rows = pool.endpoints.map((one: any) => [
    `  ${one.id}`,
    `${rate(one.recent.requestsPerSecond)}/s`,
    `${Math.round(one.recent.share * 100)} %`,
    `${rate(one.recent.failuresPerSecond)}`,
    String(one.active),
    ms(one.recent.p50),
    ms(one.recent.p99),
    one.available ? 'up' : `${one.down.join(' ')} ${one.downReason ?? ''}`.trim(),
  ]);
  const header = ['  endpoint', 'requests', 'share', 'failures/s', 'in flight', 'p50', 'p99', 'state'];
  const lines = table(header, rows).split('\n').slice(0, -1);
  const hidden = pool.size - pool.endpoints.length;
  return [...`${head.trimEnd()}`.split('\n'), ...lines, ...(hidden > 0 ? [`  and ${hidden} more`] : [])].map(
    (line) => `${line}\n`,
  );
}

function rate(perSecond: number): string {
  return perSecond >= 100 ? String(Math.round(perSecond)) : String(Math.round(perSecond * 10) / 10);
}

function ms(value: number | null): string {
  return value === null ? '-' : `${Math.round(value * 10) / 10} ms`;
}
