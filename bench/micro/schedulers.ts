/**
 * What choosing costs: pick + begin + answered + onAnswer + end, in ns of CPU time, per scheduler and pool size; the
 * first lines are the same without a scheduler. Run with `node bench/micro/schedulers.ts`.
 * Targets: at most 200 ns at 20 endpoints, 1 µs at 5 000.
 */
import type { KindSettings } from '../../src/base/catalog.ts';
import { systemClock } from '../../src/base/clock.ts';
import { mixBits } from '../../src/base/hash.ts';
import { seededRandom, systemRandom } from '../../src/base/random.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { type EndpointSet, Tried } from '../../src/endpoint/endpoint-set.ts';
import { Outcome } from '../../src/endpoint/outcome.ts';
import { CHUNK_SLOTS, SlotChunk, SlotTable } from '../../src/endpoint/slots.ts';
import { schedulers } from '../../src/scheduling/catalog.ts';
import type { Scheduler } from '../../src/scheduling/scheduler.ts';

const ROWS = 3;
const ROUNDS = 5;
const PICKS = 200_000;
/** Of schedulers that take longer than this, a tenth of the picks is measured. */
const SLOW_NS = 2000;

function makeEndpoints(count: number, weightOf: () => number): Endpoint[] {
  const table = new SlotTable(ROWS);
  return Array.from({ length: count }, (_, slot) => {
    if (slot % CHUNK_SLOTS === 0) table.adopt(new SlotChunk(ROWS).buffer);
    table.chunkOf(slot).clear(slot % CHUNK_SLOTS);
    const host = `10.0.${slot >> 8}.${slot & 255}`;
    const spec = { host, port: 80, weight: weightOf(), zone: '', backup: false, version: '', tags: [], metadata: {} };
    return new Endpoint(slot, spec, table, 1);
  });
}

/** Keeps 64 requests in flight, so that loads differ. Returns ns per request. */
function measure(scheduler: Scheduler, tried: Tried, picks: number): number {
  const flying: (Endpoint | null)[] = new Array(64).fill(null);
  const started = new Float64Array(64);
  let sink = 0;
  const before = process.threadCpuUsage();
  for (let i = 0; i < picks; i++) {
    const nowMs = systemClock.now();
    const place = i & 63;
    const done = flying[place];
    if (done !== null) {
      const latencyMs = 1 + (i & 7) / 4;
      done.answered(started[place]);
      scheduler.onAnswer?.(done, Outcome.OK, latencyMs, nowMs);
      done.end(Outcome.OK, latencyMs);
      scheduler.onRelease?.(done, Outcome.OK, latencyMs);
    }
    const endpoint = scheduler.pick(mixBits(i) >>> 1, tried, nowMs) as Endpoint;
    started[place] = nowMs;
    endpoint.begin(nowMs);
    scheduler.onAcquire?.(endpoint);
    flying[place] = endpoint;
    sink += endpoint.slot;
  }
  const spent = process.threadCpuUsage(before);
  const ns = ((spent.user + spent.system) * 1000) / picks;
  for (let place = 0; place < 64; place++) {
    flying[place]?.answered(started[place]);
    flying[place]?.end(Outcome.OK, 1);
  }
  return sink < 0 ? Number.NaN : ns;
}

/** What the endpoints' own cells, the clock and the loop of this file cost. */
class InTurn implements Scheduler {
  #members: readonly Endpoint[] = [];
  #next = 0;

  update(set: EndpointSet): void {
    this.#members = set.available;
  }

  pick(): Endpoint {
    this.#next = this.#next + 1 < this.#members.length ? this.#next + 1 : 0;
    return this.#members[this.#next];
  }
}

const random = seededRandom(7);
const shapes: [string, () => number][] = [
  ['equal', () => 1],
  ['mixed', () => 1 + Math.floor(random() * 10)],
];
const context = { clock: systemClock, random: systemRandom, worker: 0, workers: 1 };
const makers: [string, () => Scheduler][] = [['(no scheduler)', () => new InTurn()]];
/** Options that make other algorithms of a kind. */
const variants: readonly KindSettings[] = [
  { kind: 'hash', table: 'maglev' },
  { kind: 'hash', bound: 1.25 },
  { kind: 'hash', table: 'maglev', bound: 1.25 },
];
for (const settings of [...Array.from(schedulers.kinds.keys(), (kind): KindSettings => ({ kind })), ...variants]) {
  const name = Object.values(settings).join(' ');
  makers.push([name, () => schedulers.create(schedulers.schema().parse(settings), context)]);
}

for (const [name, make] of makers) {
  for (const [shape, weightOf] of shapes) {
    const line = [3, 20, 500, 5000].map((count) => {
      const all = makeEndpoints(count, weightOf);
      const scheduler = make();
      scheduler.update({ version: 1, all, available: all });
      const picks = measure(scheduler, new Tried(), PICKS / 20) > SLOW_NS ? PICKS / 10 : PICKS;
      const times = Array.from({ length: ROUNDS }, () => measure(scheduler, new Tried(), picks)).sort((a, b) => a - b);
      return `${count}: ${times[0].toFixed(0)}…${times[ROUNDS - 1].toFixed(0)}`;
    });
    console.log(`${name.padEnd(24)} ${shape} weights  ns/request  ${line.join('   ')}`);
  }
}

// Off the request path, but a worker serves nobody meanwhile.
for (const table of ['rendezvous', 'maglev']) {
  for (const [shape, weightOf] of shapes) {
    const line = [20, 500, 5000].map((count) => {
      const all = makeEndpoints(count, weightOf);
      const times = Array.from({ length: 15 }, (_, i) => {
        const members = all.toSpliced(i, 1);
        const scheduler = schedulers.create(schedulers.schema().parse({ kind: 'hash', table }), context);
        const before = performance.now();
        scheduler.update({ version: 1, all: members, available: members });
        return performance.now() - before;
      }).sort((a, b) => a - b);
      return `${count}: ${times[0].toFixed(2)}…${times[7].toFixed(2)}`;
    });
    console.log(`${`hash ${table}`.padEnd(24)} ${shape} weights  ms/update, least…median  ${line.join('   ')}`);
  }
}
