import { resolve } from 'node:path';
import type { Command } from 'commander';
import { adminOptions } from '../admin/options.ts';
import { ConfigError, OperationError } from '../base/errors.ts';
import { formatHostPort, parseHostPort } from '../base/literals.ts';
import type { DocumentTree } from '../config/document-tree.ts';
import { type Environment, substituteEnvironment } from '../config/environment.ts';
import { loadSource, plainData } from '../config/load.ts';
import { readSecret, secretFile } from '../config/secret-text.ts';
import { documentFile, withDocumentFile } from './document-file.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

/** Restarting the workers of a large process takes a while; a reload waits for registries. */
const TIMEOUT_MS = 120_000;

/** Options of a command that talks to a running evenkeel. */
export interface AdminFlags {
  readonly config?: string;
  readonly admin?: string;
}

/** An answer of the admin API. */
export interface AdminAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the caller knows what it asked for
  readonly body: any;
}

/** Adds `-c FILE` and `--admin HOST:PORT` to a command. */
export function withAdmin(command: Command): Command {
  return withDocumentFile(command).option(
    '--admin <host:port>',
    "the running process's admin API, where it is not what the document says now",
  );
}

/**
 * Sends a request to the admin API of the process that runs the document. Rejects with an OperationError when it cannot be reached, with a ConfigError
 * when the document does not say where it is.
 */
export async function askAdmin(
  flags: AdminFlags,
  terminal: Terminal,
  method: string,
  path: string,
  body?: object,
): Promise<AdminAnswer> {
  const { place, token } = await findAdmin(flags, terminal);
  let response: Response;
  try {
    response = await fetch(`http://${place}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: token === '' ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    const cause = (error as Error).cause ?? error;
    const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
    const message = `the admin API of the running process cannot be reached at ${place} (${why}); name it with --admin`;
    throw new OperationError('unreachable', message, { cause: error });
  }
  const text = await response.text();
  try {
    return { status: response.status, body: JSON.parse(text) };
  } catch {
    throw new OperationError('unreachable', `${place} does not answer like an admin API (status ${response.status})`);
  }
}

/** Says why the process did not do it, problem by problem as `check` does; the status for it. */
export function sayRefusal(terminal: Terminal, { status, body }: AdminAnswer): ExitStatus {
  const problems: { text: string }[] = body.error?.problems ?? [];
  const lines = problems.length > 0 ? problems.map(({ text }) => text) : [`evenkeel: ${body.error?.message}`];
  terminal.error(`${lines.join('\n')}\n`);
  return status === 422 ? Exit.CONFIG : Exit.FAILED;
}

async function findAdmin(flags: AdminFlags, terminal: Terminal): Promise<{ place: string; token: string }> {
  const said = await adminOf(documentFile(flags, terminal), terminal.environment).catch((error: unknown) => {
    // Told where it is, we need the document for the token alone.
    if (flags.admin === undefined) throw error;
    return { bind: null, token: terminal.environment.EVENKEEL_TOKEN ?? '' };
  });
  const place = flags.admin ?? said.bind;
  if (place === null) throw new OperationError('no-admin', 'the document says admin.bind: off; reload with SIGHUP');
  const address = parseHostPort(place);
  if (address === null) throw new OperationError('no-admin', `${place} is not an address; write it as 127.0.0.1:9900`);
  // A server on every address is reached on this machine's own.
  const own: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { place: formatHostPort(own[address.host] ?? address.host, address.port), token: said.token };
}

/** Only this section has to be right: the rest of the document may be what a reload is to judge. */
async function adminOf(file: string, environment: Environment): Promise<{ bind: string | null; token: string }> {
  const tree = await loadSource(file);
  const unset = substituteEnvironment(tree, environment).filter(({ path }) => path.startsWith('admin.'));
  if (unset.length > 0) throw new ConfigError(unset);
  const data = plainData(tree) as { admin?: unknown } | null;
  const { success, data: options } = adminOptions.safeParse(data?.admin ?? {});
  if (!success)
    throw new ConfigError([tree.problem(['admin'], 'is not right, so the running process cannot be found')]);
  return { bind: options.bind, token: await tokenOf(options.token, tree) };
}

async function tokenOf(token: string, tree: DocumentTree): Promise<string> {
  const file = secretFile(token);
  if (file === null) return token;
  try {
    return await readSecret(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError([tree.problem(['admin', 'token'], `cannot read ${resolve(file)}: ${code ?? message}`)]);
  }
}
