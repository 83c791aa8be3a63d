// `endpoint-program.ts COUNT HOST SEED`: COUNT endpoints in one process. Prints their ports, then does what the lines of its stdin say (EndpointCommand), and ends
// with its stdin.
import { createInterface } from 'node:readline';
import { seededRandom } from '../../src/base/random.ts';
import { quantile } from '../rig/statistics.ts';
import { Alarm } from './alarm.ts';
import type { EndpointCommand, EndpointReport } from './behaviour.ts';
import { DueHeap } from './due-heap.ts';
import { monotonicMs } from './monotonic.ts';
import { type Job, SlowEndpoint } from './slow-endpoint.ts';

const [count, host, seed] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const sinceMs = monotonicMs();
const heap = new DueHeap<Job>();
const lateness: number[] = [];
const endpoints = Array.from({ length: Number(count) }, () => new SlowEndpoint(host, random, sinceMs, take));
const alarm = await Alarm.start(serveDue);

/** What arrives together is put into the heap together: the alarm is set once the loop has read everything. */
let isWaiting = false;
function take(job: Job): void {
  heap.push(job.dueMs, job);
  if (isWaiting) return;
  isWaiting = true;
  setImmediate(serveDue);
}

function serveDue(): void {
  isWaiting = false;
  const nowMs = monotonicMs();
  while (heap.nextMs <= nowMs) {
    const job = heap.pop();
    lateness.push(nowMs - job.dueMs);
    job.endpoint.finish(job);
  }
  if (heap.nextMs < Number.POSITIVE_INFINITY) alarm.set(heap.nextMs);
}

async function obey(command: EndpointCommand): Promise<unknown> {
  if (command.act === 'report') {
    const arrivals = endpoints.map((endpoint) => endpoint.arrivals);
    return { sinceMs, arrivals, latenessP99Ms: quantile(lateness, 0.99) } satisfies EndpointReport;
  }
  for (const index of command.indexes) {
    if (command.act === 'behave') endpoints[index].behaviour = command.behaviour;
    else await endpoints[index].become(command.state);
  }
  return null;
}

for (const endpoint of endpoints) await endpoint.become('up');
process.stdout.write(`ports ${JSON.stringify(endpoints.map(({ port }) => port))}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`done ${JSON.stringify(await obey(JSON.parse(line)))}\n`);
}
process.exit(0);
