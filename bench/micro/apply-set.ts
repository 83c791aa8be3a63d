/**
 * How long a worker serves nobody while a set of 10 000 endpoints comes into force: what follows the last part of a change (availability, ejection, the scheduler's
 * tables), in ms of CPU time, least and median. Run with `node bench/micro/apply-set.ts`. Target: at most 5 ms.
 */
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { PoolWords } from '../../src/endpoint/pool-words.ts';
import { CHUNK_SLOTS, SlotChunk, SlotTable } from '../../src/endpoint/slots.ts';
import { selectAvailable } from '../../src/health/availability.ts';
import { Ejection } from '../../src/health/ejection.ts';
import { ejectionOptions } from '../../src/health/ejection-options.ts';
import { schedulers } from '../../src/scheduling/catalog.ts';

const COUNT = 10_000;
const ROWS = 3;
const ROUNDS = 15;

const table = new SlotTable(ROWS);
const all = Array.from({ length: COUNT }, (_, slot) => {
  if (slot % CHUNK_SLOTS === 0) table.adopt(new SlotChunk(ROWS).buffer);
  table.chunkOf(slot).clear(slot % CHUNK_SLOTS);
  const weight = 1 + (slot % 10);
  const place = { host: `10.1.${slot >> 8}.${slot & 255}`, port: 80, weight, zone: '', backup: false, version: '' };
  return new Endpoint(slot, { ...place, tags: [], metadata: {} }, table, 1);
});
const context = { clock: systemClock, random: systemRandom, worker: 0, workers: 1 };
const words = new PoolWords(ROWS);
const ejection = new Ejection(ejectionOptions.parse({}), { ...context, words, onEjected: () => {} });

for (const kind of schedulers.kinds.keys()) {
  const scheduler = schedulers.create(schedulers.schema().parse({ kind }), context);
  const times = Array.from({ length: ROUNDS }, (_, round) => {
    const members = all.toSpliced(round, 1);
    const before = process.threadCpuUsage();
    const { available } = selectAvailable(members, { panicThreshold: 0.5 });
    ejection.update(members);
    scheduler.update({ version: round, all: members, available });
    const { user, system } = process.threadCpuUsage(before);
    return (user + system) / 1000;
  }).sort((a, b) => a - b);
  console.log(`${kind.padEnd(24)} ${times[0].toFixed(2)}…${times[ROUNDS >> 1].toFixed(2)} ms`);
}
