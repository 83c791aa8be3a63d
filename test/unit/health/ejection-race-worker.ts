import { workerData } from 'node:worker_threads';
import { systemClock } from '../../../src/base/clock.ts';
import { Outcome } from '../../../src/endpoint/outcome.ts';
import { PoolWords } from '../../../src/endpoint/pool-words.ts';
import { Ejection } from '../../../src/health/ejection.ts';
import type { EjectionOptions } from '../../../src/health/ejection-options.ts';
import { EndpointFactory } from '../../helpers/endpoint-factory.ts';

/** A worker of the race in ejection.test.ts: reports failures of all endpoints as fast as it can until stop[0] is set. */
const { row, members, options, stop, words, chunk } = workerData as {
  row: number;
  members: number;
  options: EjectionOptions;
  stop: Int32Array;
  words: SharedArrayBuffer;
  chunk: SharedArrayBuffer;
};
const factory = new EndpointFactory(4, row);
factory.table.adopt(chunk);
const endpoints = Array.from({ length: members }, (_, slot) => factory.view(slot, {}, row));
const ejection = new Ejection(options, {
  clock: systemClock,
  random: Math.random,
  words: new PoolWords(4, words),
  onEjected: () => {},
});
ejection.update(endpoints);
Atomics.add(stop, 1, 1);
while (Atomics.load(stop, 0) === 0)
  for (const endpoint of endpoints) ejection.onAnswer(endpoint, Outcome.CONNECT_FAILED);
