import { autocannon } from '../rig/load/autocannon.ts';
import { runPinned } from '../rig/load/run-pinned.ts';
import type { LoadResult } from '../rig/load/shape.ts';
import { findWrk } from '../rig/load/wrk.ts';
import type { L4Case } from './cases.ts';

const tcp = findWrk() ?? autocannon;

/** What makes the load of a case. */
export function loadOf({ protocol }: L4Case): string {
  return protocol === 'tcp' ? tcp.name : 'node:dgram';
}

/** Keeps a proxy busy for some seconds: every connection, or client, sends again when it has its answer. */
export async function load(one: L4Case, port: number, seconds: number, directory: string): Promise<LoadResult> {
  const { protocol, connections, shape } = one;
  if (protocol === 'tcp') return tcp.run({ port, secure: false, connections, seconds, shape, directory });
  const program = new URL('./udp-clients.ts', import.meta.url).pathname;
  const words = [port, seconds, connections].map(String);
  return JSON.parse(await runPinned([process.execPath, program, ...words], seconds));
}
