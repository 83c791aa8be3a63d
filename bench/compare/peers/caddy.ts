import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Core, findProgram, versionOf } from '../../rig/machine.ts';
import type { Peer, RunningPeer, Setting } from '../../rig/peer.ts';
import { freePorts, Running } from '../../rig/running.ts';

const program = findProgram('caddy');

export const caddy: Peer = {
  name: 'caddy',
  warmsUp: false,
  version: () => versionOf(program as string, 'version'),
  missing: ({ workers }) => {
    if (program === null) return 'caddy is not installed';
    return workers > 1 ? 'caddy takes part with one worker only' : null;
  },
  start: startCaddy,
};

async function startCaddy({ directory, origins, accessLog, tls }: Setting): Promise<RunningPeer> {
  const [port] = await freePorts(1);
  const file = join(directory, 'Caddyfile');
  const log = accessLog ? `log {\n output file ${join(directory, 'access.log')}\n format json\n }` : '';
  await writeFile(
    file,
    `{
  admin off
  auto_https off
  persist_config off
}
${tls === null ? 'http' : 'https'}://127.0.0.1:${port}, ${tls === null ? 'http' : 'https'}://bench.example.com:${port} {
  bind 127.0.0.1
  ${tls === null ? '' : `tls ${tls.cert} ${tls.key}`}
  ${log}
  reverse_proxy ${origins.map((origin) => `127.0.0.1:${origin}`).join(' ')} {
    transport http {
      keepalive_idle_conns_per_host 512
    }
  }
}
`,
  );
  const process = Running.start(Core.PROXY, [program as string, 'run', '--adapter', 'caddyfile', '--config', file], {
    GOMAXPROCS: '1',
    HOME: directory,
    XDG_DATA_HOME: directory,
    XDG_CONFIG_HOME: directory,
  });
  await process.serves(port);
  return { process, port };
}
