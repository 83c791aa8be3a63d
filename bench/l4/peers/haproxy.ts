import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Core, findProgram, versionOf } from '../../rig/machine.ts';
import type { Peer, RunningPeer, Setting } from '../../rig/peer.ts';
import { freePorts, Running } from '../../rig/running.ts';

const program = findProgram('haproxy');

/** HAProxy in TCP mode, one thread; it carries no UDP. */
export const haproxyTcp: Peer = {
  name: 'haproxy',
  warmsUp: false,
  version: () => versionOf(program as string, '-v'),
  missing: () => (program === null ? 'haproxy is not installed' : null),
  start,
};

async function start({ directory, origins }: Setting): Promise<RunningPeer> {
  const [port] = await freePorts(1);
  const file = join(directory, 'haproxy.cfg');
  await writeFile(
    file,
    `
global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  backlog 4096
frontend bench
  bind 127.0.0.1:${port}
  default_backend origins
backend origins
${origins.map((origin) => `  server o${origin} 127.0.0.1:${origin}`).join('\n')}
`,
  );
  const process = Running.start(Core.PROXY, [program as string, '-db', '-f', file]);
  await process.serves(port);
  return { process, port };
}
