import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Core, findProgram, versionOf } from '../rig/machine.ts';
import { NGINX_USER, nginxPaths } from '../rig/nginx-words.ts';
import { freePorts, Running } from '../rig/running.ts';
import type { PoolSetting } from './scenario.ts';
import type { RunningSubject, Subject } from './subject.ts';

const program = findProgram('nginx');

/** `max_fails=1 fail_timeout=10s` is nginx's own default: one failure takes an endpoint out for ten seconds. The open version has no queue and no slow start. */
export function nginxSubject(algorithm: 'round robin' | 'least_conn'): Subject {
  return {
    name: `nginx ${algorithm}`,
    proxy: 'nginx',
    judged: null,
    version: () => versionOf(program as string, '-v'),
    missing: () => (program === null ? 'nginx is not installed' : null),
    start: (directory, setting) => start(algorithm, directory, setting),
  };
}

async function start(algorithm: string, directory: string, setting: PoolSetting): Promise<RunningSubject> {
  const [port] = await freePorts(1);
  const file = join(directory, 'nginx.conf');
  const write = (addresses: readonly string[]) =>
    writeFile(file, configuration(port, algorithm, directory, setting, addresses));
  await write(setting.addresses);
  const running = Running.start(Core.PROXY, [program as string, '-p', directory, '-c', file]);
  await running.serves(port);
  return {
    process: running,
    port,
    join: async () => {
      await write([...setting.addresses, ...setting.joining]);
      process.kill(running.pid, 'SIGHUP');
    },
  };
}

function configuration(
  port: number,
  algorithm: string,
  directory: string,
  { limit }: PoolSetting,
  addresses: readonly string[],
): string {
  const words = limit === null ? '' : ` max_conns=${limit.active}`;
  return `
daemon off; worker_processes 1; ${NGINX_USER} pid ${join(directory, 'nginx.pid')}; error_log ${join(directory, 'error.log')} crit;
events { worker_connections 16000; }
http {
  ${nginxPaths(directory)}
  access_log off; keepalive_timeout 600s; keepalive_requests 1000000000;
  upstream endpoints {
    zone endpoints 2m;
    ${algorithm === 'least_conn' ? 'least_conn;' : ''}
    ${addresses.map((address) => `server ${address}${words};`).join('\n    ')}
    keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 4s;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://endpoints; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_connect_timeout 1s; proxy_read_timeout 2s;
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries 3;
    }
  }
}
`;
}
