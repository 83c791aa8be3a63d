import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { eventually } from '../test/helpers/eventually.ts';
import { startProxy } from '../test/helpers/proxy.ts';

// Ten thousand idle and two thousand busy connections at once, on one worker: what an idle one takes, and whether memory stays flat while they are
// held. Clients are another process. Prints the table and a verdict; exits 1 when memory grew or a request failed.
const { values } = parseArgs({
  options: {
    idle: { type: 'string', default: '10000' },
    busy: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '40' },
  },
});
const idle = Number(values.idle);
const busy = Number(values.busy);
/** How long the endpoint takes: as many requests are under way as there are busy connections. */
const ANSWER_MS = 1000;
const ANSWER = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld');
/** What the busy ones may add before it counts as growth. */
const SETTLE_S = 10;
const GROWTH = 1.05;

let delayMs = 0;
const endpoint = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', () => void setTimeout(() => socket.write(ANSWER), delayMs));
});
await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', 4096, resolve));
const { port } = endpoint.address() as { port: number };
const held = idle + busy;
await using proxy = await startProxy({
  runtime: { workers: 1, connections: held + 100 },
  log: { level: 'warn' },
  listeners: [
    { name: 'held', bind: '127.0.0.1:0', timeouts: { idle: '1h' }, limits: { connections: held + 100 }, pool: 'held' },
  ],
  pools: { held: { endpoints: [{ address: `127.0.0.1:${port}` }], limits: { active: busy + 100, pending: busy } } },
});
const clients = spawn(process.execPath, [new URL('./held-clients.ts', import.meta.url).pathname, `${proxy.port()}`], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
let tally = { answered: 0, failed: 0 };
const said = new Set<string>();
createInterface(clients.stdout).on('line', (line) => {
  const [word, answered, failed] = line.split(' ');
  if (word === 'tally') tally = { answered: Number(answered), failed: Number(failed) };
  else said.add(line);
});
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const memory = async () => (await proxy.memory()) / 1024;

async function bring(kind: 'idle' | 'busy', count: number): Promise<void> {
  clients.stdin.write(`${kind} ${count}\n`);
  await eventually(() => said.has(`${kind} ${count}`), { timeoutMs: 120_000, intervalMs: 100 });
}

// The first few hundred warm the code up; they go on being held.
await bring('idle', 500);
await pause(2000);
const before = await memory();
await bring('idle', idle - 500);
await pause(3000);
const withIdle = await memory();
const perIdle = (withIdle - before) / (idle - 500);
console.log(`${idle} idle: ${(withIdle / 1024).toFixed(1)} MiB, ${perIdle.toFixed(2)} KiB each`);
delayMs = ANSWER_MS;
await bring('busy', busy);
await pause(SETTLE_S * 1000);
const samples: number[] = [];
for (let i = 0; i < Number(values.seconds); i++) {
  samples.push(await memory());
  if (i % 5 === 0)
    console.log(
      `${String(i).padStart(4)} s  ${(samples[i] / 1024).toFixed(1)} MiB  ${tally.answered} answered, ${tally.failed} failed`,
    );
  await pause(1000);
}
const open = await proxy.metric('evenkeel_connections_active', { listener: 'held' });
const third = Math.floor(samples.length / 3);
const mean = (part: number[]) => part.reduce((sum, one) => sum + one, 0) / part.length;
const growth = mean(samples.slice(-third)) / mean(samples.slice(0, third));
clients.kill();
endpoint.close();
const isGood = growth <= GROWTH && tally.failed === 0 && open === held;
console.log(
  `${open} connections open, ${busy} of them busy; last third of the time against the first: × ${growth.toFixed(3)}; ${tally.failed} failed`,
);
console.log(isGood ? 'flat' : 'NOT flat');
process.exitCode = isGood ? 0 : 1;
