import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Core, findProgram, versionOf } from '../../rig/machine.ts';
import { NGINX_USER, streamModule } from '../../rig/nginx-words.ts';
import type { Peer, RunningPeer, Setting } from '../../rig/peer.ts';
import { freePorts, Running } from '../../rig/running.ts';

const program = findProgram('nginx');

/** nginx's stream module, one worker. */
export function nginxStream(protocol: 'tcp' | 'udp'): Peer {
  return {
    name: 'nginx',
    warmsUp: false,
    version: () => versionOf(program as string, '-v'),
    missing: () => {
      if (program === null) return 'nginx is not installed';
      return streamModule(program) === null ? 'nginx has no stream module' : null;
    },
    start: (setting) => start(protocol, setting),
  };
}

async function start(protocol: 'tcp' | 'udp', { directory, origins }: Setting): Promise<RunningPeer> {
  const [port] = await freePorts(1);
  const file = join(directory, 'nginx.conf');
  await writeFile(
    file,
    `
${streamModule(program as string)}
daemon off; worker_processes 1; ${NGINX_USER} pid ${join(directory, 'nginx.pid')}; error_log stderr notice;
events { worker_connections 20000; }
stream {
  upstream origins { ${origins.map((origin) => `server 127.0.0.1:${origin};`).join(' ')} }
  server {
    listen 127.0.0.1:${port} ${protocol === 'udp' ? 'udp' : 'backlog=4096'};
    proxy_pass origins; proxy_timeout 600s;
  }
}
`,
  );
  const process = Running.start(Core.PROXY, [program as string, '-p', directory, '-c', file, '-e', 'stderr']);
  await process.printed(/start worker process \d+/);
  return { process, port };
}
