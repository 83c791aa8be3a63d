import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';
import { WeightedDraw } from './weighted-draw.ts';

/** Any endpoint, in proportion to its weight. Knows nothing of load: for comparison, and for very many proxies over very many endpoints. */
class RandomScheduler implements Scheduler {
  readonly #draw: WeightedDraw;

  constructor(context: SchedulerContext) {
    this.#draw = new WeightedDraw(context.random);
  }

  update(set: EndpointSet): void {
    this.#draw.update(set.available);
  }

  pick(_hash: number, tried: Tried): Endpoint | null {
    const members = this.#draw.members;
    return members.length === 0 ? null : members[this.#draw.drawUntried(tried)];
  }
}

export const random: Kind<Scheduler, SchedulerContext> = {
  kind: 'random',
  summary: 'any endpoint, in proportion to its weight',
  options: z.object({}),
  create: (_options, context) => new RandomScheduler(context),
};
