import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Core, findProgram, versionOf } from '../rig/machine.ts';
import { freePorts, Running } from '../rig/running.ts';
import type { PoolSetting } from './scenario.ts';
import type { RunningSubject, Subject } from './subject.ts';

const program = findProgram('haproxy');

/** With TCP checks every 2 s: without any HAProxy takes nothing out. */
export function haproxySubject(algorithm: 'roundrobin' | 'leastconn'): Subject {
  return {
    name: `HAProxy ${algorithm}`,
    proxy: 'haproxy',
    judged: null,
    version: () => versionOf(program as string, '-v'),
    missing: () => (program === null ? 'haproxy is not installed' : null),
    start: (directory, setting) => start(algorithm, directory, setting),
  };
}

async function start(algorithm: string, directory: string, setting: PoolSetting): Promise<RunningSubject> {
  const [port] = await freePorts(1);
  const file = join(directory, 'haproxy.cfg');
  const socket = join(directory, 'socket');
  await writeFile(file, configuration(port, algorithm, socket, setting));
  const process = Running.start(Core.PROXY, [program as string, '-db', '-f', file]);
  await process.serves(port);
  const enable = setting.joining.map((_, i) => `enable health endpoints/j${i}; set server endpoints/j${i} state ready`);
  return { process, port, join: () => command(socket, enable.join('; ')) };
}

function configuration(port: number, algorithm: string, socket: string, setting: PoolSetting): string {
  const { limit, slowStartSeconds, addresses, joining } = setting;
  const words = [
    limit === null ? '' : `maxconn ${limit.active}`,
    slowStartSeconds === 0 ? '' : `slowstart ${slowStartSeconds}s`,
  ].join(' ');
  return `
global
  nbthread 1
  maxconn 8000
  stats socket ${socket} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 600s
  timeout server 2s
  timeout queue ${limit?.queueMs ?? 1000}ms
  http-reuse always
  backlog 4096
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response response-timeout 502 503 504
frontend bench
  bind 127.0.0.1:${port}
  option forwardfor
  default_backend endpoints
backend endpoints
  balance ${algorithm}
  default-server check inter 2s fall 3 rise 2 ${words}
${addresses.map((address, i) => `  server e${i} ${address}`).join('\n')}
${joining.map((address, i) => `  server j${i} ${address} disabled`).join('\n')}
`;
}

/** Says a line to the runtime API. */
function command(path: string, line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(`${line}\n`));
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.resume();
  });
}
