import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startRegistry } from '../helpers/embedded-registry.ts';
import { eventually } from '../helpers/eventually.ts';
import { type RunningProcess, startProcess } from '../helpers/processes.ts';
import { startProxy } from '../helpers/proxy.ts';

const PROGRAM = fileURLToPath(new URL('../helpers/tcp-endpoint-program.ts', import.meta.url));
const CONNECTIONS = 5000;
const AT_ONCE = 24;

interface Endpoint {
  readonly process: RunningProcess;
  readonly port: number;
}

async function start(name: string, port: number, registry: string): Promise<Endpoint> {
  const process_ = await startProcess(process.execPath, [PROGRAM, name, String(port), registry]);
  const [, bound] = await process_.waitFor(/listens on (\d+)/);
  return { process: process_, port: Number(bound) };
}

/** One short connection: a word, its answer, the end. What came back, or how it failed. */
function exchange(port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.on('connect', () => socket.write('who?'));
    socket.on('data', (bytes) => {
      text += bytes;
      socket.end();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      text = `${error.code} after ${JSON.stringify(text)}`;
    });
    socket.on('close', () => resolve(text));
  });
}

it('5000 short TCP connections go through a rolling restart of the endpoints, and none is lost', {
  timeout: 120_000,
}, async () => {
  await using registry = await startRegistry();
  await using stack = new AsyncDisposableStack();
  const endpoints = await Promise.all(['a1', 'b1', 'c1'].map((name) => start(name, 0, registry.address)));
  for (const endpoint of endpoints) stack.use(endpoint.process);
  await using proxy = await startProxy({
    registries: { own: { kind: 'consul', address: registry.address } },
    listeners: [{ name: 'l4', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'orders' }],
    pools: { orders: { discover: { registry: 'own', service: 'orders' }, scheduler: 'weighted-round-robin' } },
  });
  const port = proxy.port();
  const answers = new Map<string, number>();
  let sent = 0;
  let isRestarting = true;
  const clients = Array.from({ length: AT_ONCE }, async () => {
    while (sent < CONNECTIONS || isRestarting) {
      sent++;
      const answer = await exchange(port);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  });
  await eventually(() => answers.size === 3, { timeoutMs: 30_000 });
  for (const [i, endpoint] of endpoints.entries()) {
    endpoint.process.kill('SIGTERM');
    expect(await endpoint.process.exited).toEqual({ code: 0, signal: null });
    const name = `${'abc'[i]}2`;
    stack.use((await start(name, endpoint.port, registry.address)).process);
    await eventually(() => answers.has(name), { timeoutMs: 30_000 });
  }
  isRestarting = false;
  await Promise.all(clients);
  expect([...answers.keys()].sort()).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'c2']);
  expect(sent).toBeGreaterThanOrEqual(CONNECTIONS);
  await eventually(async () => (await proxy.metric('evenkeel_sessions_total', { outcome: 'ok' })) === sent);
  await eventually(async () => (await proxy.metric('evenkeel_endpoint_active')) === 0);
});
