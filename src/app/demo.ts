import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { stringify } from 'yaml';
import { systemClock } from '../base/clock.ts';
import { systemRandom } from '../base/random.ts';
import { RegistryServer } from '../discovery/embedded/server.ts';
import { createLog } from '../telemetry/log.ts';
import { catalogs } from './catalogs.ts';
import { ControlPlane } from './control-plane.ts';
import { type LoadedDocument, readDocument } from './document.ts';
import { type JudgedDocument, readToJudge } from './judged-document.ts';
import { serve } from './run.ts';

/** Mean service times of the sample endpoints in ms; the last is the one that traffic should move away from. */
const ENDPOINTS: readonly (readonly [string, number])[] = [
  ['hello-1', 8],
  ['hello-2', 8],
  ['hello-3', 8],
  ['hello-slow', 200],
];
/** Requests a second the demo sends itself, so that the dashboard has something to show. */
const OWN_RATE = 60;
const LEAVE_MS = 2000;

/**
 * `evenkeel demo`: the embedded registry, sample endpoints that register themselves, a proxy before them and the dashboard, on loopback. Ports that are
 * busy are replaced by free ones. Resolves with the exit status after Ctrl-C.
 */
export async function runDemo(version = 'demo'): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'evenkeel-demo-'));
  const ports = { proxy: await freePort(8080), admin: await freePort(9900), registry: await freePort(8501) };
  const reread = async () => readDocument(documentText(ports, directory), 'demo', process.env, catalogs);
  const { log, flushSync } = await createLog({ level: 'warn', format: 'pretty' });
  const registry = new RegistryServer(
    { bind: `127.0.0.1:${ports.registry}`, data: join(directory, 'registry') },
    { clock: systemClock, random: systemRandom, log: (level, message, fields) => log[level](fields ?? {}, message) },
  );
  await registry.start();
  // Registered before the proxy asks, so that its very first request is served.
  const children = await Promise.all(ENDPOINTS.map(([name, meanMs]) => startEndpoint(name, meanMs, ports.registry)));
  const plane = new ControlPlane({ document: await reread(), reread, read: judgeDemo, log, version });
  const load = new OwnLoad(`http://127.0.0.1:${ports.proxy}`);
  const status = await serve(plane, log, () => {
    load.start();
    process.stdout.write(greeting(ports, children));
  });
  await load.close();
  await Promise.all(children.map(endChild));
  await registry.close();
  await rm(directory, { recursive: true, force: true });
  flushSync();
  return status;
}

function judgeDemo(text: string, variables: LoadedDocument['variables']): JudgedDocument {
  return readToJudge(text, 'the document', process.env, variables);
}

function documentText(ports: { proxy: number; admin: number; registry: number }, directory: string): string {
  return stringify({
    runtime: { workers: 1, startTimeout: '2s', drain: '2s', state: join(directory, 'state') },
    admin: { bind: `127.0.0.1:${ports.admin}` },
    log: { level: 'warn', format: 'pretty', access: 'off' },
    registries: {
      local: { kind: 'consul', address: `http://127.0.0.1:${ports.registry}` },
    },
    listeners: [{ name: 'demo', bind: `127.0.0.1:${ports.proxy}`, pool: 'hello' }],
    pools: {
      hello: {
        discover: { registry: 'local', service: 'hello' },
        scheduler: 'response-time',
        probe: { kind: 'tcp', interval: '1s', timeout: '500ms' },
      },
    },
  });
}

/** The wanted port, or a free one when somebody has it. */
function freePort(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (wanted !== 0 && (error.code === 'EADDRINUSE' || error.code === 'EACCES')) resolve(freePort(0));
      else reject(error);
    });
    server.listen(wanted, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

function startEndpoint(name: string, meanMs: number, registryPort: number): Promise<ChildProcess> {
  const entry = new URL(`./demo-endpoint${import.meta.url.slice(-3)}`, import.meta.url);
  const child = fork(entry, [name, String(registryPort), String(meanMs)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve(child));
    child.once('exit', (code) => reject(new Error(`sample endpoint ${name} ended with ${code}`)));
  });
}

function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

/** A trickle of requests through the proxy, as a browser tab left open would make. */
class OwnLoad {
  readonly #pool: Pool;
  #timer: NodeJS.Timeout | null = null;

  constructor(origin: string) {
    this.#pool = new Pool(origin, { connections: 32 });
  }

  start(): void {
    this.#timer = setInterval(() => void this.#request(), 1000 / OWN_RATE);
  }

  async #request(): Promise<void> {
    try {
      const { body } = await this.#pool.request({ path: '/', method: 'GET' });
      await body.dump();
    } catch {
      // Seen in the dashboard; the demo goes on.
    }
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#pool.destroy();
  }
}

function greeting(
  ports: { proxy: number; admin: number; registry: number },
  children: readonly ChildProcess[],
): string {
  const lines = ENDPOINTS.map(
    ([name, meanMs], i) =>
      `  ${name.padEnd(11)} answers in about ${String(meanMs).padStart(3)} ms   kill -9 ${children[i].pid}`,
  );
  const other = (wanted: number, got: number) => (wanted === got ? '' : `   (${wanted} was taken)`);
  return `
evenkeel demo is ready

  proxy       http://127.0.0.1:${ports.proxy}${other(8080, ports.proxy)}
  dashboard   http://127.0.0.1:${ports.admin}${other(9900, ports.admin)}
  registry    http://127.0.0.1:${ports.registry}   Consul's API${other(8501, ports.registry)}

Four endpoints registered themselves; the demo sends ${OWN_RATE} requests a second so that there is something to see:
${lines.join('\n')}

Try:
  curl http://127.0.0.1:${ports.proxy}/
  for i in $(seq 20); do curl -s http://127.0.0.1:${ports.proxy}/; done
  curl http://127.0.0.1:${ports.registry}/v1/health/service/hello?passing

Kill one of the endpoints and watch the dashboard: no request fails. Ctrl-C ends it all.
`;
}
