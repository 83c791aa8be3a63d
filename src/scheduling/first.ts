import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import type { EndpointSet, Tried } from '../endpoint/endpoint-set.ts';
import type { Scheduler, SchedulerContext } from './scheduler.ts';

/**
 * The first available endpoint in the order of the set: a document's own, by address where a registry tells. So one serves and the others
 * stand by; when the first is down or full the second takes over, and gives back as soon as the first is fit again. Weights play no part, but 0 is none.
 */
class First implements Scheduler {
  #members: readonly Endpoint[] = [];

  update(set: EndpointSet): void {
    this.#members = set.available.filter((endpoint) => endpoint.effectiveWeight > 0);
  }

  pick(_hash: number, tried: Tried): Endpoint | null {
    const members = this.#members;
    if (members.length === 0) return null;
    if (tried.size > 0) for (let i = 0; i < members.length; i++) if (!tried.has(members[i])) return members[i];
    return members[0];
  }

  /** Its place: 0 is next. */
  score(endpoint: Endpoint): number {
    const place = this.#members.indexOf(endpoint);
    return place < 0 ? Number.POSITIVE_INFINITY : place;
  }
}

export const first: Kind<Scheduler, SchedulerContext> = {
  kind: 'first',
  summary: 'the first available endpoint in the order of the list: one serves, the others stand by',
  options: z.object({}),
  create: () => new First(),
};
