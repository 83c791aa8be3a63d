import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';

// A soak: a million requests (or as many as the first argument says) over 64 kept connections and connections that come and go, and how memory and
// descriptors of the proxy go meanwhile. Prints a table; exits 1 when they are not flat after the warm-up or a request failed.
const TOTAL = Number(process.argv[2] ?? 1_000_000);
const KEPT = 64;
const CHURN_PER_SECOND = 200;
const SAMPLE_MS = 5000;
/** Part of the requests that counts as warm-up. */
const WARM_UP = 0.3;

const directory = await mkdtemp(join(tmpdir(), 'evenkeel-soak-'));
const origins = await Promise.all([1, 2, 3].map(startOrigin));
const proxy = await startProxy(origins.map(({ port }) => port));
const agent = new Agent({ connections: KEPT, pipelining: 1 });
const counts = { kept: 0, churned: 0, failed: 0 };
const samples: { requests: number; rssMb: number; fds: number }[] = [];
const sampler = setInterval(() => sample(true), SAMPLE_MS);
const churner = setInterval(churn, 1000 / CHURN_PER_SECOND);
const startedMs = performance.now();

await Promise.all(Array.from({ length: KEPT }, keepAsking));
clearInterval(churner);
clearInterval(sampler);
sample(true);
const seconds = (performance.now() - startedMs) / 1000;
await agent.close();
proxy.child.kill('SIGTERM');
await new Promise((resolve) => proxy.child.once('exit', resolve));
for (const { server } of origins) server.close();
await rm(directory, { recursive: true, force: true });
report();

async function startOrigin(): Promise<{ port: number; server: ReturnType<typeof createServer> }> {
  const server = createServer((_request, response) => response.end('0123456789'.repeat(6)));
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  return { port: (server.address() as AddressInfo).port, server };
}

async function startProxy(ports: readonly number[]): Promise<{ child: ChildProcess; port: number }> {
  const file = join(directory, 'soak.json');
  const document = {
    runtime: { workers: 1, state: directory },
    admin: { bind: '127.0.0.1:0' },
    log: { level: 'warn', access: 'off' },
    listeners: [{ name: 'soak', bind: '127.0.0.1:0', pool: 'soak' }],
    pools: { soak: { endpoints: ports.map((port) => ({ address: `127.0.0.1:${port}` })) } },
  };
  await writeFile(file, JSON.stringify(document));
  const main = new URL('../src/cli/main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [main, 'run', '-c', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the proxy ended with ${code}`)));
    child.stdout.on('data', (text: Buffer) => {
      const match = /soak on 127\.0\.0\.1:(\d+)/.exec(text.toString());
      if (match !== null) resolve(Number(match[1]));
    });
  });
  return { child, port };
}

async function keepAsking(): Promise<void> {
  while (counts.kept + counts.churned + counts.failed < TOTAL) {
    try {
      const { statusCode, body } = await request(`http://127.0.0.1:${proxy.port}/`, { dispatcher: agent });
      await body.dump();
      if (statusCode === 200) counts.kept++;
      else counts.failed++;
    } catch {
      counts.failed++;
    }
  }
}

/** One connection, one request, closed by the client without a goodbye every other time. */
function churn(): void {
  const socket = connect(proxy.port, '127.0.0.1');
  let answer = '';
  socket.on('error', () => counts.failed++);
  socket.on('data', (bytes) => {
    answer += bytes.toString();
    if (!answer.includes('\r\n\r\n0123456789')) return;
    counts.churned++;
    socket.removeAllListeners('error');
    socket.on('error', () => {});
    if (counts.churned % 2 === 0) socket.resetAndDestroy();
    else socket.end();
  });
  socket.write('GET / HTTP/1.1\r\nHost: soak\r\n\r\n');
}

function sample(isPrinted: boolean): void {
  const pid = proxy.child.pid as number;
  const rssMb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  const fds = readdirSync(`/proc/${pid}/fd`).length;
  const requests = counts.kept + counts.churned;
  samples.push({ requests, rssMb, fds });
  if (isPrinted)
    console.log(
      `${String(requests).padStart(9)} requests  ${rssMb.toFixed(1).padStart(7)} MiB  ${String(fds).padStart(5)} fds`,
    );
}

function report(): void {
  const steady = samples.filter(({ requests }) => requests >= TOTAL * WARM_UP);
  const half = Math.floor(steady.length / 2);
  const mean = (part: typeof samples, key: 'rssMb' | 'fds') =>
    part.reduce((sum, one) => sum + one[key], 0) / part.length;
  const rss = [mean(steady.slice(0, half), 'rssMb'), mean(steady.slice(half), 'rssMb')];
  const fds = [mean(steady.slice(0, half), 'fds'), mean(steady.slice(half), 'fds')];
  console.log(`${counts.kept} kept + ${counts.churned} churned in ${seconds.toFixed(0)} s, ${counts.failed} failed`);
  console.log(
    `after warm-up, first half against second: ${rss.map((x) => x.toFixed(1)).join(' → ')} MiB, ${fds.map((x) => x.toFixed(0)).join(' → ')} fds`,
  );
  const isFlat = rss[1] < rss[0] * 1.1 + 5 && fds[1] < fds[0] * 1.1 + 10;
  process.exitCode = isFlat && counts.failed === 0 ? 0 : 1;
}
