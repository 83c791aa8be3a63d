import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { coreFor, findProgram, versionOf } from '../../rig/machine.ts';
import type { Peer, RunningPeer, Setting } from '../../rig/peer.ts';
import { freePorts, Running } from '../../rig/running.ts';

const program = findProgram('haproxy');

export const haproxy: Peer = {
  name: 'haproxy',
  warmsUp: false,
  version: () => versionOf(program as string, '-v'),
  missing: ({ accessLog }) => {
    if (program === null) return 'haproxy is not installed';
    return accessLog ? 'haproxy logs to syslog, not to a file' : null;
  },
  start: startHaproxy,
};

async function startHaproxy({ directory, origins, tls, workers }: Setting): Promise<RunningPeer> {
  const [port] = await freePorts(1);
  const pem = join(directory, 'both.pem');
  if (tls !== null) await writeFile(pem, (await readFile(tls.cert, 'utf8')) + (await readFile(tls.key, 'utf8')));
  const file = join(directory, 'haproxy.cfg');
  await writeFile(
    file,
    `
global
  nbthread ${workers}
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  http-reuse always
  backlog 4096
frontend bench
  bind 127.0.0.1:${port} ${tls === null ? '' : `ssl crt ${pem} alpn http/1.1`}
  option forwardfor
  http-request set-header X-Forwarded-Proto ${tls === null ? 'http' : 'https'}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend origins
backend origins
${origins.map((origin) => `  server o${origin} 127.0.0.1:${origin}`).join('\n')}
`,
  );
  const process = Running.start(coreFor(workers), [program as string, '-db', '-f', file]);
  await process.serves(port);
  return { process, port };
}
