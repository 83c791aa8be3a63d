import { Catalog } from '../base/catalog.ts';
import { first } from './first.ts';
import { hash } from './hash.ts';
import { leastRequests } from './least-requests.ts';
import { leastTime } from './least-time.ts';
import { random } from './random.ts';
import { responseTime } from './response-time.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';
import { weightedRoundRobin } from './weighted-round-robin.ts';

/** Every scheduling algorithm. */
export const schedulers = new Catalog<Scheduler, SchedulerContext>('scheduler', [
  weightedRoundRobin,
  responseTime,
  leastRequests,
  leastTime,
  random,
  hash,
  first,
]);
