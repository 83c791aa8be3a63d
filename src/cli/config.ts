import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { ConfigError, OperationError } from '../base/errors.ts';
import { isName, parseDuration } from '../base/literals.ts';
import { systemRandom } from '../base/random.ts';
import { openStore, stores } from '../centre/catalog.ts';
import { ConfigCentre, type Trial } from '../centre/config-centre.ts';
import { proxyState } from '../centre/proxy-state.ts';
import type { Version } from '../centre/version.ts';
import { diffSummary, diffText } from '../config/diff-text.ts';
import { Exit } from './exit.ts';
import { askByAdmin, judgeAlive, unjudgedText } from './live-judgement.ts';
import { replayText } from './replay-text.ts';
import { table } from './table.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

const ADMIN_HELP =
  'ask a living proxy (its admin API; token from EVENKEEL_TOKEN) what it makes of it: ports, registries, and the last requests it sampled';

interface CentreFlags {
  readonly config: string;
  readonly message?: string;
  readonly author?: string;
  readonly stage?: Trial['proxies'];
  readonly trial: number;
  readonly onto?: number;
  readonly dryRun?: boolean;
  readonly limit: number;
  readonly json?: boolean;
  readonly admin?: string;
  readonly force?: boolean;
}

/** `evenkeel config …`: the versions of a document in a config centre. Every command works on the store itself: no proxy has to run. */
export function configCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  const command = new Command('config').description(
    `the versions of a document in a config centre (${stores.map(({ scheme }) => `${scheme}://`).join(', ')})`,
  );
  const add = (
    usage: string,
    description: string,
    act: (centre: ConfigCentre, flags: CentreFlags, words: readonly string[]) => Promise<ExitStatus | void>,
  ) => {
    const one = withCentre(new Command(usage.split(' ')[0]));
    for (const word of usage.split(' ').slice(1)) one.argument(word);
    one.description(description).action(async (...args) => {
      const words = args.slice(0, -2).filter((word): word is string => typeof word === 'string');
      end(await onCentre(args.at(-2) as CentreFlags, terminal, (centre, flags) => act(centre, flags, words)));
    });
    command.addCommand(one);
    return one;
  };
  withPush(
    add('push <file>', 'judge a document and make it the version in force', (centre, flags, [file]) =>
      push(centre, flags, file, terminal),
    ),
  );
  add('history', 'the versions, newest first', (centre, flags) => history(centre, flags, terminal))
    .option('-n, --limit <number>', 'how many', parseCount, 20)
    .option('--json', 'as JSON, a version a line');
  add(
    'show <version>',
    'a version as it was pushed (number, beginning of its id, or head)',
    async (centre, _flags, [wanted]) => {
      terminal.out((await centre.find(wanted)).document);
    },
  );
  add('diff <from> [to]', 'what differs between two versions by meaning (to: head)', (centre, flags, [from, to]) =>
    diff(centre, flags, from, to ?? 'head', terminal),
  ).option('--admin <host:port>', ADMIN_HELP);
  withJudge(
    withAuthor(
      add('rollback <version>', 'put an earlier version in force again, as a new one', (centre, flags, [wanted]) =>
        rollback(centre, flags, wanted, terminal),
      ),
    ),
  );
  add('status', 'what each proxy runs, and why it refused what it does not run', (centre, flags) =>
    status(centre, flags, terminal),
  ).option('--json', 'as JSON, a proxy a line');
  withAuthor(
    add('withdraw', 'end the trial of a staged version', (centre, flags) => withdraw(centre, flags, terminal)),
  );
  add('watch', 'print each version as it comes in force, until Ctrl-C', (centre) => watch(centre, terminal));
  return command;
}

function withCentre(command: Command): Command {
  const examples = stores.map(({ example }) => example).join(', ');
  return command.requiredOption('-c, --config <address>', `the config centre: ${examples}`);
}

function withAuthor(command: Command): Command {
  return command
    .option('-m, --message <text>', 'why')
    .option('--author <name>', 'who (default: the user of this shell)');
}

function withJudge(command: Command): Command {
  return command
    .option('--admin <host:port>', `${ADMIN_HELP}; without it, proxies that live on the centre are asked through it`)
    .option('--force', 'go on although the proxy that was asked would refuse it');
}

function withPush(command: Command): Command {
  return withJudge(withAuthor(command))
    .option('--onto <number>', 'refuse unless this version is in force (0: none yet)', parseCount)
    .option(
      '--stage <proxies>',
      'try it first on so many proxies (1), a share of them (25%) or these (a,b)',
      parseStage,
    )
    .option('--trial <duration>', 'how long each of those has to find it good', parseTrial, 30_000)
    .option('--dry-run', 'judge it and say what would change; change nothing');
}

async function onCentre(
  flags: CentreFlags,
  { environment, error }: Terminal,
  act: (centre: ConfigCentre, flags: CentreFlags) => Promise<ExitStatus | void>,
): Promise<ExitStatus> {
  let centre: ConfigCentre | null = null;
  try {
    const store = openStore(flags.config, { random: systemRandom, environment });
    centre = new ConfigCentre(store, { wallClock: Date.now, random: systemRandom });
    return (await act(centre, flags)) ?? Exit.DONE;
  } catch (failure) {
    if (!(failure instanceof ConfigError) && !(failure instanceof OperationError)) throw failure;
    error(failure instanceof ConfigError ? `${failure.message}\n` : `evenkeel: ${failure.message}\n`);
    if (failure instanceof ConfigError) return Exit.CONFIG;
    return failure.code === 'bad-store' ? Exit.USAGE : Exit.FAILED;
  } finally {
    await centre?.store.close();
  }
}

async function push(centre: ConfigCentre, flags: CentreFlags, file: string, terminal: Terminal): Promise<ExitStatus> {
  const { judgePush } = await import('../app/judge-push.ts');
  const path = resolve(terminal.directory, file);
  const document = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new OperationError('unreadable', `${path} cannot be read: ${error.code}`);
  });
  const after = judgePush(document, path, terminal.environment).document;
  const head = await centre.find('head').catch(() => null);
  // A head that cannot be read here (a variable of its own) has no diff, and is no reason to refuse.
  const before = head === null ? null : await readVersion(head, terminal).catch(() => null);
  const text = before === null ? '' : diffText(before, after);
  await judgeAlive(centre, document, flags, terminal);
  if (flags.dryRun === true) {
    terminal.out(before === null ? 'it would be the first version\n' : text || 'nothing would change\n');
    return Exit.DONE;
  }
  if (head?.document === document && flags.stage === undefined) {
    terminal.out(`version ${head.number} (${head.id}) is this document already\n`);
    return Exit.DONE;
  }
  const trial = flags.stage === undefined ? null : { proxies: flags.stage, trialMs: flags.trial };
  const version = await centre.push({
    document,
    author: author(flags),
    message: flags.message ?? '',
    onto: flags.onto ?? null,
    trial,
  });
  terminal.out(`${text}version ${version.number} (${version.id}) is ${trial === null ? 'in force' : 'on trial'}\n`);
  return Exit.DONE;
}

async function history(centre: ConfigCentre, { limit, json }: CentreFlags, terminal: Terminal): Promise<void> {
  const versions = await centre.history(limit);
  const current = await centre.current();
  if (json === true) {
    for (const { document: _, ...version } of versions) terminal.out(`${JSON.stringify(version)}\n`);
    return;
  }
  const rows = versions.map((version) => {
    const isHead = version.key === current?.head.key;
    const isStaged = version.key === current?.head.stage?.key;
    return [
      String(version.number),
      version.id,
      version.time,
      version.author,
      isHead ? 'in force' : isStaged ? 'on trial' : '',
      version.message,
    ];
  });
  terminal.out(table(['version', 'id', 'time', 'author', '', 'message'], rows));
  const withdrawn = current?.head.withdrawn;
  if (withdrawn != null)
    terminal.out(
      `\nversion ${withdrawn.key.split('-', 2).join(' (')}) went back at ${withdrawn.time}: ${withdrawn.proxy}: ${withdrawn.reason}\n`,
    );
}

async function diff(
  centre: ConfigCentre,
  flags: CentreFlags,
  from: string,
  to: string,
  terminal: Terminal,
): Promise<void> {
  const [before, after] = [await centre.find(from), await centre.find(to)];
  const [was, is] = [await readVersion(before, terminal), await readVersion(after, terminal)];
  const text = diffText(was, is);
  const { diffDocuments } = await import('../config/diff.ts');
  terminal.out(
    text === ''
      ? `versions ${before.number} and ${after.number} mean the same\n`
      : `${text}${diffSummary(diffDocuments(was, is))}\n`,
  );
  if (flags.admin === undefined) return;
  const body = { document: after.document, against: before.document };
  const judged = await askByAdmin(flags.admin, body, terminal);
  const problems = judged.problems.map((problem) => `${problem}\n`).join('');
  terminal.out(`${problems}${unjudgedText(judged)}${replayText(judged.replay)}`);
}

async function rollback(centre: ConfigCentre, flags: CentreFlags, wanted: string, terminal: Terminal): Promise<void> {
  const { judgePush } = await import('../app/judge-push.ts');
  const to = await centre.find(wanted);
  judgePush(to.document, `${centre.store.address}@${to.number}`, terminal.environment);
  await judgeAlive(centre, to.document, flags, terminal);
  const version = await centre.rollback(to, author(flags), flags.message ?? `rollback to version ${to.number}`);
  terminal.out(`version ${version.number} (${version.id}) is in force: what version ${to.number} was\n`);
}

async function status(centre: ConfigCentre, { json }: CentreFlags, terminal: Terminal): Promise<void> {
  const [reports, current] = [await centre.reports(), await centre.current()];
  if (json === true) {
    for (const report of reports) terminal.out(`${JSON.stringify({ ...report, ageMs: centre.ageOf(report) })}\n`);
    return;
  }
  if (current !== null) {
    const { key, number, stage } = current.head;
    const trial =
      stage === null
        ? ''
        : `; version ${number + 1} (${stage.key.split('-')[1]}) on trial at ${stage.proxies.join(', ')}`;
    terminal.out(`version ${number} (${key.split('-')[1]}) is in force${trial}\n\n`);
  }
  const rows = reports.map((report) => [
    report.name,
    String(report.number),
    report.id,
    report.since,
    proxyState(report, centre.ageOf(report), current?.head ?? null),
    report.refused?.problems[0] ?? '',
  ]);
  terminal.out(table(['proxy', 'version', 'id', 'since', 'state', 'why'], rows));
}

async function withdraw(centre: ConfigCentre, flags: CentreFlags, terminal: Terminal): Promise<ExitStatus> {
  const stage = (await centre.current())?.head.stage ?? null;
  if (stage === null || !(await centre.withdraw(stage.key, author(flags), flags.message ?? 'withdrawn by hand'))) {
    terminal.error('evenkeel: no version is on trial\n');
    return Exit.FAILED;
  }
  terminal.out('the trial has ended; all proxies go back\n');
  return Exit.DONE;
}

async function watch(centre: ConfigCentre, terminal: Terminal): Promise<void> {
  const ended = Promise.withResolvers<void>();
  process.once('SIGINT', () => ended.resolve());
  process.once('SIGTERM', () => ended.resolve());
  let last = '';
  const print = async (text: string) => {
    const head = centre.readHead(text);
    const { number, id, author: who, message } = await centre.version(head.stage?.key ?? head.key);
    const line = `${number} ${id} ${head.stage === null ? 'in force' : 'on trial'}  ${who}  ${message}\n`;
    if (line !== last) terminal.out(`${new Date().toISOString()} ${line}`);
    last = line;
  };
  const watching = centre.watchHead({
    changed: (stored) => {
      if (stored !== null)
        void print(stored.text).catch((error: Error) => terminal.error(`evenkeel: ${error.message}\n`));
    },
    unavailable: (error) => terminal.error(`evenkeel: ${error.message}\n`),
  });
  await ended.promise;
  watching.close();
}

async function readVersion(version: Version, terminal: Terminal) {
  const [{ readDocument }, { catalogs }] = await Promise.all([
    import('../app/document.ts'),
    import('../app/catalogs.ts'),
  ]);
  return readDocument(version.document, `version ${version.number}`, terminal.environment, catalogs).document;
}

function author(flags: CentreFlags): string {
  return flags.author ?? userOfShell();
}

/** A process in a container may run as a user that nobody named. */
function userOfShell(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('write a number');
  return Number(text);
}

function parseStage(text: string): Trial['proxies'] {
  if (/^\d+%$/.test(text) && Number.parseInt(text, 10) <= 100) return { share: Number.parseInt(text, 10) / 100 };
  if (/^[1-9]\d*$/.test(text)) return { count: Number(text) };
  const names = text.split(',');
  if (!names.every(isName)) throw new InvalidArgumentError('write 1, 25% or the names of proxies');
  return { names };
}

function parseTrial(text: string): number {
  const ms = parseDuration(text);
  if (ms === null || ms <= 0) throw new InvalidArgumentError('write a duration such as 30s or 2m');
  return ms;
}
