import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../helpers/ports.ts';
import { findProgram, type RunningProcess, startProcess } from '../helpers/processes.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

export interface NginxOptions {
  /** Answered as the whole body and as `x-endpoint`. */
  readonly name: string;
  /** Taken as it is; without it a free one is chosen. */
  readonly port?: number;
  /** Time between a request's head and its answer. */
  readonly delayMs?: number;
  /** Parameters of nginx's `listen` directive, e.g. `proxy_protocol`. */
  readonly listen?: string;
  /** More `location` blocks, or other directives of nginx's `server` block. */
  readonly locations?: string;
  /** Directives for nginx's `http` block, e.g. `keepalive_timeout 1s;` */
  readonly http?: string;
}

/** A real nginx that serves one endpoint on 127.0.0.1. One process, so that a signal reaches all of it. */
export interface Nginx extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  /** `METHOD TARGET STATUS` of every request it has answered, oldest first; written as each answer ends. */
  requests(): Promise<string[]>;
  /** Sends a signal, e.g. SIGKILL for a crash, SIGSTOP for a stall, SIGQUIT for a graceful end. */
  kill(signal: NodeJS.Signals): boolean;
  /** Ends it and removes its files. Harmless when it has gone already. */
  stop(): Promise<void>;
}

/** The path of the machine's nginx, or null: a suite that needs it says so by name and is skipped. */
export function findNginx(): string | null {
  return findProgram('nginx', ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin']);
}

export async function startNginx(options: NginxOptions): Promise<Nginx> {
  const program = findNginx();
  if (program === null) throw new Error('there is no nginx on this machine');
  const directory = await temporaryDirectory('nginx');
  try {
    const { running, port } = await startOnPort(program, directory.path, options, directory.write);
    const stop = async () => {
      // A stopped process takes no SIGTERM: wake it first.
      running.kill('SIGCONT');
      await running.stop(2_000);
      await directory.close();
    };
    return {
      port,
      pid: running.pid,
      requests: async () => (await readFile(join(directory.path, 'access.log'), 'utf8')).split('\n').slice(0, -1),
      kill: (signal) => running.kill(signal),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await directory.close();
    throw error;
  }
}

async function startOnPort(
  program: string,
  directory: string,
  options: NginxOptions,
  write: (name: string, content: string) => Promise<string>,
): Promise<{ running: RunningProcess; port: number }> {
  for (let triesLeft = 3; ; triesLeft--) {
    const port = options.port ?? (await freePort());
    const file = await write('nginx.conf', configuration(options, port, directory));
    const running = await startProcess(program, ['-p', directory, '-c', file, '-e', 'stderr']);
    try {
      // The first thing nginx says, at level notice, after it has bound its port.
      await running.waitFor('event method');
      return { running, port };
    } catch (error) {
      await running.stop(0);
      const isTaken = running.stderr.includes('Address already in use');
      if (!isTaken || options.port !== undefined || triesLeft === 0) throw error;
    }
  }
}

function configuration(options: NginxOptions, port: number, directory: string): string {
  const answer = `add_header x-endpoint "${options.name}" always; default_type text/plain; return 200 "${options.name}";`;
  return `
daemon off; master_process off; pid ${directory}/nginx.pid; error_log stderr notice;
events { worker_connections 4096; }
http {
  log_format requests '$request_method $request_uri $status';
  access_log ${directory}/access.log requests;
  ${temporaryPaths(directory)}
  ${options.http ?? ''}
  server {
    listen 127.0.0.1:${port} ${options.listen ?? ''};
    ${options.delayMs === undefined ? `location / { ${answer} }` : delayed(answer, options.delayMs)}
    ${options.locations ?? ''}
  }
}
`;
}

/** nginx can hold back only a refusal (`auth_delay`), so every request is refused and the refusal is answered with 200. */
function delayed(answer: string, delayMs: number): string {
  return `
    location / { auth_delay ${delayMs}ms; auth_request /.refuse; error_page 401 =200 @answer; }
    location = /.refuse { internal; return 401; }
    location @answer { ${answer} }`;
}

function temporaryPaths(directory: string): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${directory}/${kind};`)
    .join(' ');
}
