import { Command } from 'commander';
import type { Explanation } from '../admin/control.ts';
import type { PoolExplanation } from '../pool/explanation.ts';
import { type AdminFlags, askAdmin, withAdmin } from './admin-client.ts';
import { Exit } from './exit.ts';
import { saying } from './saying.ts';
import { table } from './table.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

interface ExplainFlags extends AdminFlags {
  readonly header: readonly string[];
  readonly client?: string;
  readonly listener?: string;
  readonly json?: boolean;
}

/** `evenkeel explain GET URL`: where the running process would send a request and why; sends nothing. */
export function explainCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  const append = (text: string, before: readonly string[]) => [...before, text];
  return withAdmin(new Command('explain'))
    .description('say where the running process would send a request, and why; nothing is sent')
    .argument('<method>', 'as GET')
    .argument('<url>', 'as http://shop.example.com/orders/1')
    .option('--header <line>', "a header as 'name: value'; may be repeated", append, [])
    .option('--client <address>', "the client's address, for schedulers that hash on it")
    .option('--listener <name>', "default: the one on the URL's port, else the first")
    .option('--json', 'as the admin API says it')
    .action(async (method: string, url: string, flags: ExplainFlags) =>
      end(await saying(terminal, () => explain(terminal, method, url, flags))),
    );
}

async function explain(terminal: Terminal, method: string, url: string, flags: ExplainFlags): Promise<ExitStatus> {
  const query = new URLSearchParams({ method, url });
  for (const line of flags.header) query.append('header', line);
  if (flags.client !== undefined) query.set('client', flags.client);
  if (flags.listener !== undefined) query.set('listener', flags.listener);
  const { status, body } = await askAdmin(flags, terminal, 'GET', `/api/v1/explain?${query}`);
  if (status !== 200) {
    terminal.error(`evenkeel: ${body.error?.message}\n`);
    return status === 400 ? Exit.USAGE : Exit.FAILED;
  }
  terminal.out(flags.json ? `${JSON.stringify(body, null, 2)}\n` : inWords(body));
  return Exit.DONE;
}

function inWords({ request, listener, route, refusal, others, pool }: Explanation): string {
  const head = `${request.method} ${request.url} on ${listener}\n`;
  const why = lines(others.map((other) => [`  not ${other.route}:`, other.because]));
  if (route === null) return `${head}no route: the client is answered ${refusal?.status} ${refusal?.reason}\n${why}`;
  const stages = route.middleware.length > 0 ? ` through ${route.middleware.join(', ')}` : '';
  return `${head}route ${route.name}${stages}\n${why}${pool === null ? '' : poolInWords(pool)}`;
}

function poolInWords(pool: PoolExplanation): string {
  const { picked, isCertain, panic, scheduler, candidates, candidateCount, out, outCount, ejection, limits, retry } =
    pool;
  const choice =
    picked === null
      ? 'nobody: the client is answered 503'
      : isCertain
        ? picked
        : `${picked} most likely, by chance or turn`;
  const header = ['  endpoint', 'share', 'score', 'weight', 'in flight', 'latency'];
  const rows = candidates.map((one) => [
    `  ${one.endpoint}`,
    `${Math.round((one.share ?? 0) * 1000) / 10} %`,
    one.score === null ? '-' : String(one.score),
    one.effectiveWeight === one.weight ? String(one.weight) : `${one.effectiveWeight} of ${one.weight}`,
    String(one.active),
    one.latencyMs === null ? '-' : `${one.latencyMs} ms`,
  ]);
  const notes = [
    panic ? 'panic: too few endpoints are fit, so health is not believed' : null,
    ejection?.note ?? null,
    `in the queue ${limits.pending} of ${limits.pendingLimit ?? 'any number'}; per endpoint at most ${limits.active ?? 'any number'}`,
    retry === null
      ? 'no retries'
      : `retries: ${retry.attempts} a request on ${retry.on.join(', ')}; budget for ${retry.left}`,
  ];
  const left =
    outCount > 0
      ? `out, ${outCount}:\n${lines(out.map((one) => [`  ${one.endpoint}`, one.down.join(' ') || '-', one.because]))}`
      : '';
  const more = candidateCount > candidates.length ? `  and ${candidateCount - candidates.length} more\n` : '';
  return `pool ${pool.pool}, ${scheduler}: ${choice}\n${table(header, rows)}${more}${left}${notes.flatMap((note) => (note === null ? [] : [`${note}\n`])).join('')}`;
}

/** Even columns without a head. */
function lines(rows: readonly (readonly string[])[]): string {
  return rows.length === 0 ? '' : table(rows[0], rows.slice(1));
}
