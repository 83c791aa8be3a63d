import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Core, findProgram } from './machine.ts';
import { NGINX_USER, nginxPaths } from './nginx-words.ts';
import { freePorts, Running } from './running.ts';

/** Addresses behind every proxy. */
const ORIGINS = 3;

/** Paths that origins answer, with the length of the body. */
export const BODY_BYTES: Readonly<Record<string, number>> = { '/64': 64, '/64k': 64 * 1024, '/1m': 1024 * 1024 };
/** Answers with what the request said about its client: `FOR PROTO HOST`. */
export const FORWARDED_PATH = '/forwarded';

/** What stands behind the proxies: nginx on three ports where it is found, else node:http. */
export interface Origins {
  readonly kind: string;
  readonly ports: readonly number[];
  readonly process: Running;
}

export async function startOrigins(directory: string): Promise<Origins> {
  const ports = await freePorts(ORIGINS);
  const program = findProgram('nginx');
  const running = program === null ? startNode(ports) : await startNginx(program, directory, ports);
  for (const port of ports) await running.serves(port);
  return { kind: program === null ? 'node:http' : 'nginx', ports, process: running };
}

function startNode(ports: readonly number[]): Running {
  const file = new URL('./node-origin.ts', import.meta.url).pathname;
  return Running.start(Core.LOAD, [process.execPath, file, ...ports.map(String)]);
}

async function startNginx(program: string, directory: string, ports: readonly number[]): Promise<Running> {
  const file = join(directory, 'nginx.conf');
  for (const [path, bytes] of Object.entries(BODY_BYTES))
    await writeFile(join(directory, path), Buffer.alloc(bytes, '0123456789abcdef'));
  await writeFile(
    file,
    `
daemon off; worker_processes 1; ${NGINX_USER} pid ${join(directory, 'origin.pid')}; error_log ${join(directory, 'error.log')} crit;
events { worker_connections 20000; }
http {
  ${nginxPaths(directory)}
  access_log off; sendfile on; open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;
  keepalive_timeout 600s; keepalive_requests 1000000000; client_max_body_size 64m;
  server {
    ${ports.map((port) => `listen 127.0.0.1:${port} backlog=4096;`).join(' ')}
    location = /64 { return 200 "${'0123456789abcdef'.repeat(4)}"; }
    location = ${FORWARDED_PATH} { return 200 "$http_x_forwarded_for $http_x_forwarded_proto $http_x_forwarded_host"; }
    location / { root ${directory}; }
  }
}
`,
  );
  return Running.start(Core.LOAD, [program, '-p', directory, '-c', file]);
}
