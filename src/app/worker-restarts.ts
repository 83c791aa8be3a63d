import type { RestartResult } from '../admin/control.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import type { Ending } from './ending.ts';
import type { Workers } from './workers.ts';

/** Restarts workers one after the other, each when its predecessor's sockets have been taken over. Ends at the first that cannot be restarted now. */
export async function restartInTurn(
  { workers, ending, events }: { workers: Workers; ending: Ending; events: EventLog },
  which: readonly number[],
  reason: string,
): Promise<RestartResult> {
  const restarted: number[] = [];
  try {
    ending.refuseActs();
    for (const worker of which) {
      await workers.restart(worker);
      restarted.push(worker);
      events.publish({ type: 'worker-restarted', worker, reason });
    }
    return { restarted, message: null };
  } catch (error) {
    return { restarted, message: error instanceof Error ? error.message : String(error) };
  }
}
