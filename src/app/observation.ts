import type { Control } from '../admin/control.ts';
import { AdminServer } from '../admin/server.ts';
import { systemClock } from '../base/clock.ts';
import { EventCounts } from '../telemetry/event-counts.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import type { LiveState } from '../telemetry/live-state.ts';
import type { Logger } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/prometheus.ts';
import { RecentTraffic } from '../telemetry/recent-traffic.ts';
import { AdminDoor } from './admin-door.ts';

export interface ObservedParts {
  readonly log: Logger;
  readonly state: LiveState;
  readonly events: EventLog;
  readonly control: Control;
  readonly version: string;
  /** How many endpoints have metrics of their own. */
  readonly endpointSeries: number;
}

/** What can be seen of the program from outside, and where; nothing counts before `recent` is started, nothing listens before the door is. */
export function observe({ log, state, events, control, version, endpointSeries }: ObservedParts): {
  readonly recent: RecentTraffic;
  readonly admin: AdminDoor;
} {
  const clock = systemClock;
  const counts = new EventCounts(endpointSeries);
  events.listen(counts.take);
  const metrics = new Metrics({ state: () => state, counts, endpointSeries, clock });
  const recent = new RecentTraffic(() => state, clock);
  const seen = { log, state: () => state, control, metrics, recent, events, clock, version };
  return { recent, admin: new AdminDoor((place) => new AdminServer({ ...place, ...seen })) };
}
