import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/ports.ts';
import { findProgram, type RunningProcess, startProcess } from '../helpers/processes.ts';
import { temporaryDirectory } from '../helpers/temporary-directory.ts';

const servers = resolve(
  import.meta.dirname,
  '../..',
  process.env.EVENKEEL_SERVERS ?? 'node_modules/.cache/evenkeel-servers',
);
const libraries = { LD_LIBRARY_PATH: join(servers, 'nsd/usr/lib/x86_64-linux-gnu') };

const ZONE = `$ORIGIN shop.test.
$TTL 1
@ SOA ns hostmaster SERIAL 60 60 600 1
@ NS ns
ns A 127.0.0.1
a A 127.0.1.1
b A 127.0.1.2
b AAAA ::1
alias CNAME b
_http._tcp SRV 1 7 8081 a
_http._tcp SRV 1 1 8082 b
_http._tcp SRV 2 0 8083 a
`;

/** A real NSD that answers for shop.test. Whoever starts one closes it. */
export interface Nsd {
  readonly address: string;
  /** With the zone it had. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** With other lines behind those of the zone. */
  reload(more: string): Promise<void>;
  close(): Promise<void>;
}

/** What install.sh brought, or the system's; null when there is neither. */
export function findNsd(): string | null {
  const unpacked = join(servers, 'nsd/usr/sbin/nsd');
  return existsSync(unpacked) ? unpacked : findProgram('nsd', ['/usr/sbin', '/usr/local/sbin']);
}

/** `more`: lines behind those of the zone. */
export async function startNsd(more = ''): Promise<Nsd> {
  const directory = await temporaryDirectory('nsd');
  const port = await freePort();
  let serial = 1;
  const write = (more: string) => directory.write('zone', ZONE.replace('SERIAL', String(serial++)) + more);
  await write(more);
  const path = directory.path;
  const configuration = await directory.write(
    'nsd.conf',
    `server:\n  ip-address: 127.0.0.1@${port}\n  username: ""\n  chroot: ""\n  zonesdir: "${path}"\n  database: ""\n  pidfile: "${path}/nsd.pid"\n` +
      `  xfrdfile: "${path}/xfrd"\n  xfrdir: "${path}"\n  zonelistfile: "${path}/zones"\n  cookie-secret-file: "${path}/cookie"\n  server-count: 1\n  verbosity: 1\n` +
      `remote-control:\n  control-enable: no\nzone:\n  name: shop.test\n  zonefile: "${path}/zone"\n`,
  );
  let running: RunningProcess | null = null;
  const start = async () => {
    running = await startProcess(findNsd()!, ['-d', '-c', configuration], { env: libraries, ready: /nsd started/ });
  };
  const stop = async () => {
    const pid = running!.pid;
    await running!.stop(2000);
    // Its own processes end a little later.
    await eventually(() => !isAlive(-pid));
  };
  await start();
  return {
    address: `127.0.0.1:${port}`,
    start,
    stop,
    async reload(more) {
      await write(more);
      running!.kill('SIGHUP');
    },
    async close() {
      await stop();
      await directory.close();
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
