import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';
import { type Family, parseExposition } from './exposition-parser.ts';
import { isGone, type RunningProcess, startProcess } from './processes.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** Saves a third of the time of every start. */
const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/evenkeel-stories', import.meta.url));
const READY = /^evenkeel is ready: (.*)$/m;

export interface ProxyOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Address of a config centre that holds the document: `document` is not read then. `name` is what the proxy is called there. */
  readonly centre?: { readonly address: string; readonly name: string; readonly state: string };
  /** Opens the channel for `fault`. */
  readonly faults?: boolean;
  /** Runs a file `program.ts` in its directory, which imports evenkeel's own and may be replaced before an upgrade. */
  readonly replaceable?: boolean;
}

/** A whole evenkeel in a process of its own. */
export interface RunningProxy extends AsyncDisposable {
  /** The port of a listener; of the first without a name. */
  port(listener?: string): number;
  /** http://127.0.0.1:port of the first listener. */
  readonly url: string;
  /** http://127.0.0.1:port of the admin API. */
  readonly admin: string;
  readonly child: RunningProcess;
  /** The process that serves: another one after each upgrade. */
  readonly pid: number;
  /** Where its document, evenkeel.yaml, and its state are. */
  readonly directory: string;
  /** Replaces the file it was started from; a reload reads it. */
  write(document: object | string): Promise<void>;
  /** Sends SIGHUP and resolves when the event that answers it was published: `reloaded` or `reload-refused`. */
  reload(): Promise<string>;
  /** Has a new process take over; resolves with its number. */
  upgrade(): Promise<number>;
  /** Takes the process that answers now, after an upgrade by other means, for the one that serves. */
  adopt(): Promise<number>;
  /** Replaces the file that `replaceable` runs. */
  replace(program: string): Promise<void>;
  /** JSON of the admin API; rejects when the status is not 2xx. */
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
  api(path: string, init?: { method?: string; body?: unknown }): Promise<any>;
  /** One endpoint as the admin API shows it. */
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
  endpoint(pool: string, id: string): Promise<any>;
  metrics(): Promise<Map<string, Family>>;
  /** Sum of the samples of a name with these labels; 0 when there is none. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
  /** Lines of the event log (stderr) that were written for this event type. */
  events(type: string): Record<string, unknown>[];
  /** Lines of the access log; only with `log: { access: stdout }`. */
  accessLines(): Record<string, unknown>[];
  /** Faults by the test hooks: `die` ends a worker, `stall` blocks it, `hang` for good, `spare` ends the thread that waits to step in. */
  fault(fault: 'die' | 'hang' | 'stall' | 'spare', worker?: number, ms?: number): void;
  /** Resident memory in bytes. */
  memory(): Promise<number>;
  /** SIGTERM, then its exit status; -1 when it had to be killed after 10 s. */
  stop(): Promise<number>;
}

/**
 * Starts `evenkeel run` with a document (an object, or YAML text), and resolves when it is ready. What the document does not say: one worker, the
 * admin API on a free port, no access log, a drain of one second, state in a folder that goes with the process.
 */
export async function startProxy(document: object | string, options: ProxyOptions = {}): Promise<RunningProxy> {
  const directory = await temporaryDirectory('proxy');
  try {
    const file = await directory.write('evenkeel.yaml', textOf(document));
    const { centre } = options;
    const source =
      centre === undefined ? ['-c', file] : ['-c', centre.address, '--name', centre.name, '--state', centre.state];
    const program =
      options.replaceable === true ? await directory.write('program.ts', `import ${JSON.stringify(MAIN)};\n`) : MAIN;
    const child = await startProcess(process.execPath, [program, 'run', ...source], {
      cwd: directory.path,
      env: {
        EVENKEEL_TEST_HOOKS: options.faults === true ? '1' : undefined,
        NODE_OPTIONS: undefined,
        NODE_COMPILE_CACHE: COMPILE_CACHE,
        ...options.env,
      },
      ipc: options.faults === true,
      ready: READY,
    });
    const current = { pid: child.pid };
    const close = async () => {
      const isFirst = current.pid === child.pid;
      const code = isFirst ? (await child.stop(10_000)).code : await endSuccessor(child, current.pid);
      await directory.close();
      return code ?? -1;
    };
    const write = (next: object | string) => directory.write('evenkeel.yaml', textOf(next));
    const replace = (text: string) => directory.write('program.ts', text);
    return handleOf(child, current, directory.path, write, replace, close);
  } catch (error) {
    await directory.close();
    throw error;
  }
}

/** No child of ours: it is gone when the output it inherited is closed. Its exit status nobody learns; 0 stands for an end of its own. */
async function endSuccessor(child: RunningProcess, pid: number): Promise<number> {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // Stopped before.
  }
  const isOver = await Promise.race([
    child.exited.then(() => true),
    new Promise<boolean>((resolve) => setTimeout(resolve, 10_000, false).unref()),
  ]);
  // Whoever inherits it has still to reap it: until then its group is not empty.
  if (isOver) await eventually(() => isGone(pid), { timeoutMs: 10_000 });
  await child.stop(0);
  return isOver ? 0 : -1;
}

/** The stage `documented` tells stories the same claims over the documented API of Node. */
function fastPath(): object {
  return process.env.EVENKEEL_STORIES_FAST_PATH === undefined
    ? {}
    : { fastPath: process.env.EVENKEEL_STORIES_FAST_PATH };
}

/** A document with what stories share filled in. */
function textOf(document: object | string): string {
  if (typeof document === 'string') return document;
  const { runtime, admin, log, ...rest } = document as Record<string, object | undefined>;
  return JSON.stringify(
    {
      runtime: { workers: 1, drain: '1s', state: './state', ...fastPath(), ...runtime },
      admin: { bind: '127.0.0.1:0', ...admin },
      log: { access: 'off', ...log },
      ...rest,
    },
    null,
    2,
  );
}

function handleOf(
  child: RunningProcess,
  current: { pid: number },
  directory: string,
  write: (document: object | string) => Promise<string>,
  replace: (program: string) => Promise<string>,
  close: () => Promise<number>,
): RunningProxy {
  const [, line] = READY.exec(child.stdout)!;
  const ports = new Map<string, number>();
  for (const [, name, port] of line.matchAll(/([\w.-]+) on [^;,]*:(\d+)/g)) ports.set(name, Number(port));
  const admin = /admin on (\S+)$/.exec(line)?.[1] ?? '';
  // Behind the last line break stands the beginning of a line whose rest has not come.
  const lines = (text: string) =>
    text
      .split('\n')
      .slice(0, -1)
      .flatMap((one) => (one.startsWith('{') ? [JSON.parse(one) as Record<string, unknown>] : []));
  const proxy: RunningProxy = {
    child,
    directory,
    admin,
    get url() {
      return `http://127.0.0.1:${proxy.port()}`;
    },
    port(listener) {
      const port = listener === undefined ? [...ports.values()][0] : ports.get(listener);
      if (port === undefined) throw new Error(`no listener ${listener} in: ${line}`);
      return port;
    },
    get pid() {
      return current.pid;
    },
    async adopt() {
      current.pid = (await proxy.api('/api/v1/status')).program.pid;
      return current.pid;
    },
    async replace(program) {
      await replace(program);
    },
    async upgrade() {
      current.pid = (await proxy.api('/api/v1/upgrade', { method: 'POST' })).pid;
      return current.pid;
    },
    async write(document) {
      await write(document);
    },
    async reload() {
      const count = () => proxy.events('reloaded').length + proxy.events('reload-refused').length;
      const before = count();
      const refused = proxy.events('reload-refused').length;
      process.kill(current.pid, 'SIGHUP');
      await eventually(() => count() > before, { timeoutMs: 20_000 });
      return proxy.events('reload-refused').length > refused ? 'reload-refused' : 'reloaded';
    },
    async api(path, { method = 'GET', body } = {}) {
      const response = await fetch(admin + path, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return JSON.parse(text);
    },
    async endpoint(pool, id) {
      const { endpoints } = await proxy.api(`/api/v1/pools/${pool}`);
      const found = endpoints.find((one: { id: string }) => one.id === id);
      if (found === undefined) throw new Error(`no endpoint ${id} in pool ${pool}`);
      return found;
    },
    async metrics() {
      const response = await fetch(`${admin}/metrics`);
      return parseExposition(await response.text());
    },
    async metric(name, labels = {}) {
      let sum = 0;
      for (const { samples } of (await proxy.metrics()).values()) {
        for (const sample of samples) {
          if (sample.name !== name) continue;
          if (Object.entries(labels).every(([key, value]) => sample.labels[key] === value)) sum += sample.value;
        }
      }
      return sum;
    },
    events: (type) => lines(child.stderr).filter(({ msg }) => msg === type),
    accessLines: () => lines(child.stdout),
    fault: (fault, worker, ms) => child.send({ fault, worker, ms }),
    async memory() {
      const { readFile } = await import('node:fs/promises');
      const status = await readFile(`/proc/${current.pid}/status`, 'utf8');
      return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
    },
    stop: close,
    [Symbol.asyncDispose]: async () => void (await close()),
  };
  return proxy;
}
