import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Core, findProgram } from '../rig/machine.ts';
import { NGINX_USER, streamModule } from '../rig/nginx-words.ts';
import type { Origins } from '../rig/origin.ts';
import { freePorts, Running } from '../rig/running.ts';

const ORIGINS = 3;

/** What stands behind the proxies for UDP: nginx where its stream module is found, else node:dgram. Every datagram is answered with 64 bytes. */
export async function startUdpOrigins(directory: string): Promise<Origins> {
  const ports = await freePorts(ORIGINS);
  const program = findProgram('nginx');
  const words = program === null ? null : streamModule(program);
  if (program === null || words === null) {
    const file = new URL('./udp-origin.ts', import.meta.url).pathname;
    const running = Running.start(Core.LOAD, [process.execPath, file, ...ports.map(String)]);
    await running.printed(/(bound\s+){3}/);
    return { kind: 'node:dgram', ports, process: running };
  }
  const file = join(directory, 'nginx.conf');
  await writeFile(
    file,
    `
${words}
daemon off; worker_processes 1; ${NGINX_USER} pid ${join(directory, 'udp-origin.pid')}; error_log stderr notice;
events { worker_connections 20000; }
stream {
  server {
    ${ports.map((port) => `listen 127.0.0.1:${port} udp;`).join(' ')}
    return "${'0123456789abcdef'.repeat(4)}";
  }
}
`,
  );
  const running = Running.start(Core.LOAD, [program, '-p', directory, '-c', file, '-e', 'stderr']);
  await running.printed(/start worker process \d+/);
  return { kind: 'nginx', ports, process: running };
}
