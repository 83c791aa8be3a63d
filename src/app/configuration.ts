import type { DocumentOptions } from './document.ts';
import type { Configuration } from './messages.ts';
import { connectionCeiling } from './open-files.ts';
import type { ReloadParts } from './reload.ts';

/** The data plane's share of the document in force, with the shared memory behind it. */
export function configurationOf(
  { runtime, log }: DocumentOptions,
  { pools, listeners, ticketKeys }: Pick<ReloadParts, 'pools' | 'listeners' | 'ticketKeys'>,
): Configuration {
  return {
    pools: pools.forWorkers(),
    listeners: listeners.forWorkers(),
    connections: runtime.connections === 'auto' ? connectionCeiling() : runtime.connections,
    fastPath: runtime.fastPath === 'auto',
    access: log.access === null ? null : { query: log.query },
    decisions: log.decisions ?? 0,
    sample: log.sample,
    ticketKeys: ticketKeys.current,
  };
}
