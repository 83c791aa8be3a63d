import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { coreFor, findProgram, versionOf } from '../../rig/machine.ts';
import { NGINX_USER, nginxPaths } from '../../rig/nginx-words.ts';
import type { Peer, RunningPeer, Setting } from '../../rig/peer.ts';
import { freePorts, Running } from '../../rig/running.ts';

const program = findProgram('nginx');

export const nginx: Peer = {
  name: 'nginx',
  warmsUp: false,
  version: () => versionOf(program as string, '-v'),
  missing: () => (program === null ? 'nginx is not installed' : null),
  start: startNginx,
};

async function startNginx(setting: Setting): Promise<RunningPeer> {
  const [port] = await freePorts(1);
  const file = join(setting.directory, 'nginx.conf');
  await writeFile(file, nginxConfiguration(port, setting));
  const process = Running.start(coreFor(setting.workers), [program as string, '-p', setting.directory, '-c', file]);
  await process.serves(port);
  return { process, port };
}

function nginxConfiguration(port: number, { directory, origins, accessLog, tls, workers }: Setting): string {
  const log = join(directory, 'access.log');
  return `
daemon off; worker_processes ${workers}; ${NGINX_USER} pid ${join(directory, 'nginx.pid')}; error_log ${join(directory, 'error.log')} crit;
events { worker_connections 20000; }
http {
  ${nginxPaths(directory)}
  log_format line escape=json '{"time":"$time_iso8601","listener":"bench","route":"bench","pool":"bench","endpoint":"$upstream_addr",'
    '"client":"$remote_addr","method":"$request_method","path":"$uri","status":$status,"reason":"","bytesIn":$request_length,'
    '"bytesOut":$bytes_sent,"attempts":1,"queue":0,"connect":"$upstream_connect_time","response":"$upstream_header_time","total":$request_time}';
  access_log ${accessLog ? `${log} line buffer=64k flush=1s` : 'off'};
  keepalive_timeout 600s; keepalive_requests 1000000000;
  upstream origins {
    ${origins.map((origin) => `server 127.0.0.1:${origin};`).join(' ')}
    keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096 ${workers > 1 ? 'reuseport' : ''} ${tls === null ? '' : 'ssl'};
    ${tls === null ? '' : `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key};`}
    location / {
      proxy_pass http://origins; proxy_http_version 1.1; proxy_max_temp_file_size 0;
      proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`;
}
