import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as later } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Agent, request } from 'undici';
import { findConsul, startConsul } from '../test/servers/consul.ts';

// What discovery costs: 10 000 endpoints in 500 pools from a real Consul over plain HTTP (140 services watched, the others polled) while 10 endpoints a second
// change and a load runs. Alternates windows with and without changes; prints the control thread's share of a core and the load's latency in each. Exits 1 when
// the share is 20 % or more. `node bench/registry-scale.ts [--seconds 20] [--windows 6] [--pools 500] [--endpoints 20] [--changes 10] [--rate 200]`
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    windows: { type: 'string', default: '6' },
    pools: { type: 'string', default: '500' },
    endpoints: { type: 'string', default: '20' },
    changes: { type: 'string', default: '10' },
    rate: { type: 'string', default: '200' },
  },
});
const [SECONDS, WINDOWS, POOLS, ENDPOINTS, CHANGES, RATE] = (
  ['seconds', 'windows', 'pools', 'endpoints', 'changes', 'rate'] as const
).map((name) => Number(values[name]));
const MOST = 0.2;
/** USER_HZ of Linux: what /proc counts CPU time in. */
const TICKS_PER_SECOND = 100;

interface Window {
  readonly changes: number;
  /** Shares of a core. */
  readonly control: number;
  readonly process: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
}

if (findConsul() === null) throw new Error('no consul binary; run test/servers/install.sh');
const directory = await mkdtemp(join(tmpdir(), 'evenkeel-registry-scale-'));
await using stack = new AsyncDisposableStack();
stack.defer(() => rm(directory, { recursive: true, force: true }));
const consul = await startConsul({ dataDir: join(directory, 'consul') });
stack.defer(() => consul.stop());
// Consul refuses the 201st connection of an address, and the proxy takes up to 150.
const writers = new Agent({ connections: 16, pipelining: 1 });
const agent = new Agent({ connections: 64, pipelining: 1 });
stack.defer(async () => void (await Promise.all([agent.destroy(), writers.destroy()])));

await fill();
const origin = createServer((_request, response) => response.end('0123456789'.repeat(6)));
await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
origin.keepAliveTimeout = 65_000;
stack.defer(() => void origin.close().closeAllConnections());
const proxy = await startProxy();
stack.defer(() => proxy.stop());
await allKnown();
// The jitter of the first polls, and what compiles late.
await later(10_000);

const windows: Window[] = [];
for (let i = 0; i < WINDOWS; i++) windows.push(await measure(i % 2 === 0 ? 0 : CHANGES));
report();

/** One endpoint, written to Consul's catalog; `version` makes it another one. */
async function register(pool: number, endpoint: number, version: number): Promise<void> {
  const id = `s-${pool}-${endpoint}`;
  const body = {
    Node: `node-${endpoint}`,
    Address: `10.0.0.${endpoint + 1}`,
    SkipNodeUpdate: true,
    Service: {
      ID: id,
      Service: `s-${pool}`,
      Tags: ['http', 'v1'],
      Meta: { version: String(version), zone: `zone-${endpoint % 3}`, team: 'shop' },
      Address: `10.${pool >> 8}.${pool & 255}.${endpoint + 1}`,
      Port: 8080,
      Weights: { Passing: 1 + (version % 7), Warning: 1 },
    },
    Check: { CheckID: `service:${id}`, Name: 'alive', Status: 'passing', ServiceID: id },
  };
  const answer = await request(`${consul.address}/v1/catalog/register`, {
    method: 'PUT',
    body: JSON.stringify(body),
    dispatcher: writers,
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`Consul: ${answer.statusCode} ${text}`);
}

async function fill(): Promise<void> {
  for (let endpoint = 0; endpoint < ENDPOINTS; endpoint++) {
    await register(0, endpoint, 0);
    for (let pool = 1; pool < POOLS; pool += 32)
      await Promise.all(Array.from({ length: Math.min(32, POOLS - pool) }, (_, i) => register(pool + i, endpoint, 0)));
  }
}

async function startProxy() {
  const pools: Record<string, object> = {
    load: { endpoints: [{ address: `127.0.0.1:${(origin.address() as AddressInfo).port}` }] },
  };
  for (let i = 0; i < POOLS; i++) pools[`p-${i}`] = { discover: { registry: 'consul', service: `s-${i}` } };
  const file = join(directory, 'scale.json');
  const document = {
    runtime: { workers: 1, state: join(directory, 'state'), startTimeout: '60s' },
    admin: { bind: '127.0.0.1:0' },
    log: { level: 'warn', access: 'off' },
    registries: { consul: { kind: 'consul', address: consul.address } },
    listeners: [{ name: 'scale', bind: '127.0.0.1:0', pool: 'load' }],
    pools,
  };
  await writeFile(file, JSON.stringify(document));
  const main = new URL('../src/cli/main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [main, 'run', '-c', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  const [, port, admin] = await new Promise<RegExpExecArray>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the proxy ended with ${code}`)));
    child.stdout.on('data', (text: Buffer) => {
      const match = /scale on 127\.0\.0\.1:(\d+); admin on (\S+)/.exec(text.toString());
      if (match !== null) resolve(match);
    });
  });
  const stop = () =>
    new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.kill('SIGKILL');
    });
  return { pid: child.pid as number, url: `http://127.0.0.1:${port}/`, admin, stop };
}

async function allKnown(): Promise<void> {
  for (let i = 0; i < 120; i++) {
    const answer = await request(`${proxy.admin}/api/v1/registries`, { dispatcher: agent });
    const { registries } = (await answer.body.json()) as { registries: { services: { endpoints: number }[] }[] };
    if (registries[0].services.reduce((sum, { endpoints }) => sum + endpoints, 0) === POOLS * ENDPOINTS) return;
    await later(500);
  }
  throw new Error('the proxy does not know all endpoints after a minute');
}

/** CPU time in seconds of the control thread (the process's first) and of the whole process. */
function cpu(): { control: number; process: number } {
  const read = (path: string) => {
    const fields = readFileSync(path, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  };
  return { control: read(`/proc/${proxy.pid}/task/${proxy.pid}/stat`), process: read(`/proc/${proxy.pid}/stat`) };
}

async function measure(changes: number): Promise<Window> {
  const latencies: number[] = [];
  let failed = 0;
  const before = cpu();
  const startedMs = performance.now();
  const elapsedS = () => (performance.now() - startedMs) / 1000;
  const running: Promise<void>[] = [];
  const one = async () => {
    const began = performance.now();
    try {
      const { statusCode, body } = await request(proxy.url, { dispatcher: agent });
      await body.dump();
      if (statusCode !== 200) failed++;
    } catch {
      failed++;
    }
    latencies.push(performance.now() - began);
  };
  for (let sent = 0, changed = 0; elapsedS() < SECONDS; await later(1)) {
    for (; sent < elapsedS() * RATE; sent++) running.push(one());
    for (; changed < elapsedS() * changes; changed++)
      running.push(register(Math.floor(Math.random() * POOLS), Math.floor(Math.random() * ENDPOINTS), 1 + changed));
  }
  await Promise.all(running);
  const after = cpu();
  latencies.sort((a, b) => a - b);
  const seconds = elapsedS();
  return {
    changes,
    control: (after.control - before.control) / seconds,
    process: (after.process - before.process) / seconds,
    p50: latencies[Math.floor(latencies.length * 0.5)],
    p99: latencies[Math.floor(latencies.length * 0.99)],
    failed,
  };
}

function report(): void {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`.padStart(8);
  const ms = (value: number) => `${value.toFixed(2)} ms`.padStart(10);
  console.log(
    `${POOLS * ENDPOINTS} endpoints in ${POOLS} pools, ${RATE} requests/s, windows of ${SECONDS} s; shares of a core`,
  );
  console.log('changes/s   control   process        p50        p99   failed');
  for (const { changes, control, process: whole, p50, p99, failed } of windows)
    console.log(
      `${String(changes).padStart(9)}  ${percent(control)}  ${percent(whole)} ${ms(p50)} ${ms(p99)} ${String(failed).padStart(8)}`,
    );
  const worst = Math.max(...windows.map(({ control }) => control));
  console.log(`control thread at most ${percent(worst).trim()} of a core; the target is less than ${MOST * 100} %`);
  process.exitCode = worst < MOST ? 0 : 1;
}
