// The thread of an Alarm: sleeps until the time in shared memory, wakes its owner, and sleeps until another time is set.
import { parentPort, workerData } from 'node:worker_threads';
import { monotonicMs } from './monotonic.ts';

const { shared } = workerData as { shared: SharedArrayBuffer };
const changes = new Int32Array(shared, 0, 1);
const due = new Float64Array(shared, 8, 1);
let served = 0;

// The first message says that it listens.
parentPort?.postMessage(null);

for (;;) {
  const change = Atomics.load(changes, 0);
  if (change < 0) break;
  const waitMs = change === served ? Number.POSITIVE_INFINITY : due[0] - monotonicMs();
  if (waitMs > 0) {
    Atomics.wait(changes, 0, change, waitMs);
    continue;
  }
  served = change;
  parentPort?.postMessage(null);
}
