import type { Endpoint } from 'evenkeel/endpoint';
import type { Kind } from 'evenkeel/part';
import type { Scheduler, SchedulerContext } from 'evenkeel/scheduler';
import { z } from 'zod';

// A scheduler of one's own: endpoints of one zone in turn, others only when that zone has none. In a document:
//   scheduler: { kind: ./same-zone.ts, zone: b }
const options = z.object({ zone: z.string().min(1).describe('the zone that comes first') });

export const sameZone: Kind<Scheduler, SchedulerContext> = {
  kind: 'same-zone',
  summary: 'the endpoints of one zone in turn, others only when it has none',
  options,
  create({ zone }: z.infer<typeof options>) {
    let near: readonly Endpoint[] = [];
    let all: readonly Endpoint[] = [];
    let turn = 0;
    return {
      // Off the request path: when an endpoint joins, leaves, goes down or comes back.
      update(set) {
        all = set.available;
        near = all.filter(({ spec }) => spec.zone === zone);
      },
      // For every attempt: no promise, nothing built.
      pick(_hash, tried) {
        const from = near.some((one) => !tried.has(one)) ? near : all;
        for (let i = 0; i < from.length; i++) {
          const endpoint = from[turn++ % from.length];
          if (!tried.has(endpoint) || tried.size >= from.length) return endpoint;
        }
        return null;
      },
    };
  },
};
